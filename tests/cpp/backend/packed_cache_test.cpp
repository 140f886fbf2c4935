#include "backend/packed_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "backend/source_digest.h"
#include "base/checksum.h"
#include "error_text.h"

#ifndef _WIN32
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

namespace tritium {
namespace {

namespace fs = std::filesystem;

using Bytes = std::vector<std::byte>;

Bytes random_bytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

Bytes read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Bytes copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

class PackedCacheTest : public testing::Test {
 protected:
  explicit PackedCacheTest(const fs::path& parent = testing::TempDir())
      : folder_(parent / ("tritium_cache_" + std::to_string(std::random_device{}()))) {}
  ~PackedCacheTest() override { fs::remove_all(folder_); }

  PackedCache cache(uint64_t max_bytes = CacheOptions::default_max_bytes) {
    CacheOptions options;
    options.folder = folder_;
    options.max_bytes = max_bytes;
    options.warn = [this](const std::string& message) { warnings_.push_back(message); };
    return PackedCache(options);
  }

  void store(PackedCache& cache, const Digest& key) {
    cache.store(key, {{"codes", codes_}, {"scales", scales_}}, threads_);
  }
  // Whether there is an entry; if so, it must be what was stored.
  bool has(PackedCache& cache, const Digest& key) {
    const auto entry = cache.find(key, threads_, pool_);
    if (!entry) return false;
    EXPECT_EQ(copy_of(entry->section("codes")), codes_);
    EXPECT_EQ(copy_of(entry->section("scales")), scales_);
    return true;
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_)) paths.push_back(entry.path());
    return paths;
  }
  fs::path only_file() const {
    EXPECT_EQ(files().size(), 1u);
    return files()[0];
  }

  const fs::path folder_;
  ThreadPool threads_{1};
  MemoryPool pool_{SIZE_MAX};
  std::vector<std::string> warnings_;
  Bytes codes_ = random_bytes(300, 1);
  Bytes scales_ = random_bytes(28, 2);
};

constexpr Digest kKey = {0x1234, 0xfedcba9876543210};

TEST_F(PackedCacheTest, KeepsNamedSections) {
  PackedCache first = cache();
  EXPECT_FALSE(has(first, kKey));
  store(first, kKey);
  PackedCache second = cache();
  const auto entry = second.find(kKey, threads_, pool_);
  ASSERT_TRUE(entry);
  EXPECT_EQ(copy_of(entry->section("codes")), codes_);
  EXPECT_EQ(copy_of(entry->section("scales")), scales_);
  EXPECT_TRUE(entry->section("others").empty());
  EXPECT_EQ(entry->is_mapped(), pool_.active(kWeightsMemory) == 0);
  for (const char* name : {"codes", "scales"}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry->section(name).data()) % PackedCache::kSectionAlignment, 0u);
  }
  EXPECT_FALSE(has(second, {kKey.low, kKey.high + 1}));
  EXPECT_FALSE(has(second, {kKey.low + 1, kKey.high}));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(PackedCacheTest, AnEntryInUseOutlivesItsFile) {
  PackedCache one = cache();
  store(one, kKey);
  const auto entry = one.find(kKey, threads_, pool_);
  std::error_code ignored;  // Windows keeps a mapped file
  fs::remove(only_file(), ignored);
  EXPECT_EQ(copy_of(entry->section("codes")), codes_);
}

TEST_F(PackedCacheTest, ADamagedByteIsNeverHandedOut) {
  PackedCache one = cache();
  store(one, kKey);
  const fs::path path = only_file();
  const Bytes good = read_file(path);
  const auto is_padding = [](size_t i) { return (i >= 300 && i < 320) || (i >= 348 && i < 384); };
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int bit : {0, 7}) {
      Bytes damaged = good;
      damaged[i] ^= static_cast<std::byte>(1 << bit);
      write_file(path, damaged);
      EXPECT_EQ(has(one, kKey), is_padding(i)) << "byte " << i;
      EXPECT_EQ(fs::exists(path), is_padding(i)) << "byte " << i;
    }
  }
  store(one, kKey);
  EXPECT_TRUE(has(one, kKey));
}

TEST_F(PackedCacheTest, AFileOfAnotherLengthIsNoEntry) {
  PackedCache one = cache();
  store(one, kKey);
  const fs::path path = only_file();
  const Bytes good = read_file(path);
  for (size_t length = 0; length < good.size(); ++length) {
    write_file(path, std::span(good).first(length));
    EXPECT_FALSE(has(one, kKey)) << length << " bytes";
  }
  Bytes longer = good;
  for (int i = 0; i < 200; ++i) {
    longer.push_back({});
    write_file(path, longer);
    EXPECT_FALSE(has(one, kKey)) << i + 1 << " bytes more";
  }
  write_file(path, Bytes(good.size()));  // what a crash of the system may leave
  EXPECT_FALSE(has(one, kKey));
  write_file(path, good);
  EXPECT_TRUE(has(one, kKey));
}

TEST_F(PackedCacheTest, AFooterThatClaimsTheImpossibleIsNoEntry) {
  PackedCache one = cache();
  store(one, kKey);
  const fs::path path = only_file();
  const Bytes good = read_file(path);
  const size_t body = 384;
  ASSERT_EQ((good.size() - body) % 8, 0u);
  const size_t sums = good.size() - 8;
  for (size_t place = body; place < sums; place += 8) {
    uint64_t word;
    std::memcpy(&word, good.data() + place, 8);
    const uint64_t claims[] = {word + 1,   word - 1,     word + 64,     word ^ (uint64_t{1} << 63),
                               0,          ~uint64_t{0}, ~uint64_t{63}, uint64_t{1} << 40,
                               good.size()};
    for (const uint64_t claim : claims) {
      Bytes forged = good;
      std::memcpy(forged.data() + place, &claim, 8);
      const uint64_t sum = checksum(std::span(forged).subspan(body, sums - body));
      std::memcpy(forged.data() + sums, &sum, 8);
      write_file(path, forged);
      const auto entry = one.find(kKey, threads_, pool_);  // where it is one, all of it can be read
      EXPECT_EQ(entry ? copy_of(entry->section("codes")).size() % 300 : 0, 0u) << "word at " << place;
    }
  }
}

TEST_F(PackedCacheTest, AFileOfAnotherVersionIsReplaced) {
  PackedCache one = cache();
  store(one, kKey);
  const fs::path path = only_file();
  Bytes other = read_file(path);
  const size_t body = 384, sums = other.size() - 8;
  other[body + 8] ^= std::byte{2};  // the version follows 8 letters
  const uint64_t sum = checksum(std::span(other).subspan(body, sums - body));
  std::memcpy(other.data() + sums, &sum, 8);
  write_file(path, other);
  EXPECT_FALSE(has(one, kKey));
  store(one, kKey);
  EXPECT_TRUE(has(one, kKey));
}

TEST_F(PackedCacheTest, StaysWithinItsBoundAndForgetsWhatWasUsedLongestAgo) {
  PackedCache measure = cache();
  store(measure, kKey);
  const uint64_t size = fs::file_size(only_file());
  fs::remove(only_file());
  PackedCache one = cache(3 * size + 10);
  const auto now = fs::file_time_type::clock::now();
  for (uint64_t i = 0; i < 3; ++i) store(one, {i, 0});
  for (const fs::path& path : files()) {  // used two, three and four minutes ago
    const auto minutes = std::chrono::minutes(path.filename().string()[31] - '0' + 2);
    fs::last_write_time(path, now - minutes);
  }
  EXPECT_TRUE(has(one, {2, 0}));  // used now
  store(one, {3, 0});
  EXPECT_EQ(files().size(), 3u);
  EXPECT_FALSE(has(one, {1, 0}));
  for (const uint64_t i : {0, 2, 3}) EXPECT_TRUE(has(one, {i, 0})) << i;
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(PackedCacheTest, DoesNotKeepWhatIsLargerThanItsBound) {
  PackedCache other = cache();
  store(other, {1, 1});
  PackedCache one = cache(1000);
  store(one, kKey);
  EXPECT_FALSE(has(one, kKey));
  EXPECT_TRUE(has(one, {1, 1}));  // and makes no room for it
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(PackedCacheTest, RemovesWhatADeadProcessWasWritingAndNothingOfOthers) {
  PackedCache one = cache();
  store(one, kKey);
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(2);
  const fs::path dead = folder_ / "0.packed.77.tmp", young = folder_ / "0.packed.78.tmp", foreign = folder_ / "x.tmp";
  for (const fs::path& path : {dead, young, foreign}) write_file(path, codes_);
  for (const fs::path& path : {dead, foreign}) fs::last_write_time(path, old);
  store(one, {5, 5});
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(young));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(PackedCacheTest, WarnsOnceWhereItCannotCreateItsFolder) {
  write_file(folder_, codes_);  // a file in its place
  PackedCache one = cache();
  store(one, kKey);
  store(one, kKey);
  EXPECT_FALSE(has(one, kKey));
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_TRUE(contains(warnings_[0], "[cache] packed weights cannot be kept"));
  EXPECT_TRUE(contains(warnings_[0], folder_.filename().string()));
}

#ifndef _WIN32
TEST_F(PackedCacheTest, IsForItsUserAlone) {
  PackedCache one = cache();
  store(one, kKey);
  struct stat status = {};
  ASSERT_EQ(stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(only_file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(PackedCacheTest, WarnsOnceWhereTheFolderIsReadOnly) {
  fs::create_directories(folder_);
  fs::permissions(folder_,
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  const bool root = geteuid() == 0;  // root may write everywhere
  constexpr uid_t kNobody = 65534;
  if (root && seteuid(kNobody) != 0) GTEST_SKIP() << "root cannot become another user here";
  PackedCache one = cache();
  store(one, kKey);
  store(one, {5, 5});
  ASSERT_TRUE(!root || seteuid(0) == 0);
  EXPECT_TRUE(files().empty());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_TRUE(contains(warnings_[0], "Permission denied"));
}

TEST_F(PackedCacheTest, WarnsOnceWhereTheDiskIsFullAndLeavesNothingBehind) {
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 400;  // fewer bytes than the entry has
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  PackedCache one = cache();
  store(one, kKey);
  store(one, {5, 5});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(files().empty());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_TRUE(contains(warnings_[0], "cannot write"));
  store(one, kKey);
  EXPECT_TRUE(has(one, kKey));
}

TEST_F(PackedCacheTest, SeveralProcessesStoreFindAndForgetAtOnce) {
  PackedCache measure = cache();
  store(measure, kKey);
  const uint64_t size = fs::file_size(only_file());
  std::vector<pid_t> children;
  for (uint32_t child = 0; child < 4; ++child) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      std::mt19937 random(child);
      ThreadPool threads(1);
      PackedCache one = cache(3 * size);
      bool right = true;
      for (int i = 0; i < 300; ++i) {
        const Digest key = {random() % 5, 0};
        if (const auto entry = one.find(key, threads, pool_)) {
          right &= copy_of(entry->section("codes")) == codes_ && copy_of(entry->section("scales")) == scales_;
        } else {
          one.store(key, {{"codes", codes_}, {"scales", scales_}}, threads);
        }
      }
      _exit(right && warnings_.empty() ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t child : children) {
    int status = 1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  PackedCache one = cache(3 * size);
  store(one, {9, 9});
  EXPECT_LE(files().size(), 3u);
}
#endif

// A file system on disk, and one whose files are mapped in small pages.
class LargeEntryTest : public PackedCacheTest, public testing::WithParamInterface<const char*> {
 protected:
  LargeEntryTest() : PackedCacheTest(*GetParam() ? fs::path(GetParam()) : fs::path(testing::TempDir())) {}
};

TEST_P(LargeEntryTest, IsTheSameMappedOrCopied) {
  if (!fs::is_directory(folder_.parent_path())) GTEST_SKIP() << "no folder " << folder_.parent_path();
  codes_ = random_bytes((5 << 20) + 77, 3);
  PackedCache one = cache();
  store(one, kKey);
  for (const int threads : {1, 3}) {
    ThreadPool several(threads);
    const auto entry = one.find(kKey, several, pool_);
    ASSERT_TRUE(entry);
    EXPECT_EQ(copy_of(entry->section("codes")), codes_);
    EXPECT_EQ(copy_of(entry->section("scales")), scales_);
  }
  EXPECT_EQ(pool_.stats().active, 0u);
  pool_.trim();
  MemoryPool small(1000);  // has no room for a copy
  const auto entry = one.find(kKey, threads_, small);
  ASSERT_TRUE(entry);
  EXPECT_EQ(copy_of(entry->section("codes")), codes_);
}

INSTANTIATE_TEST_SUITE_P(, LargeEntryTest, testing::Values("", "/dev/shm"),
                         [](const auto& info) { return *info.param ? "shm" : "disk"; });

// The keys

class SourceDigestTest : public PackedCacheTest {
 protected:
  fs::path write(const std::string& name, std::span<const std::byte> bytes) {
    fs::create_directories(folder_);
    write_file(folder_ / name, bytes);
    return folder_ / name;
  }
  // A tensor (rows, 16) from an offset on.
  static StoredTensor tensor(std::shared_ptr<const MappedFile> file, uint64_t offset = 0, int64_t rows = 4) {
    return {"w",
            DType::kU8,
            Encoding::kTernaryStripes,
            {rows, 16},
            std::move(file),
            offset,
            static_cast<uint64_t>(rows * 16)};
  }
  static std::optional<Digest> digest(const StoredTensor& tensor, std::string_view layout = "layout") {
    const StoredTensor* const tensors[] = {&tensor};
    return source_digest(tensors, layout);
  }
  static void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }
};

TEST_F(SourceDigestTest, TellsFilesTensorsAndLayoutsApart) {
  const Bytes bytes = random_bytes(300000, 4);
  const fs::path path = write("model", bytes), copy = write("copy", bytes);
  EXPECT_FALSE(digest(tensor(MappedFile::open(path))));  // written just now
  settle();
  const auto file = MappedFile::open(path);
  const auto first = digest(tensor(file));
  ASSERT_TRUE(first);
  EXPECT_EQ(digest(tensor(file)), first);
  EXPECT_EQ(digest(tensor(MappedFile::open(path))), first);
  EXPECT_EQ(digest(tensor(MappedFile::open(path, FileAccess::kRead))), first);
  for (const auto& other : {digest(tensor(file), "another"), digest(tensor(file, 16)), digest(tensor(file, 0, 5)),
                            digest(tensor(MappedFile::open(copy)))}) {
    ASSERT_TRUE(other);
    EXPECT_NE(other, first);
  }
  EXPECT_FALSE(digest(tensor(MappedFile::lend(bytes, nullptr, "lent"))));
}

TEST_F(SourceDigestTest, SeesAnEditThatKeepsSizeAndTimeOfModification) {
  Bytes bytes = random_bytes(300000, 4);
  const fs::path path = write("model", bytes);
  settle();
  const auto before = MappedFile::open(path, FileAccess::kRead);
  const auto first = digest(tensor(before));
  EXPECT_TRUE(before->is_current());
  const auto time = fs::last_write_time(path);
  bytes[5000] ^= std::byte{1};  // between the blocks that are read
  write_file(path, bytes);
  fs::last_write_time(path, time);
  EXPECT_FALSE(before->is_current());
  EXPECT_FALSE(digest(tensor(MappedFile::open(path))));  // another edit could follow in the same tick
  settle();
  const auto second = digest(tensor(MappedFile::open(path)));
  ASSERT_TRUE(first && second);
  EXPECT_NE(first, second);
  fs::remove(path);
  EXPECT_FALSE(before->is_current());
}

// The folder

#ifndef _WIN32
class CacheFolderTest : public testing::Test {
 protected:
  CacheFolderTest() {
    for (const char* name : kNames)
      before_.push_back(std::getenv(name) ? std::optional(std::getenv(name)) : std::nullopt);
    for (const char* name : kNames) unsetenv(name);
  }
  ~CacheFolderTest() override {
    for (size_t i = 0; i < std::size(kNames); ++i) {
      before_[i] ? setenv(kNames[i], before_[i]->c_str(), 1) : unsetenv(kNames[i]);
    }
  }
  static constexpr const char* kNames[] = {"TRITIUM_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::optional<std::string>> before_;
};

TEST_F(CacheFolderTest, IsTheOneOfTheEnvironmentOrOfThePlatform) {
  EXPECT_EQ(default_cache_folder(), std::nullopt);
  setenv("HOME", "/home/me", 1);
#ifdef __APPLE__
  EXPECT_EQ(default_cache_folder(), "/home/me/Library/Caches/tritium");
#else
  EXPECT_EQ(default_cache_folder(), "/home/me/.cache/tritium");
  setenv("XDG_CACHE_HOME", "/caches", 1);
  EXPECT_EQ(default_cache_folder(), "/caches/tritium");
#endif
  setenv("TRITIUM_CACHE_DIR", "/elsewhere", 1);
  EXPECT_EQ(default_cache_folder(), "/elsewhere");
  setenv("TRITIUM_CACHE_DIR", "", 1);
  EXPECT_EQ(default_cache_folder(), std::nullopt);
}
#endif

}  // namespace
}  // namespace tritium
