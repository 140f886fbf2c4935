#include "memory/mapped_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.h"
#include "error_text.h"

#ifndef _WIN32
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace tritium {
namespace {

class MappedFileTest : public testing::TestWithParam<FileAccess> {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = std::filesystem::path(testing::TempDir()) / ("tritium_file_" + name);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::filesystem::path& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::string error_of(const std::filesystem::path& path) {
    return error_text<ModelLoadError>([&] { MappedFile::open(path, GetParam()); });
  }

  std::filesystem::path folder_;
};

std::string text_of(const MappedFile& file) {
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_P(MappedFileTest, ShowsTheBytesOfTheFile) {
  std::string text(100001, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 3);
  const auto path = write("weights.bin", text);
  const auto file = MappedFile::open(path, GetParam());
  EXPECT_EQ(file->path(), path);
  EXPECT_EQ(text_of(*file), text);
}

TEST_P(MappedFileTest, FetchesBytesFromAnyPlace) {
  std::string text(50001, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 >> 2);
  const auto file = MappedFile::open(write("weights.bin", text), GetParam());
  std::string scratch(text.size(), '\0');
  for (size_t offset : {size_t{0}, size_t{1}, size_t{4095}, size_t{40000}}) {
    const size_t count = std::min<size_t>(10001, text.size() - offset);
    const std::byte* data = file->fetch(offset, count, reinterpret_cast<std::byte*>(scratch.data()));
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(data), count), text.substr(offset, count)) << offset;
  }
}

TEST_P(MappedFileTest, OpensAnEmptyFile) {
  const auto file = MappedFile::open(write("empty", ""), GetParam());
  EXPECT_EQ(file->bytes().size(), 0u);
}

TEST_P(MappedFileTest, OpensANameOutsideAscii) {
  const auto file = MappedFile::open(write(std::filesystem::path(u8"größe 重み.bin"), "abc"), GetParam());
  EXPECT_EQ(text_of(*file), "abc");
}

TEST_P(MappedFileTest, FollowsASymbolicLink) {
  const auto path = write("real", "abc");
  std::error_code error;
  std::filesystem::create_symlink(path, folder_ / "link", error);
  if (error) GTEST_SKIP() << "no symbolic links here: " << error.message();
  EXPECT_EQ(text_of(*MappedFile::open(folder_ / "link", GetParam())), "abc");
}

TEST_P(MappedFileTest, NamesAPathThatDoesNotExist) {
  EXPECT_TRUE(contains(error_of(folder_ / "absent.bin"), "[file] cannot open '"));
  EXPECT_TRUE(contains(error_of(folder_ / "absent.bin"), "absent.bin"));
  EXPECT_TRUE(contains(error_of(write("file", "x") / "below.bin"), "below.bin"));
  EXPECT_TRUE(contains(error_of({}), "[file] cannot open ''"));
}

TEST_P(MappedFileTest, RefusesADirectory) {
  EXPECT_TRUE(contains(error_of(folder_), folder_.filename().string() + "' is a directory"));
}

TEST_P(MappedFileTest, RefusesAFileWithoutPermission) {
#ifdef _WIN32
  GTEST_SKIP() << "POSIX permissions";
#else
  const auto path = write("secret", "x");
  ASSERT_EQ(chmod(path.c_str(), 0), 0);
  const bool root = geteuid() == 0;  // root may read everything
  constexpr uid_t kNobody = 65534;
  if (root && seteuid(kNobody) != 0) GTEST_SKIP() << "root cannot become another user here";
  const std::string text = error_of(path);
  ASSERT_TRUE(!root || seteuid(0) == 0);
  EXPECT_TRUE(contains(text, "secret': Permission denied"));
#endif
}

TEST_P(MappedFileTest, RefusesANamedPipeWithoutWaitingForIt) {
#ifdef _WIN32
  GTEST_SKIP() << "POSIX pipes";
#else
  const auto path = folder_ / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_TRUE(contains(error_of(path), "is not a regular file"));
#endif
}

TEST_P(MappedFileTest, StaysOpenAfterTheFileIsRemoved) {
#ifdef _WIN32
  GTEST_SKIP() << "Windows keeps a mapped file";
#else
  const auto path = write("gone", "still here");
  const auto file = MappedFile::open(path, GetParam());
  std::filesystem::remove(path);
  EXPECT_EQ(text_of(*file), "still here");
#endif
}

TEST_P(MappedFileTest, ShowsTheSameBytesAfterTheyWereDropped) {
  std::string text(300001, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 3);
  const auto file = MappedFile::open(write("weights.bin", text), GetParam());
  EXPECT_EQ(text_of(*file), text);
  file->drop(5000, 200000);
  file->drop(0, 1);
  file->drop(300000, 1000000);
  file->drop(400000, 1);
  EXPECT_EQ(text_of(*file), text);
}

TEST(LentFile, KeepsTheOwnerOfItsBytesUntilItsEnd) {
  const auto owner = std::make_shared<std::string>("lent bytes");
  const std::span bytes(reinterpret_cast<const std::byte*>(owner->data()), owner->size());
  auto file = MappedFile::lend(bytes, owner, "nowhere");
  EXPECT_EQ(owner.use_count(), 2);
  file->drop(0, 4);
  EXPECT_EQ(text_of(*file), "lent bytes");
  EXPECT_EQ(file->path(), "nowhere");
  file.reset();
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_EQ(*owner, "lent bytes");
}

INSTANTIATE_TEST_SUITE_P(, MappedFileTest, testing::Values(FileAccess::kMap, FileAccess::kRead),
                         [](const auto& info) { return info.param == FileAccess::kMap ? "mapped" : "read"; });

}  // namespace
}  // namespace tritium
