#include "metal/metal_kv_cache.h"

#include <algorithm>

#include "base/error.h"

namespace tritium {
namespace {

constexpr int64_t kFirstPages = 8;

}  // namespace

MetalPages::MetalPages(std::shared_ptr<MetalMemory> memory, int64_t page_bytes, int64_t planned)
    : memory_(std::move(memory)), page_bytes_(page_bytes), planned_(planned) {}

int64_t MetalPages::allocate() {
  if (free_.empty()) grow();
  const int64_t page = free_.back();
  free_.pop_back();
  return page;
}

void MetalPages::grow() {
  const AutoreleaseScope scope;
  const int64_t wanted = std::max(2 * pages_, kFirstPages);
  const int64_t pages = pages_ < planned_ ? std::min(wanted, planned_) : wanted;
  MemoryPool::Buffer larger = memory_->allocate(static_cast<size_t>(pages * page_bytes_), kCacheMemory);
  free_.reserve(static_cast<size_t>(pages));
  held_.reserve(static_cast<size_t>(pages));
  if (pages_ > 0) {
    MetalCommands commands(memory_->device(), "a larger KV cache");
    commands.copy(view().buffer, 0, MetalMemory::view(larger).buffer, 0, static_cast<size_t>(pages_ * page_bytes_));
    commands.commit();
    commands.wait();
  }
  for (int64_t page = pages; page > pages_; --page) free_.push_back(page - 1);
  buffer_ = std::move(larger);
  pages_ = pages;
}

void MetalPages::encode_copies(MetalCommands& commands) const {
  MTL::Buffer* buffer = view().buffer;
  for (const auto& [from, to] : copies_) {
    commands.copy(buffer, static_cast<size_t>(from * page_bytes_), buffer, static_cast<size_t>(to * page_bytes_),
                  static_cast<size_t>(page_bytes_));
  }
}

void MetalPages::copies_are_done() {
  copies_.clear();
  free_.insert(free_.end(), held_.begin(), held_.end());
  held_.clear();
}

bool MetalPages::is_copied(int64_t page) const noexcept {
  return std::ranges::find(copies_, page, &std::pair<int64_t, int64_t>::first) != copies_.end();
}

MetalKVCache::MetalKVCache(int64_t max_tokens, std::vector<std::shared_ptr<MetalPages>> pages,
                           std::vector<double> speeds)
    : max_tokens_(max_tokens) {
  for (size_t i = 0; i < pages.size(); ++i) {
    devices_.push_back({pages[i], PagedKVCache(max_tokens, pages[i]), speeds[i]});
  }
}

SequenceId MetalKVCache::add(size_t device, SequenceId sequence) {
  places_.emplace(next_id_, Place{device, sequence});
  ++devices_[device].sequences;
  return next_id_++;
}

const MetalKVCache::Place& MetalKVCache::find(SequenceId sequence) const {
  const auto found = places_.find(sequence);
  if (found == places_.end()) {
    throw BatchProcessingError(concat("[cache] sequence ", sequence, " is not open; ", places_.size(), " are"));
  }
  return found->second;
}

SequenceId MetalKVCache::create() {
  const auto load = [](const Device& device) { return static_cast<double>(device.sequences + 1) / device.speed; };
  const auto least = std::ranges::min_element(devices_, {}, load);
  return add(static_cast<size_t>(least - devices_.begin()), least->cache.create());
}

SequenceId MetalKVCache::fork(SequenceId sequence) {
  const Place place = find(sequence);
  return add(place.device, devices_[place.device].cache.fork(place.sequence));
}

void MetalKVCache::free(SequenceId sequence) {
  const auto found = places_.find(sequence);
  if (found == places_.end()) return;
  Device& device = devices_[found->second.device];
  device.cache.free(found->second.sequence);
  --device.sequences;
  places_.erase(found);
}

int64_t MetalKVCache::length(SequenceId sequence) const {
  const Place& place = find(sequence);
  return devices_[place.device].cache.length(place.sequence);
}

void MetalKVCache::append(SequenceId sequence, int64_t tokens) {
  const Place& place = find(sequence);
  devices_[place.device].cache.append(place.sequence, tokens);
}

void MetalKVCache::truncate(SequenceId sequence, int64_t length) {
  const Place& place = find(sequence);
  devices_[place.device].cache.truncate(place.sequence, length);
}

std::vector<int64_t> MetalKVCache::page_numbers(SequenceId sequence) const {
  const Place& place = find(sequence);
  return devices_[place.device].cache.page_numbers(place.sequence);
}

}  // namespace tritium
