#include "backend/paged_kv_cache.h"

#include "base/error.h"

namespace tritium {
namespace {

int64_t pages_for(int64_t tokens) { return (tokens + kTokensPerPage - 1) / kTokensPerPage; }

}  // namespace

KVCacheShape cache_shape(const ModelConfig& config, KVDType dtype) {
  return {config.layers, config.kv_heads, config.head_dim, dtype};
}

PagedKVCache::PagedKVCache(int64_t max_tokens, std::shared_ptr<PageStore> store)
    : max_tokens_(max_tokens), store_(std::move(store)) {}

PagedKVCache::Sequence& PagedKVCache::find(SequenceId sequence) {
  return const_cast<Sequence&>(static_cast<const PagedKVCache*>(this)->find(sequence));
}

const PagedKVCache::Sequence& PagedKVCache::find(SequenceId sequence) const {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) {
    throw BatchProcessingError(concat("[cache] sequence ", sequence, " is not open; ", sequences_.size(), " are"));
  }
  return found->second;
}

SequenceId PagedKVCache::create() {
  sequences_.emplace(next_id_, Sequence{});
  return next_id_++;
}

SequenceId PagedKVCache::fork(SequenceId sequence) {
  sequences_.emplace(next_id_, find(sequence));
  return next_id_++;
}

void PagedKVCache::free(SequenceId sequence) { sequences_.erase(sequence); }

int64_t PagedKVCache::length(SequenceId sequence) const { return find(sequence).length; }

void PagedKVCache::append(SequenceId id, int64_t tokens) {
  Sequence& sequence = find(id);
  const int64_t length = sequence.length + tokens;
  if (length > max_tokens_) {
    throw BatchProcessingError(
        concat("[cache] ", sequence.length, " + ", tokens, " tokens do not fit the context of ", max_tokens_));
  }
  std::vector<std::shared_ptr<const Page>> pages = sequence.pages;
  const bool writes_last = sequence.length % kTokensPerPage != 0;
  // One reference is the sequence's, one is `pages`.
  if (writes_last && pages.back().use_count() > 2) {
    auto copy = std::make_shared<const Page>(*store_);
    store_->copy(pages.back()->number, copy->number);
    pages.back() = std::move(copy);
  }
  while (static_cast<int64_t>(pages.size()) < pages_for(length)) {
    pages.push_back(std::make_shared<const Page>(*store_));
  }
  sequence.pages = std::move(pages);
  sequence.length = length;
}

void PagedKVCache::truncate(SequenceId id, int64_t length) {
  Sequence& sequence = find(id);
  if (length < 0 || length > sequence.length) {
    throw BatchProcessingError(
        concat("[cache] cannot truncate a sequence of ", sequence.length, " tokens to ", length));
  }
  sequence.pages.resize(static_cast<size_t>(pages_for(length)));
  sequence.length = length;
}

std::vector<int64_t> PagedKVCache::page_numbers(SequenceId sequence) const {
  std::vector<int64_t> numbers;
  for (const auto& page : find(sequence).pages) numbers.push_back(page->number);
  return numbers;
}

}  // namespace tritium
