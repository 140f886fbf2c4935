#include "memory/memory_pool.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "memory/allocator.h"
#include "memory/buffer_cache.h"

namespace tritium {

// What the pool and its buffers have in common; the last of them destroys it.
struct MemoryPool::Buffer::Shared {
  using Cache = BufferCache<void*>;

  explicit Shared(size_t bytes) : limit(bytes) {}
  ~Shared() { cache.clear(free); }

  static void free(const Cache::Entry& entry) noexcept { free_aligned(entry.buffer, entry.capacity); }

  // Throws MemoryLimitError.
  Cache::Entry take(size_t bytes, const char* what) {
    std::lock_guard lock(mutex);
    const size_t rest = limit - active;
    if (bytes > rest) {
      throw MemoryLimitError(
          concat("[memory] ", what, " needs ", bytes, " bytes, ", rest, " of ", limit, " bytes are free"));
    }
    // A reused buffer may be larger than `bytes`, but it is part of the limit already.
    std::optional<Cache::Entry> entry = cache.take(bytes);
    if (!entry) entry = take_from_system(bytes, what, rest);
    active += entry->capacity;
    active_by_use[what] += entry->capacity;
    peak = std::max(peak, active);
    return *entry;
  }

  void give_back(void* data, size_t capacity, const char* what) noexcept {
    std::lock_guard lock(mutex);
    active -= capacity;
    active_by_use[what] -= capacity;
    if (!closed) {
      try {
        cache.put(data, capacity);
        return;
      } catch (...) {  // no memory to remember it
      }
    }
    free_aligned(data, capacity);
  }

  void trim() {
    std::lock_guard lock(mutex);
    cache.clear(free);
  }

  std::mutex mutex;
  const size_t limit;
  size_t active = 0;
  size_t peak = 0;
  std::map<std::string_view, size_t> active_by_use;
  bool closed = false;  // the pool is gone; buffers that come back are freed
  Cache cache;

 private:
  Cache::Entry take_from_system(size_t bytes, const char* what, size_t rest) {
    const size_t room = rest - cache.bytes();
    // Whole cache lines where the limit allows them.
    const size_t rounded = (std::max(bytes, size_t{1}) + kAlignment - 1) & ~(kAlignment - 1);
    const size_t capacity = rounded >= bytes && rounded <= rest ? rounded : bytes;
    if (capacity > room) cache.evict(capacity - room, free);
    try {
      return {allocate_aligned(capacity), capacity};
    } catch (const MemoryLimitError&) {
      if (cache.bytes() == 0)
        throw MemoryLimitError(concat("[memory] ", what, ": the system has no ", bytes, " bytes"));
    }
    cache.clear(free);
    try {
      return {allocate_aligned(capacity), capacity};
    } catch (const MemoryLimitError&) {
      throw MemoryLimitError(concat("[memory] ", what, ": the system has no ", bytes, " bytes"));
    }
  }
};

MemoryPool::Buffer::~Buffer() {
  if (pool_) pool_->give_back(data_, capacity_, what_);
}

MemoryPool::Buffer::Buffer(Buffer&& other) noexcept
    : pool_(std::move(other.pool_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      what_(other.what_) {}

MemoryPool::Buffer& MemoryPool::Buffer::operator=(Buffer&& other) noexcept {
  Buffer moved(std::move(other));
  std::swap(pool_, moved.pool_);
  std::swap(data_, moved.data_);
  std::swap(size_, moved.size_);
  std::swap(capacity_, moved.capacity_);
  std::swap(what_, moved.what_);
  return *this;
}

MemoryPool::MemoryPool(size_t limit) : shared_(std::make_shared<Buffer::Shared>(limit)) {}

MemoryPool::~MemoryPool() {
  std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->cache.clear(Buffer::Shared::free);
}

MemoryPool::Buffer MemoryPool::allocate(size_t bytes, const char* what) {
  const auto entry = shared_->take(bytes, what);
  Buffer buffer;
  buffer.pool_ = shared_;
  buffer.data_ = entry.buffer;
  buffer.size_ = bytes;
  buffer.capacity_ = entry.capacity;
  buffer.what_ = what;
  return buffer;
}

void MemoryPool::trim() { shared_->trim(); }

MemoryStats MemoryPool::stats() const {
  std::lock_guard lock(shared_->mutex);
  return {shared_->active, shared_->peak, shared_->cache.bytes(), shared_->limit};
}

size_t MemoryPool::active(const char* what) const {
  std::lock_guard lock(shared_->mutex);
  const auto found = shared_->active_by_use.find(what);
  return found == shared_->active_by_use.end() ? 0 : found->second;
}

}  // namespace tritium
