// The KV cache of the CPU backend: pages in the memory of its pool, in float16 or int8.
#pragma once

#include "backend/paged_kv_cache.h"
#include "memory/memory_pool.h"

namespace tritium {

class CpuKVCache final : public PagedKVCache {
 public:
  CpuKVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<MemoryPool> pool);

  // The sequence's pages in order; the shape's offsets lead to keys and values.
  std::vector<uint8_t*> pages(SequenceId sequence) const;
  const KVCacheShape& shape() const { return shape_; }

 private:
  class Store;
  CpuKVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<Store> store);

  KVCacheShape shape_;
  std::shared_ptr<const Store> pages_;
};

}  // namespace tritium
