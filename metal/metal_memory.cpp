#include "metal/metal_memory.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>

#include "base/error.h"

namespace tritium {
namespace {

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// Metal copies whole words between buffers, so that buffers have them.
size_t whole_words(size_t bytes) { return (bytes + 3) / 4 * 4; }

// Bytes of each of the two buffers of an upload.
constexpr size_t kStagingBytes = size_t{8} << 20;

}  // namespace

// Buffers of one device in one storage mode.
class MetalMemory::Source final : public MemorySource {
 public:
  Source(std::shared_ptr<MetalDevice> device, MTL::ResourceOptions options)
      : device_(std::move(device)), options_(options) {}

  void* allocate(size_t bytes, const MemoryUse& use) override {
    device_->check();
    if (bytes > device_->max_buffer_bytes()) {
      throw MemoryLimitError(concat("[memory] ", use.name, " needs ", bytes, " bytes, a buffer of ", device_->name(),
                                    " has at most ", device_->max_buffer_bytes()));
    }
    const size_t held = device_->get()->currentAllocatedSize(), limit = device_->working_set_bytes();
    if (limit > 0 && bytes > limit - std::min(held, limit)) {
      throw MemoryLimitError(concat("[memory] ", use.name, " needs ", bytes, " bytes, ", limit - std::min(held, limit),
                                    " of ", limit, " are free on ", device_->name()));
    }
    MTL::Buffer* buffer = device_->get()->newBuffer(bytes, options_);
    if (!buffer) {
      throw MemoryLimitError(concat("[memory] ", use.name, " needs ", bytes, " bytes, ", device_->name(),
                                    " has none; it holds ", held, " of ", limit));
    }
    return buffer;
  }

  void free(void* memory, size_t) noexcept override { static_cast<MTL::Buffer*>(memory)->release(); }

 private:
  std::shared_ptr<MetalDevice> device_;
  MTL::ResourceOptions options_;
};

MetalMemory::MetalMemory(std::shared_ptr<MetalDevice> device, std::shared_ptr<MemoryPool> pool)
    : device_(std::move(device)), pool_(std::move(pool)) {
  shared_ = std::make_shared<Source>(device_, MTL::ResourceStorageModeShared);
  own_ = device_->has_unified_memory() ? shared_ : std::make_shared<Source>(device_, MTL::ResourceStorageModePrivate);
}

MemoryPool::Buffer MetalMemory::allocate(size_t bytes, const MemoryUse& use) {
  return pool_->allocate(whole_words(bytes), use, own_);
}

MemoryPool::Buffer MetalMemory::allocate_shared(size_t bytes, const MemoryUse& use) {
  return pool_->allocate(whole_words(bytes), use, shared_);
}

bool MetalMemory::can_bind(const void* begin, size_t bytes) const {
  return device_->has_unified_memory() && bytes > 0 && bytes <= device_->max_buffer_bytes() &&
         reinterpret_cast<uintptr_t>(begin) % page_size() == 0;
}

MetalMemory::Bound MetalMemory::bind(std::span<const std::byte> bytes) const {
  if (!device_->has_unified_memory() || bytes.empty()) return {};
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = address / page_size() * page_size();
  const size_t length = (address + bytes.size() - first + page_size() - 1) / page_size() * page_size();
  if (length > device_->max_buffer_bytes()) return {};
  return {NS::TransferPtr(device_->get()->newBuffer(reinterpret_cast<const void*>(first), length,
                                                    MTL::ResourceStorageModeShared, nullptr)),
          address - first};
}

void MetalMemory::upload(std::span<const std::byte> bytes, MetalView to) {
  if (device_->has_unified_memory()) {
    std::memcpy(to.host<std::byte>(), bytes.data(), bytes.size());
    return;
  }
  struct Slot {
    MemoryPool::Buffer memory;
    std::optional<MetalCommands> copy;
  };
  std::array<Slot, 2> slots;
  const size_t piece = std::min(kStagingBytes, bytes.size());
  size_t turn = 0;
  for (size_t done = 0; done < bytes.size(); ++turn) {
    Slot& slot = slots[turn % slots.size()];
    if (slot.copy) slot.copy->wait();
    if (!slot.memory.data()) slot.memory = allocate_shared(piece, kStagingMemory);
    const size_t count = std::min(piece, bytes.size() - done);
    const MetalView from = view(slot.memory);
    std::memcpy(from.host<std::byte>(), bytes.data() + done, count);
    slot.copy.emplace(*device_, "an upload");
    slot.copy->copy(from.buffer, 0, to.buffer, to.offset + done, whole_words(count));
    slot.copy->commit();
    done += count;
  }
  for (Slot& slot : slots) {
    if (slot.copy) slot.copy->wait();
  }
}

MetalTransfer::MetalTransfer(MetalMemory& memory, size_t bytes, const MemoryUse& use)
    : own_(memory.allocate(bytes, use)) {
  if (!memory.device().has_unified_memory()) staging_ = memory.allocate_shared(bytes, kStagingMemory);
}

void MetalTransfer::to_device(MetalCommands& commands, size_t bytes) const {
  if (staging_.data()) commands.copy(MetalMemory::view(staging_).buffer, 0, view().buffer, 0, bytes);
}

void MetalTransfer::to_host(MetalCommands& commands, size_t bytes) const {
  if (staging_.data()) commands.copy(view().buffer, 0, MetalMemory::view(staging_).buffer, 0, bytes);
}

}  // namespace tritium
