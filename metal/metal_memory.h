// Memory of a Metal device: buffers that the MemoryPool counts and reuses, memory of the host that the device reads
// where it lies, and copies to the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "memory/memory_pool.h"
#include "metal/metal_device.h"

namespace tritium {

// Bytes of a buffer from an offset on. Owns nothing.
struct MetalView {
  MTL::Buffer* buffer = nullptr;
  size_t offset = 0;

  MetalView at(size_t bytes) const { return {buffer, offset + bytes}; }
  // Where the host sees them; only of buffers that it shares.
  template <class T>
  T* host() const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(buffer->contents()) + offset);
  }
};

class MetalMemory {
 public:
  MetalMemory(std::shared_ptr<MetalDevice> device, std::shared_ptr<MemoryPool> pool);

  MetalDevice& device() const { return *device_; }

  // The device's own memory. MemoryLimitError names the use, the bytes asked for and the limit.
  MemoryPool::Buffer allocate(size_t bytes, const MemoryUse& use);
  // Memory that host and device share.
  MemoryPool::Buffer allocate_shared(size_t bytes, const MemoryUse& use);
  static MetalView view(const MemoryPool::Buffer& buffer) { return {static_cast<MTL::Buffer*>(buffer.data()), 0}; }

  // Whether the device can read memory of the host that begins there without a copy: it begins with a page.
  bool can_bind(const void* begin, size_t bytes) const;
  // A buffer over whole pages of the host's memory around `bytes`, and where they begin in it; no buffer if the device
  // cannot read them there. The pages must stay while the buffer is in use.
  struct Bound {
    NS::SharedPtr<MTL::Buffer> buffer;
    size_t offset = 0;
  };
  Bound bind(std::span<const std::byte> bytes) const;

  // Copies to the device's own memory, through two shared buffers where the host does not see it: one is filled while
  // the device empties the other. MemoryLimitError, DeviceError.
  void upload(std::span<const std::byte> bytes, MetalView to);

 private:
  class Source;

  std::shared_ptr<MetalDevice> device_;
  std::shared_ptr<MemoryPool> pool_;
  std::shared_ptr<Source> own_;
  std::shared_ptr<Source> shared_;  // the same where memory is unified
};

// A buffer that the host fills or reads around a pass: one piece of memory where it is unified, else two.
class MetalTransfer {
 public:
  MetalTransfer(MetalMemory& memory, size_t bytes, const MemoryUse& use);

  std::byte* host() const { return MetalMemory::view(shared()).host<std::byte>(); }
  MetalView view() const { return MetalMemory::view(own_); }  // for kernels
  void to_device(MetalCommands& commands, size_t bytes) const;
  void to_host(MetalCommands& commands, size_t bytes) const;
  // What holds host()'s bytes.
  MemoryPool::Buffer take_shared() && { return std::move(staging_.data() ? staging_ : own_); }

 private:
  const MemoryPool::Buffer& shared() const { return staging_.data() ? staging_ : own_; }

  MemoryPool::Buffer own_;
  MemoryPool::Buffer staging_;  // where memory is not unified
};

inline constexpr MemoryUse kStagingMemory{"staging"};

}  // namespace tritium
