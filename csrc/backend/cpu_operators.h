// The operators of the CPU backend: one function a step kind, over the rows of one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu_attention.h"
#include "backend/output_head.h"
#include "backend/packed_weights.h"
#include "backend/paged_kv_cache.h"
#include "backend/rope_table.h"
#include "backend/ternary_product.h"
#include "base/thread_pool.h"
#include "kernels/kernel_set.h"
#include "model/custom_operator.h"
#include "plan/execution_plan.h"

namespace tritium {

inline constexpr int64_t kDenseProductsAnElement = 8;  // of weights in floats

// A step of a custom operator, with the views that its function gets: data and number of samples are those of a pass.
struct CustomCall {
  const Step* step;
  const CustomOperator* op;
  std::vector<TensorView> inputs;  // (samples, …)
  MutableTensorView output;        // (samples, …)
};

// Step and operators must outlive it. OptimizationError if the operator is not registered.
CustomCall prepare_call(const Step& step, const CustomOp& op, const CustomOperators& operators);

// Everything that the steps of one pass read and write.
struct ForwardPass {
  const ExecutionPlan& plan;
  const PackedWeights& weights;
  const std::vector<RopeTable>& rope_tables;
  const kernels::KernelSet& kernels;
  ThreadPool& threads;  // may be in use by the passes beside this one, if it runs alone
  const KVCacheShape& cache_shape;
  std::byte* arena;
  std::byte* attention_scratch = nullptr;  // attention_scratch_bytes
  float* output = nullptr;                 // (output rows, width of the plan's output)

  // By row fed: its token id and its position in its sequence.
  std::vector<int32_t> token_ids = {};
  std::vector<int64_t> positions = {};
  AttentionTiles attention_tiles = {};
  // Rows whose result is wanted, and what of it.
  std::vector<int64_t> output_rows = {};
  std::vector<OutputRequest> output_requests = {};
  // Of a plan whose head has a small copy.
  const PackedHead* head = nullptr;
  float* head_scratch = nullptr;
  HeadStatistics* head_statistics = nullptr;
  // Of a network instead: its samples (samples, width of the plan's input).
  const float* input = nullptr;
  int64_t samples = 0;
  std::span<CustomCall> custom_calls = {};
  bool alone = false;  // all in the calling thread

  // Calls body(begin, end, thread) for slices of [0, count), by all threads if so many elements are worth it. The
  // caller has set the default floating-point environment.
  template <class Body>
  void parallel_for(int64_t count, int64_t elements, Body&& body) const {
    if (alone || elements < kElementsWorthThreads) {
      if (count > 0) body(0, count, 0);
    } else {
      threads.parallel_for(count, body);
    }
  }

  const RopeTable& rope_table(const std::vector<float>& frequencies) const;
  int64_t rows(PlanValueId value) const;
  float* floats(PlanValueId value) const;  // (rows, width); the plan's input is only read
  QuantizedRows quantized(PlanValueId value) const;
};

void run_step(ForwardPass& pass, const Step& step);

}  // namespace tritium
