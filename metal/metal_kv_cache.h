// The KV cache of the Metal backend: a sequence lives on one device, its pages are slots of a buffer there.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backend/paged_kv_cache.h"
#include "metal/metal_memory.h"

namespace tritium {

// Pages of one device. Their numbers go into the page table of the attention kernels.
class MetalPages final : public PageStore {
 public:
  // The buffer grows by doubling up to `planned` pages, and on from there if more are needed.
  MetalPages(std::shared_ptr<MetalMemory> memory, int64_t page_bytes, int64_t planned);

  // What a page holds that is new is not defined; attention reads nothing that was not written.
  int64_t allocate() override;
  void copy(int64_t from, int64_t to) override { copies_.emplace_back(from, to); }
  // A page that is still to be copied stays until it has been.
  void release(int64_t page) noexcept override { (is_copied(page) ? held_ : free_).push_back(page); }

  MetalView view() const { return MetalMemory::view(buffer_); }
  int64_t page_bytes() const { return page_bytes_; }

  // The copies since the last pass; they are encoded again until a pass has succeeded.
  void encode_copies(MetalCommands& commands) const;
  void copies_are_done();

 private:
  void grow();
  bool is_copied(int64_t page) const noexcept;

  std::shared_ptr<MetalMemory> memory_;
  int64_t page_bytes_;
  int64_t planned_;
  MemoryPool::Buffer buffer_;
  int64_t pages_ = 0;  // of the buffer
  // Page numbers; these have room for all.
  std::vector<int64_t> free_;  // the next one last
  std::vector<int64_t> held_;
  std::vector<std::pair<int64_t, int64_t>> copies_;  // from, to
};

class MetalKVCache final : public KVCache {
 public:
  // A new sequence goes to the device that has the fewest for its speed.
  MetalKVCache(int64_t max_tokens, std::vector<std::shared_ptr<MetalPages>> pages, std::vector<double> speeds);

  SequenceId create() override;
  SequenceId fork(SequenceId sequence) override;
  void free(SequenceId sequence) override;
  int64_t length(SequenceId sequence) const override;
  void append(SequenceId sequence, int64_t tokens) override;
  void truncate(SequenceId sequence, int64_t length) override;
  int64_t max_tokens() const override { return max_tokens_; }

  size_t device(SequenceId sequence) const { return find(sequence).device; }
  std::vector<int64_t> page_numbers(SequenceId sequence) const;
  MetalPages& pages(size_t device) const { return *devices_[device].pages; }

 private:
  struct Device {
    std::shared_ptr<MetalPages> pages;
    PagedKVCache cache;
    double speed;
    int64_t sequences = 0;
  };
  struct Place {
    size_t device;
    SequenceId sequence;  // of the device's cache
  };

  SequenceId add(size_t device, SequenceId sequence);
  const Place& find(SequenceId sequence) const;

  int64_t max_tokens_;
  std::vector<Device> devices_;
  std::map<SequenceId, Place> places_;
  SequenceId next_id_ = 0;
};

}  // namespace tritium
