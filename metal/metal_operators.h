// The operators of the Metal backend: one function a step kind, that encodes its kernels.
#pragma once

#include <cstdint>
#include <type_traits>

#include "metal/metal_pipelines.h"
#include "metal/metal_weights.h"
#include "plan/execution_plan.h"

namespace tritium {

// Encodes kernels. Without an encoder of Metal's it only makes their pipelines.
class MetalEncoder {
 public:
  MetalEncoder(MetalPipelines& pipelines, MTL::ComputeCommandEncoder* encoder)
      : pipelines_(pipelines), encoder_(encoder) {}

  struct Grid {  // in threadgroups
    int64_t x = 1;
    int64_t y = 1;
    int64_t z = 1;
  };

  // What follows waits for what came before.
  void barrier() {
    if (encoder_) encoder_->memoryBarrier(MTL::BarrierScopeBuffers);
  }

  // Threadgroups of `threads` threads. The arguments, in the order of the kernel's buffers, are views, or values that
  // are copied now. Where the kernel reads nothing a view may be empty; the first one stands in for it, as Metal wants
  // every buffer bound.
  template <class... Arguments>
  void run(const MetalKernel& kernel, Grid grid, int64_t threads, const MetalView& first,
           const Arguments&... arguments) {
    const auto& pipeline = pipelines_.get(kernel, static_cast<uint32_t>(threads));
    if (!encoder_) return;
    encoder_->insertDebugSignpost(pipeline.name.get());
    encoder_->setComputePipelineState(pipeline.state.get());
    bind(first, first, 0);
    NS::UInteger index = 1;
    (bind(arguments, first, index++), ...);
    encoder_->dispatchThreadgroups(size(grid), size({threads}));
  }

 private:
  static MTL::Size size(Grid grid) {
    return {static_cast<NS::UInteger>(grid.x), static_cast<NS::UInteger>(grid.y), static_cast<NS::UInteger>(grid.z)};
  }
  void bind(const MetalView& view, const MetalView& substitute, NS::UInteger index) {
    const MetalView& bound = view.buffer ? view : substitute;
    encoder_->setBuffer(bound.buffer, bound.offset, index);
  }
  template <class Value>
  void bind(const Value& value, const MetalView&, NS::UInteger index) {
    static_assert(std::is_trivially_copyable_v<Value>);
    encoder_->setBytes(&value, sizeof value, index);
  }

  MetalPipelines& pipelines_;
  MTL::ComputeCommandEncoder* encoder_;
};

// Sequences with a single token come first in a pass: their attention is split by pages.
struct MetalRows {
  int64_t tokens = 0;   // or samples of a network
  int64_t outputs = 0;  // rows whose result is wanted
  int64_t single = 0;   // tokens that are alone in their sequence
  int64_t tiles = 0;    // of the other tokens
  int64_t pages = 0;    // of the longest sequence with a single token
};

// Everything that the steps of one pass read and write.
struct MetalPass {
  const ExecutionPlan& plan;
  const MetalWeights& weights;
  const std::vector<MetalRope>& ropes;
  bool has_matrices;  // whether the device multiplies matrices of a simdgroup
  MetalRows rows;
  MetalView arena;
  MetalView scratch;      // metal_scratch_bytes
  MetalView input = {};   // of a network
  MetalView output = {};  // (outputs, width of the plan's output)

  MetalView token_ids = {};    // int32 (tokens)
  MetalView positions = {};    // uint32 (tokens)
  MetalView sequences = {};    // uint32 (tokens), rows of the page table
  MetalView page_table = {};   // uint32 (sequences, max_pages)
  MetalView tiles = {};        // AttentionTile (tiles)
  MetalView output_rows = {};  // int32 (outputs)
  MetalView kv_pages = {};
  int64_t max_pages = 0;
  int64_t kv_page_bytes = 0;

  int64_t count(PlanValueId value) const;
  MetalView view(PlanValueId value) const;
};

// Tokens of a prompt that a threadgroup of attention takes.
int64_t metal_tile_tokens(const AttentionOp& attention);

// Bytes that attention works in, beside the plan's values.
int64_t metal_scratch_bytes(const ExecutionPlan& plan);

// OptimizationError for a step that the kernels do not take.
void check_metal_step(const ExecutionPlan& plan, const Step& step);

void encode_step(MetalEncoder& encoder, const MetalPass& pass, const Step& step);

// The largest of each row of values (rows, columns) and its id to largest and ids (rows); scratch_bytes of scratch.
void encode_argmax(MetalEncoder& encoder, MetalView values, int64_t rows, int64_t columns, MetalView largest,
                   MetalView ids, MetalView scratch);
int64_t metal_argmax_scratch_bytes(int64_t rows, int64_t columns);

}  // namespace tritium
