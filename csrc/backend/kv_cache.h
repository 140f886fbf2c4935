// KVCache: keys and values of many sequences in pages of 64 tokens, in float16 or int8. Sequences that were forked
// share pages until one of them writes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "backend/batch.h"
#include "kernels/kernel_set.h"
#include "memory/memory_pool.h"
#include "plan/execution_plan.h"

namespace tritium {

inline constexpr int64_t kTokensPerPage = kernels::kPageTokens;

struct KVCacheShape {
  int64_t layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  KVDType dtype = KVDType::kF16;

  // Bytes of the keys and values of one layer and head, as kernels/kernel_set.h lays them out.
  int64_t head_bytes() const {
    return dtype == KVDType::kF16 ? kernels::f16_page_bytes(head_dim) : kernels::int8_page_bytes(head_dim);
  }
  // Bytes from the start of a page to them.
  int64_t offset(int64_t layer, int64_t kv_head) const { return (layer * kv_heads + kv_head) * head_bytes(); }
  int64_t page_bytes() const { return layers * kv_heads * head_bytes(); }
  // Bytes of the pages of `sequences` sequences of `tokens` tokens.
  int64_t bytes(int64_t tokens, int64_t sequences) const {
    return (tokens + kTokensPerPage - 1) / kTokensPerPage * page_bytes() * sequences;
  }
};

class KVCache {
 public:
  // Pages come from `pool`.
  KVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<MemoryPool> pool);

  SequenceId create();
  // A new sequence with the same past.
  SequenceId fork(SequenceId sequence);
  void free(SequenceId sequence);  // unknown ids are ignored

  int64_t length(SequenceId sequence) const;  // tokens
  // Makes room for `tokens` more and counts them; pages that would be written and are shared are copied.
  // BatchProcessingError if max_tokens would be passed, MemoryLimitError if the pool is full; nothing changes then.
  void append(SequenceId sequence, int64_t tokens);
  // Forgets all but the first `length` tokens.
  void truncate(SequenceId sequence, int64_t length);

  // The sequence's pages in order; the shape's offsets lead to keys and values.
  std::vector<uint8_t*> pages(SequenceId sequence) const;

  const KVCacheShape& shape() const { return shape_; }
  int64_t max_tokens() const { return max_tokens_; }

 private:
  using Page = std::shared_ptr<MemoryPool::Buffer>;
  struct Sequence {
    std::vector<Page> pages;
    int64_t length = 0;
  };

  Page allocate_page() const;
  Sequence& find(SequenceId sequence);
  const Sequence& find(SequenceId sequence) const;

  KVCacheShape shape_;
  int64_t max_tokens_;
  std::shared_ptr<MemoryPool> pool_;
  std::map<SequenceId, Sequence> sequences_;
  SequenceId next_id_ = 0;
};

}  // namespace tritium
