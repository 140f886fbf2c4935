#include "backend/packed_cache.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <type_traits>

#include "base/checksum.h"
#include "base/error.h"
#include "memory/allocator.h"
#include "memory/file.h"
#include "memory/mapped_file.h"

namespace tritium {
namespace {

namespace fs = std::filesystem;

// A file is its sections, each from a multiple of kSectionAlignment on, and then this, so that a file that was cut
// short has none. Integers are in the machine's byte order.
struct Footer {
  struct Section {
    char name[PackedCache::kMaxName + 1];  // ends with a zero
    uint64_t offset;
    uint64_t bytes;
    uint64_t checksum;
  };
  char magic[8];
  uint64_t version;
  Digest key;
  uint64_t file_bytes;
  uint64_t section_count;
  Section sections[PackedCache::kMaxSections];
  uint64_t checksum;  // of all above
};
static_assert(std::is_trivially_copyable_v<Footer> && sizeof(Footer) % 8 == 0);

constexpr char kMagic[8] = {'T', 'R', 'I', 'T', 'P', 'A', 'C', 'K'};
constexpr uint64_t kVersion = 1;
constexpr const char* kEntrySuffix = ".packed";
constexpr const char* kTemporarySuffix = ".tmp";
constexpr auto kLongestWrite = std::chrono::hours(1);  // older temporary files were left by a process that died
constexpr size_t kChunk = kHugePage;                   // of work for a thread

uint64_t footer_checksum(const Footer& footer) {
  return checksum({reinterpret_cast<const std::byte*>(&footer), offsetof(Footer, checksum)});
}

template <class Work>
void for_each_chunk(size_t bytes, ThreadPool& threads, const Work& work) {
  threads.parallel_for(static_cast<int64_t>((bytes + kChunk - 1) / kChunk), [&](int64_t begin, int64_t end, int) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const size_t first = static_cast<size_t>(chunk) * kChunk;
      work(static_cast<size_t>(chunk), first, std::min(kChunk, bytes - first));
    }
  });
}

uint64_t section_checksum(std::span<const std::byte> bytes, ThreadPool& threads) {
  std::vector<uint64_t> sums((bytes.size() + kChunk - 1) / kChunk);
  for_each_chunk(bytes.size(), threads, [&](size_t chunk, size_t first, size_t count) {
    sums[chunk] = checksum(bytes.subspan(first, count));
  });
  return checksum(std::as_bytes(std::span(sums)), bytes.size());
}

size_t padding(uint64_t bytes) {
  constexpr size_t kAligned = PackedCache::kSectionAlignment;
  return (kAligned - bytes % kAligned) % kAligned;
}

// The footer of a whole file, if what it says of the file is possible.
std::optional<Footer> read_footer(std::span<const std::byte> file, const Digest& key) {
  Footer footer;
  if (file.size() < sizeof footer) return std::nullopt;
  const uint64_t body = file.size() - sizeof footer;
  std::memcpy(&footer, file.data() + body, sizeof footer);
  if (std::memcmp(footer.magic, kMagic, sizeof kMagic) != 0 || footer.version != kVersion ||
      footer.checksum != footer_checksum(footer) || footer.key != key || footer.file_bytes != file.size() ||
      footer.section_count > PackedCache::kMaxSections) {
    return std::nullopt;
  }
  for (uint64_t i = 0; i < footer.section_count; ++i) {
    const Footer::Section& section = footer.sections[i];
    if (section.name[PackedCache::kMaxName] != 0 || section.offset % PackedCache::kSectionAlignment != 0 ||
        section.offset > body || section.bytes > body - section.offset) {
      return std::nullopt;
    }
  }
  return footer;
}

using Sections = std::map<std::string, std::span<const std::byte>, std::less<>>;

// Views of the sections of a file. Nothing if it is not whole.
std::optional<Sections> read_sections(std::span<const std::byte> file, const Digest& key, ThreadPool& threads) {
  const std::optional<Footer> footer = read_footer(file, key);
  if (!footer) return std::nullopt;
  Sections sections;
  for (uint64_t i = 0; i < footer->section_count; ++i) {
    const Footer::Section& section = footer->sections[i];
    const auto bytes = file.subspan(static_cast<size_t>(section.offset), static_cast<size_t>(section.bytes));
    if (section_checksum(bytes, threads) != section.checksum) return std::nullopt;
    sections.emplace(section.name, bytes);
  }
  return sections;
}

// A copy of a mapped file, whose pages are given back on the way; nullptr if the pool has no room.
std::shared_ptr<const MemoryPool::Buffer> copy_file(const MappedFile& file, ThreadPool& threads, MemoryPool& pool) {
  const std::span<const std::byte> bytes = file.bytes();
  MemoryPool::Buffer copy;
  try {
    copy = pool.allocate(bytes.size(), kWeightsMemory);
  } catch (const MemoryLimitError&) {
    return nullptr;
  }
  for_each_chunk(bytes.size(), threads, [&](size_t, size_t first, size_t count) {
    std::memcpy(copy.as<std::byte>() + first, bytes.data() + first, count);
    file.drop(first, count);
  });
  return std::make_shared<const MemoryPool::Buffer>(std::move(copy));
}

struct CachedFile {
  fs::path path;
  fs::file_time_type used;
  uint64_t bytes;
};

// Removes entries, the one used longest ago first, until all take at most `bytes`; and what dead processes left.
void make_room(const fs::path& folder, uint64_t bytes) {
  std::error_code ignored;  // another process may be doing the same
  std::vector<CachedFile> files;
  uint64_t total = 0;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator it(folder, ignored), end; !ignored && it != end; it.increment(ignored)) {
    const fs::path& path = it->path();
    std::error_code gone;
    const CachedFile file{path, fs::last_write_time(path, gone), fs::file_size(path, gone)};
    if (gone) continue;
    if (path.extension() == kTemporarySuffix && path.stem().stem().extension() == kEntrySuffix) {
      if (now - file.used > kLongestWrite) fs::remove(path, ignored);
    } else if (path.extension() == kEntrySuffix) {
      files.push_back(file);
      total += file.bytes;
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  for (const CachedFile& file : files) {
    if (total <= bytes) return;
    if (fs::remove(file.path, ignored)) total -= file.bytes;
  }
}

void create_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error)) fs::permissions(folder, fs::perms::owner_all, error);
  if (error) throw ModelLoadError(concat("[file] cannot create '", path_text(folder), "': ", error.message()));
}

#ifdef _WIN32
std::optional<fs::path> folder_in(const wchar_t* variable) {
  const wchar_t* value = _wgetenv(variable);
#else
std::optional<fs::path> folder_in(const char* variable) {
  const char* value = std::getenv(variable);
#endif
  return value && *value ? std::optional<fs::path>(value) : std::nullopt;
}

}  // namespace

std::optional<std::filesystem::path> default_cache_folder() {
#if defined(_WIN32)
  if (_wgetenv(L"TRITIUM_CACHE_DIR")) return folder_in(L"TRITIUM_CACHE_DIR");
  const auto caches = folder_in(L"LOCALAPPDATA");
#else
  if (std::getenv("TRITIUM_CACHE_DIR")) return folder_in("TRITIUM_CACHE_DIR");
  const auto home = folder_in("HOME");
#if defined(__APPLE__)
  const auto caches = home ? std::optional(*home / "Library" / "Caches") : std::nullopt;
#else
  auto caches = folder_in("XDG_CACHE_HOME");
  if (!caches && home) caches = *home / ".cache";
#endif
#endif
  return caches ? std::optional(*caches / "tritium") : std::nullopt;
}

std::span<const std::byte> PackedCache::Entry::section(std::string_view name) const {
  const auto found = sections_.find(name);
  return found == sections_.end() ? std::span<const std::byte>() : found->second;
}

fs::path PackedCache::path_of(const Digest& key) const {
  char name[33];
  std::snprintf(name, sizeof name, "%016" PRIx64 "%016" PRIx64, key.high, key.low);
  return options_.folder / (std::string(name) + kEntrySuffix);
}

std::shared_ptr<const PackedCache::Entry> PackedCache::find(const Digest& key, ThreadPool& threads, MemoryPool& pool) {
  const fs::path path = path_of(key);
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return nullptr;
  try {
    std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    std::span<const std::byte> bytes = file->bytes();
    auto entry = std::make_shared<Entry>();
    entry->owner_ = file;
    File::prefer_huge_pages(bytes.data(), bytes.size());
    if (!File::uses_huge_pages(bytes.data(), bytes.size())) {
      if (const auto copy = copy_file(*file, threads, pool)) {
        bytes = {copy->as<const std::byte>(), bytes.size()};
        entry->owner_ = copy;
        entry->mapped_ = false;
      }
    }
    if (std::optional<Sections> sections = read_sections(bytes, key, threads)) {
      fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
      entry->sections_ = std::move(*sections);
      return entry;
    }
  } catch (const ModelLoadError&) {  // it cannot be read, or has gone
    return nullptr;
  }
  fs::remove(path, ignored);  // now that it is mapped no more, which Windows asks for
  return nullptr;
}

void PackedCache::store(const Digest& key, const std::vector<Section>& sections, ThreadPool& threads) {
  if (sections.size() > kMaxSections) throw std::length_error("[cache] too many sections");
  Footer footer = {};
  std::memcpy(footer.magic, kMagic, sizeof kMagic);
  footer.version = kVersion;
  footer.key = key;
  for (const Section& section : sections) {
    Footer::Section& entry = footer.sections[footer.section_count++];
    section.name.copy(entry.name, kMaxName);
    entry.offset = footer.file_bytes;
    entry.bytes = section.bytes.size();
    entry.checksum = section_checksum(section.bytes, threads);
    footer.file_bytes += entry.bytes + padding(entry.bytes);
  }
  footer.file_bytes += sizeof footer;
  footer.checksum = footer_checksum(footer);
  if (footer.file_bytes > options_.max_bytes) return;
  const fs::path path = path_of(key);
  try {
    create_folder(options_.folder);
    make_room(options_.folder, options_.max_bytes - footer.file_bytes);
    NewFile file(path);
    const std::byte zeros[kSectionAlignment] = {};
    for (const Section& section : sections) {
      file.write(section.bytes);
      file.write({zeros, padding(section.bytes.size())});
    }
    file.write(std::as_bytes(std::span(&footer, 1)));
    file.publish();
  } catch (const ModelLoadError& error) {
    std::error_code ignored;
    // On Windows a file in use cannot be replaced; another process has stored it then.
    if (!fs::exists(path, ignored)) warn_once(error.what());
  }
}

void PackedCache::warn_once(const std::string& reason) {
  if (warned_) return;
  warned_ = true;
  options_.warn(concat("[cache] packed weights cannot be kept, so each load packs them again: ", reason));
}

PackedCaches::PackedCaches(std::optional<CacheOptions> engine) {
  if (engine) engine_.emplace(*std::move(engine));
}

PackedCache* PackedCaches::of(const std::optional<CacheOptions>& model) {
  if (!model) return engine_ ? &*engine_ : nullptr;
  return &models_.try_emplace({model->folder, model->max_bytes}, *model).first->second;
}

}  // namespace tritium
