// PackedCache: what packing made, kept in a folder and mapped by the next load, by any number of processes at once.
//
// An entry is a file of named sections, found by a key that says from what and into which layout its contents were
// packed (source_digest.h). Whoever packs something else at a cost gives it a key and entries of its own:
//
//   if (const auto entry = cache.find(key, threads, pool)) return use(entry->section("codes"),
//   entry->section("scales"));
//   ...
//   cache.store(key, {{"codes", codes}, {"scales", scales}}, threads);
//
// A section is the same bytes that were stored: checksums are compared before it is handed out. Its size is the
// caller's to check. Nothing here fails a load: an entry that is missing, damaged or of another version is none, and
// where storing is impossible there is one warning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "memory/memory_pool.h"
#include "model/cache_options.h"

namespace tritium {

// 128 bits.
struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const Digest&) const = default;
};

// $TRITIUM_CACHE_DIR, nothing if that is empty; without it "tritium" in the user's folder for caches:
// $XDG_CACHE_HOME or ~/.cache, on macOS ~/Library/Caches, on Windows %LOCALAPPDATA%. Nothing where there is none.
std::optional<std::filesystem::path> default_cache_folder();

class PackedCache {
 public:
  static constexpr size_t kSectionAlignment = 64;
  static constexpr size_t kMaxSections = 16;
  static constexpr size_t kMaxName = 15;  // characters

  struct Section {
    std::string_view name;
    std::span<const std::byte> bytes;
  };

  // An entry in use. Its bytes stay as they are while it lives, whatever happens to the file's name.
  class Entry {
   public:
    // Empty if there is none. Aligned to kSectionAlignment.
    std::span<const std::byte> section(std::string_view name) const;
    // Whether the bytes are those of a mapped file; if not, they are memory of the pool.
    bool is_mapped() const { return mapped_; }

   private:
    friend class PackedCache;
    std::shared_ptr<const void> owner_;  // a mapped file, or memory of the pool
    bool mapped_ = true;
    std::map<std::string, std::span<const std::byte>, std::less<>> sections_;
  };

  explicit PackedCache(CacheOptions options) : options_(std::move(options)) {}

  // The entry of a key, verified; nullptr if there is none. It is mapped. Where the system maps it in small pages,
  // which are slower to read, it is copied into huge pages of the pool if that has room. A damaged file is removed.
  std::shared_ptr<const Entry> find(const Digest& key, ThreadPool& threads, MemoryPool& pool);

  // Keeps an entry of at most kMaxSections, after making room for it. Nothing happens to one larger than max_bytes.
  void store(const Digest& key, const std::vector<Section>& sections, ThreadPool& threads);

 private:
  std::filesystem::path path_of(const Digest& key) const;
  void warn_once(const std::string& reason);

  CacheOptions options_;
  bool warned_ = false;
};

// The cache of an engine, and those that models bring along.
class PackedCaches {
 public:
  explicit PackedCaches(std::optional<CacheOptions> engine);

  // That of a model with these options, or without any; nullptr for none.
  PackedCache* of(const std::optional<CacheOptions>& model);

 private:
  std::optional<PackedCache> engine_;
  std::map<std::pair<std::filesystem::path, uint64_t>, PackedCache> models_;  // by folder and size
};

}  // namespace tritium
