#include "backend/kv_cache.h"

#include <cstring>

#include "base/error.h"

namespace tritium {
namespace {

int64_t pages_for(int64_t tokens) { return (tokens + kTokensPerPage - 1) / kTokensPerPage; }

}  // namespace

KVCache::KVCache(const KVCacheShape& shape, int64_t max_tokens, std::shared_ptr<MemoryPool> pool)
    : shape_(shape), max_tokens_(max_tokens), pool_(std::move(pool)) {}

KVCache::Page KVCache::allocate_page() const {
  const size_t bytes = static_cast<size_t>(shape_.page_bytes());
  auto page = std::make_shared<MemoryPool::Buffer>(pool_->allocate(bytes, kCacheMemory));
  std::memset(page->data(), 0, bytes);
  return page;
}

KVCache::Sequence& KVCache::find(SequenceId sequence) {
  return const_cast<Sequence&>(static_cast<const KVCache*>(this)->find(sequence));
}

const KVCache::Sequence& KVCache::find(SequenceId sequence) const {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) {
    throw BatchProcessingError(concat("[cache] sequence ", sequence, " is not open; ", sequences_.size(), " are"));
  }
  return found->second;
}

SequenceId KVCache::create() {
  sequences_.emplace(next_id_, Sequence{});
  return next_id_++;
}

SequenceId KVCache::fork(SequenceId sequence) {
  sequences_.emplace(next_id_, find(sequence));
  return next_id_++;
}

void KVCache::free(SequenceId sequence) { sequences_.erase(sequence); }

int64_t KVCache::length(SequenceId sequence) const { return find(sequence).length; }

void KVCache::append(SequenceId id, int64_t tokens) {
  Sequence& sequence = find(id);
  const int64_t length = sequence.length + tokens;
  if (length > max_tokens_) {
    throw BatchProcessingError(
        concat("[cache] ", sequence.length, " + ", tokens, " tokens do not fit the context of ", max_tokens_));
  }
  std::vector<Page> pages = sequence.pages;
  const bool writes_last = sequence.length % kTokensPerPage != 0;
  // One reference is the sequence's, one is `pages`.
  if (writes_last && pages.back().use_count() > 2) {
    Page copy = allocate_page();
    std::memcpy(copy->data(), pages.back()->data(), static_cast<size_t>(shape_.page_bytes()));
    pages.back() = std::move(copy);
  }
  while (static_cast<int64_t>(pages.size()) < pages_for(length)) pages.push_back(allocate_page());
  sequence.pages = std::move(pages);
  sequence.length = length;
}

void KVCache::truncate(SequenceId id, int64_t length) {
  Sequence& sequence = find(id);
  if (length < 0 || length > sequence.length) {
    throw BatchProcessingError(
        concat("[cache] cannot truncate a sequence of ", sequence.length, " tokens to ", length));
  }
  sequence.pages.resize(static_cast<size_t>(pages_for(length)));
  sequence.length = length;
}

std::vector<uint8_t*> KVCache::pages(SequenceId sequence) const {
  std::vector<uint8_t*> pages;
  for (const Page& page : find(sequence).pages) pages.push_back(page->as<uint8_t>());
  return pages;
}

}  // namespace tritium
