// Samples of a network on one device: passes of at most max_tokens, two of them in flight, so that the copies of one
// overlap the kernels of the other.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "metal/metal_model.h"

namespace tritium {

class MetalSamples {
 public:
  // x (samples, inputs) to y (samples, outputs). What is given must outlive it.
  MetalSamples(const MetalModel& model, const MetalContext& context, size_t device, const float* x, int64_t samples,
               float* y);

  // Starts the next pass, after waiting for the one before the last. False if there is none. DeviceError,
  // MemoryLimitError.
  bool advance();
  // Waits for all.
  void finish();

 private:
  struct Slot {
    std::optional<MetalTransfer> input, output;
    std::optional<MetalCommands> commands;  // waits on destruction, before the buffers go
    int64_t first = 0;
    int64_t count = 0;
  };

  void collect(Slot& slot);

  const MetalModel& model_;
  const MetalContext& context_;
  size_t device_;
  const float* x_;
  int64_t samples_;
  float* y_;
  int64_t inputs_;   // floats of a sample
  int64_t outputs_;  // floats of a sample
  int64_t done_ = 0;
  size_t turn_ = 0;
  MemoryPool::Buffer arena_;
  std::array<Slot, 2> slots_;
};

// Bytes of what a MetalSamples allocates beside the arena.
int64_t metal_transfer_bytes(const ExecutionPlan& plan, bool unified_memory);

}  // namespace tritium
