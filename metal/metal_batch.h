// The sequences of a batch that live on one device, in one command buffer.
#pragma once

#include <optional>
#include <vector>

#include "backend/batch.h"
#include "metal/metal_kv_cache.h"
#include "metal/metal_model.h"

namespace tritium {

class MetalBatch {
 public:
  // Encodes the pass. `places` are those of the sequences in the batch; the cache has room for them already. What is
  // given must outlive it.
  MetalBatch(const MetalModel& model, const MetalContext& context, size_t device, MetalKVCache& cache,
             const Batch& batch, const std::vector<size_t>& places);

  void submit() { commands_.commit(); }
  // DeviceError, MemoryLimitError.
  void wait();
  // Fills the outputs at its places. Their logits lie in the buffer that is returned; empty if none are wanted.
  MemoryPool::Buffer take_outputs(std::vector<SequenceOutput>& outputs);

 private:
  struct Tables;
  // Bytes from the start of the results.
  struct ResultPlaces {
    size_t largest;
    size_t ids;
    size_t end;
  };

  Tables make_tables();
  ResultPlaces result_places() const;

  const MetalModel& model_;
  MetalPages& pages_;
  const MetalKVCache& cache_;
  const Batch& batch_;
  std::vector<size_t> places_;        // those with a single token first
  std::vector<int64_t> output_rows_;  // the first of each place, of the outputs
  bool wants_argmax_ = false;
  MetalRows rows_;
  int64_t max_pages_ = 0;

  MemoryPool::Buffer arena_;
  MemoryPool::Buffer tables_;
  std::optional<MetalTransfer> results_;  // logits (outputs, vocab), largest (outputs), their ids (outputs)
  MetalCommands commands_;                // waits on destruction, before the buffers go
};

}  // namespace tritium
