// A KV cache in pages of 64 tokens. Sequences that were forked share pages until one of them writes.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backend/kv_cache.h"
#include "kernels/kernel_set.h"
#include "model/model_config.h"
#include "plan/execution_plan.h"

namespace tritium {

inline constexpr int64_t kTokensPerPage = kernels::kPageTokens;

// What a page holds: keys and values of 64 tokens, of all layers and heads.
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

KVCacheShape cache_shape(const ModelConfig& config, KVDType dtype);

// Where the pages of a cache lie.
class PageStore {
 public:
  virtual ~PageStore() = default;
  // The number of a page of zeros. MemoryLimitError if there is no memory for it.
  virtual int64_t allocate() = 0;
  virtual void copy(int64_t from, int64_t to) = 0;
  virtual void release(int64_t page) noexcept = 0;
};

class PagedKVCache : public KVCache {
 public:
  PagedKVCache(int64_t max_tokens, std::shared_ptr<PageStore> store);

  SequenceId create() override;
  SequenceId fork(SequenceId sequence) override;
  void free(SequenceId sequence) override;
  int64_t length(SequenceId sequence) const override;
  void append(SequenceId sequence, int64_t tokens) override;  // pages that would be written and are shared are copied
  void truncate(SequenceId sequence, int64_t length) override;
  int64_t max_tokens() const override { return max_tokens_; }

  // Numbers of the sequence's pages, in order.
  std::vector<int64_t> page_numbers(SequenceId sequence) const;

 private:
  // A page in use; goes back to the store with the last sequence that has it.
  struct Page {
    explicit Page(PageStore& owner) : store(owner), number(owner.allocate()) {}
    ~Page() { store.release(number); }
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;
    PageStore& store;
    const int64_t number;
  };
  struct Sequence {
    std::vector<std::shared_ptr<const Page>> pages;
    int64_t length = 0;
  };

  Sequence& find(SequenceId sequence);
  const Sequence& find(SequenceId sequence) const;

  int64_t max_tokens_;
  std::shared_ptr<PageStore> store_;
  std::map<SequenceId, Sequence> sequences_;
  SequenceId next_id_ = 0;
};

}  // namespace tritium
