#include "backend/cpu_kv_cache.h"

#include <cstring>

namespace tritium {

class CpuKVCache::Store final : public PageStore {
 public:
  Store(int64_t page_bytes, std::shared_ptr<MemoryPool> pool)
      : page_bytes_(static_cast<size_t>(page_bytes)), pool_(std::move(pool)) {}

  int64_t allocate() override {
    MemoryPool::Buffer page = pool_->allocate(page_bytes_, kCacheMemory);
    std::memset(page.data(), 0, page_bytes_);
    if (free_.empty()) {
      pages_.emplace_back();
      free_.reserve(pages_.size());
      free_.push_back(static_cast<int64_t>(pages_.size()) - 1);
    }
    const int64_t number = free_.back();
    free_.pop_back();
    pages_[static_cast<size_t>(number)] = std::move(page);
    return number;
  }

  void copy(int64_t from, int64_t to) override { std::memcpy(data(to), data(from), page_bytes_); }

  void release(int64_t page) noexcept override {
    pages_[static_cast<size_t>(page)] = {};
    free_.push_back(page);  // has room for all pages
  }

  uint8_t* data(int64_t page) const { return pages_[static_cast<size_t>(page)].as<uint8_t>(); }

 private:
  size_t page_bytes_;
  std::shared_ptr<MemoryPool> pool_;
  std::vector<MemoryPool::Buffer> pages_;  // by number; empty if it is free
  std::vector<int64_t> free_;              // numbers
};

CpuKVCache::CpuKVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<MemoryPool> pool)
    : CpuKVCache(shape, max_tokens, std::make_shared<Store>(shape.page_bytes(), std::move(pool))) {}

CpuKVCache::CpuKVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<Store> store)
    : PagedKVCache(max_tokens, store), shape_(shape), pages_(std::move(store)) {}

std::vector<uint8_t*> CpuKVCache::pages(SequenceId sequence) const {
  std::vector<uint8_t*> pages;
  for (int64_t number : page_numbers(sequence)) pages.push_back(pages_->data(number));
  return pages;
}

}  // namespace tritium
