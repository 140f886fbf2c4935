// A Metal device with its queue, and the command buffers that run on it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "metal/metal_cpp.h"

namespace tritium {

class MetalDevice {
 public:
  explicit MetalDevice(NS::SharedPtr<MTL::Device> device);
  MetalDevice(const MetalDevice&) = delete;
  MetalDevice& operator=(const MetalDevice&) = delete;

  MTL::Device* get() const { return device_.get(); }
  MTL::CommandQueue* queue() const { return queue_.get(); }
  const std::string& name() const { return name_; }
  bool has_unified_memory() const { return unified_; }
  bool has_matrices() const { return matrices_; }  // 8x8 of a simdgroup
  size_t max_buffer_bytes() const { return max_buffer_bytes_; }
  size_t working_set_bytes() const { return working_set_bytes_; }  // what it holds at most and stays fast

  // DeviceError once the device is lost.
  void check() const;
  void lose(const std::string& reason) { lost_ = reason; }

 private:
  NS::SharedPtr<MTL::Device> device_;
  NS::SharedPtr<MTL::CommandQueue> queue_;
  std::string name_;
  bool unified_;
  bool matrices_;
  size_t max_buffer_bytes_;
  size_t working_set_bytes_;
  std::string lost_;  // why; empty while it is there
};

// All devices, the system's default first.
std::vector<std::shared_ptr<MetalDevice>> metal_devices();

// A command buffer: kernels and copies in order. Waits on destruction, if it was committed. Needs an AutoreleaseScope
// while something is encoded.
class MetalCommands {
 public:
  // `label` says in errors what it does.
  MetalCommands(MetalDevice& device, std::string label);
  ~MetalCommands();
  MetalCommands(const MetalCommands&) = delete;
  MetalCommands& operator=(const MetalCommands&) = delete;

  // The encoder for kernels, which run side by side up to a barrier.
  MTL::ComputeCommandEncoder* kernels();
  // Offsets and bytes are multiples of 4.
  void copy(const MTL::Buffer* from, size_t from_offset, const MTL::Buffer* to, size_t to_offset, size_t bytes);

  void commit();
  // Until the device has run it. DeviceError, or MemoryLimitError if it had no memory, with what Metal says.
  void wait();
  double seconds() const;  // that the device took

 private:
  void end_encoders();
  [[noreturn]] void fail();
  std::string faulty_kernel(const NS::Error* error) const;

  MetalDevice& device_;
  std::string label_;
  NS::SharedPtr<MTL::CommandBuffer> commands_;
  NS::SharedPtr<MTL::ComputeCommandEncoder> kernels_;
  NS::SharedPtr<MTL::BlitCommandEncoder> copies_;
  bool running_ = false;
};

}  // namespace tritium
