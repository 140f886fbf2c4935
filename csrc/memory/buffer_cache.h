// BufferCache: free buffers by size, and by age for giving them back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <utility>

namespace tritium {

// Not thread-safe. Owns nothing: the owner of the cache frees what evict() or clear() hands it.
template <class Buffer>
class BufferCache {
 public:
  struct Entry {
    Buffer buffer;
    size_t capacity;  // bytes
  };

  // Largest capacity that serves a request: 25 % or 64 KiB more.
  static constexpr size_t largest_fit(size_t bytes) { return bytes + std::max(bytes / 4, size_t{64} << 10); }

  size_t bytes() const { return bytes_; }

  void put(Buffer buffer, size_t capacity) {
    by_age_.push_back({std::move(buffer), capacity});
    try {
      by_size_.emplace(capacity, std::prev(by_age_.end()));
    } catch (...) {
      by_age_.pop_back();
      throw;
    }
    bytes_ += capacity;
  }

  // The smallest buffer with fits(buffer) that holds `bytes` and is not too large for it.
  template <class Fits>
  std::optional<Entry> take(size_t bytes, const Fits& fits) {
    for (auto found = by_size_.lower_bound(bytes); found != by_size_.end(); ++found) {
      if (found->first > largest_fit(bytes)) break;
      if (fits(found->second->buffer)) return remove(found);
    }
    return std::nullopt;
  }
  std::optional<Entry> take(size_t bytes) {
    return take(bytes, [](const Buffer&) { return true; });
  }

  // Hands the oldest buffers to free(entry) until `bytes` bytes are gone or the cache is empty.
  template <class Free>
  void evict(size_t bytes, const Free& free) {
    for (size_t gone = 0; gone < bytes && !by_age_.empty();) {
      const auto oldest = by_age_.begin();
      auto found = by_size_.lower_bound(oldest->capacity);
      while (found->second != oldest) ++found;
      gone += oldest->capacity;
      free(remove(found));
    }
  }

  template <class Free>
  void clear(const Free& free) {
    evict(bytes_, free);
  }

 private:
  using ByAge = std::list<Entry>;
  using BySize = std::multimap<size_t, typename ByAge::iterator>;

  Entry remove(typename BySize::iterator found) {
    Entry entry = std::move(*found->second);
    by_age_.erase(found->second);
    by_size_.erase(found);
    bytes_ -= entry.capacity;
    return entry;
  }

  ByAge by_age_;
  BySize by_size_;
  size_t bytes_ = 0;
};

}  // namespace tritium
