#include "memory/memory_pool.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/process_guard.h"
#include "memory/allocator.h"
#include "memory/buffer_cache.h"

namespace tritium {

// What the pool and its buffers have in common; the last of them destroys it.
struct MemoryPool::Buffer::Shared {
  struct Block {
    void* data;
    std::shared_ptr<MemorySource> source;  // null: the system
  };
  using Cache = BufferCache<Block>;

  // Stored and working memory are reused and limited apart, so that neither takes the other's place.
  struct Account {
    MemoryStats stats;  // without `cached`, which the cache knows
    Cache cache;

    size_t held() const { return stats.active + cache.bytes(); }
    void add(size_t bytes) {
      stats.active += bytes;
      stats.peak = std::max(stats.peak, stats.active);
    }
  };

  Shared(size_t limit, size_t working_limit) {
    total.limit = limit;
    stored.stats.limit = limit;
    working.stats.limit = std::min(limit, working_limit);
  }
  ~Shared() {
    if (process.is_owner()) clear();
  }

  static void free(const Block& block, size_t capacity) noexcept {
    block.source ? block.source->free(block.data, capacity) : free_aligned(block.data, capacity);
  }
  static void free_entry(const Cache::Entry& entry) noexcept { free(entry.buffer, entry.capacity); }

  Account& account(const MemoryUse& use) { return use.working ? working : stored; }

  // Throws MemoryLimitError.
  Cache::Entry take(size_t bytes, const MemoryUse& use, std::shared_ptr<MemorySource> source) {
    process.check("a MemoryPool");
    std::lock_guard lock(mutex);
    Account& account = this->account(use);
    const size_t rest = std::min(total.limit - total.active, account.stats.limit - account.stats.active);
    if (bytes > rest) throw MemoryLimitError(refusal(bytes, use));
    // A reused buffer may be larger than `bytes`, but it is part of the limits already.
    std::optional<Cache::Entry> entry =
        account.cache.take(bytes, [&](const Block& block) { return block.source == source; });
    if (!entry) entry = take_new(bytes, use, std::move(source), rest);
    total.active += entry->capacity;
    total.peak = std::max(total.peak, total.active);
    account.add(entry->capacity);
    active_by_use[use.name] += entry->capacity;
    return *entry;
  }

  void give_back(Block block, size_t capacity, const MemoryUse& use) noexcept {
    if (!process.is_owner()) return;  // the lock may be held by a thread that is not in this process
    std::lock_guard lock(mutex);
    Account& account = this->account(use);
    total.active -= capacity;
    account.stats.active -= capacity;
    active_by_use[use.name] -= capacity;
    if (use.reusable && !closed) {
      try {
        account.cache.put(block, capacity);
        return;
      } catch (...) {  // no memory to remember it
      }
    }
    free(block, capacity);
  }

  void clear() {
    stored.cache.clear(free_entry);
    working.cache.clear(free_entry);
  }

  const ProcessGuard process;
  std::mutex mutex;
  MemoryStats total;  // without `cached`
  Account stored;
  Account working;
  std::map<std::string_view, size_t> active_by_use;
  bool closed = false;  // the pool is gone; buffers that come back are freed

 private:
  std::string refusal(size_t bytes, const MemoryUse& use) {
    const bool by_total = bytes > total.limit - total.active;
    const MemoryStats& short_of = by_total ? total : account(use).stats;
    return concat("[memory] ", use.name, " needs ", bytes, " bytes, ", short_of.limit - short_of.active, " of ",
                  short_of.limit,
                  by_total ? " bytes are free; a larger memory_limit gives more"
                           : " bytes of working memory are free; a larger memory_pool_size gives more");
  }

  Cache::Entry take_new(size_t bytes, const MemoryUse& use, std::shared_ptr<MemorySource> source, size_t rest) {
    // Whole cache lines where the limits allow them.
    const size_t rounded = (std::max(bytes, size_t{1}) + kAlignment - 1) & ~(kAlignment - 1);
    const size_t capacity = rounded >= bytes && rounded <= rest ? rounded : bytes;
    Account& account = this->account(use);
    make_room(account.cache, account.held(), account.stats.limit, capacity);
    // What would pass the limit of everything is taken from the other account first: this one is in use.
    Account& other = use.working ? stored : working;
    make_room(other.cache, account.held() + other.held(), total.limit, capacity);
    make_room(account.cache, account.held() + other.held(), total.limit, capacity);
    try {
      return {{allocate_from(source.get(), capacity, use), source}, capacity};
    } catch (const MemoryLimitError&) {
      clear();
    }
    return {{allocate_from(source.get(), capacity, use), source}, capacity};
  }

  static void* allocate_from(MemorySource* source, size_t bytes, const MemoryUse& use) {
    if (source) return source->allocate(bytes, use);
    try {
      return allocate_aligned(bytes);
    } catch (const MemoryLimitError&) {
      throw MemoryLimitError(concat("[memory] ", use.name, ": the system has no ", bytes, " bytes"));
    }
  }

  // Frees cached buffers until `bytes` more than the `held` ones do not pass the limit, if the cache has so many.
  static void make_room(Cache& cache, size_t held, size_t limit, size_t bytes) {
    if (bytes > limit - held) cache.evict(bytes - (limit - held), free_entry);
  }
};

MemoryPool::Buffer::~Buffer() {
  if (pool_) pool_->give_back({data_, std::move(source_)}, capacity_, use_);
}

MemoryPool::Buffer::Buffer(Buffer&& other) noexcept
    : pool_(std::move(other.pool_)),
      source_(std::move(other.source_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      use_(other.use_) {}

MemoryPool::Buffer& MemoryPool::Buffer::operator=(Buffer&& other) noexcept {
  Buffer moved(std::move(other));
  std::swap(pool_, moved.pool_);
  std::swap(source_, moved.source_);
  std::swap(data_, moved.data_);
  std::swap(size_, moved.size_);
  std::swap(capacity_, moved.capacity_);
  std::swap(use_, moved.use_);
  return *this;
}

MemoryPool::MemoryPool(size_t limit, size_t working_limit)
    : shared_(std::make_shared<Buffer::Shared>(limit, working_limit)) {}

MemoryPool::~MemoryPool() {
  if (!shared_->process.is_owner()) return;
  std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->clear();
}

MemoryPool::Buffer MemoryPool::allocate(size_t bytes, const MemoryUse& use, std::shared_ptr<MemorySource> source) {
  auto entry = shared_->take(bytes, use, std::move(source));
  Buffer buffer;
  buffer.pool_ = shared_;
  buffer.source_ = std::move(entry.buffer.source);
  buffer.data_ = entry.buffer.data;
  buffer.size_ = bytes;
  buffer.capacity_ = entry.capacity;
  buffer.use_ = use;
  return buffer;
}

void MemoryPool::trim() {
  shared_->process.check("a MemoryPool");
  std::lock_guard lock(shared_->mutex);
  shared_->clear();
}

MemoryStats MemoryPool::stats() const {
  shared_->process.check("a MemoryPool");
  std::lock_guard lock(shared_->mutex);
  MemoryStats stats = shared_->total;
  stats.cached = shared_->stored.cache.bytes() + shared_->working.cache.bytes();
  return stats;
}

MemoryStats MemoryPool::working_stats() const {
  shared_->process.check("a MemoryPool");
  std::lock_guard lock(shared_->mutex);
  MemoryStats stats = shared_->working.stats;
  stats.cached = shared_->working.cache.bytes();
  return stats;
}

size_t MemoryPool::active(const MemoryUse& use) const {
  shared_->process.check("a MemoryPool");
  std::lock_guard lock(shared_->mutex);
  const auto found = shared_->active_by_use.find(use.name);
  return found == shared_->active_by_use.end() ? 0 : found->second;
}

}  // namespace tritium
