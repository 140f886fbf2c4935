// A model's weights on a Metal device: the CPU's panels in "2bit", dense matrices where they lie in their files.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/packed_weights.h"
#include "metal/metal_memory.h"
#include "model/model.h"
#include "plan/execution_plan.h"

namespace tritium {

struct MetalTernary {
  MetalView panels;
  MetalView scales;  // (groups, rows), or (1)
  MetalView bias;    // (rows), or none
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t groups = 1;
  bool row_scales = false;
  bool divides = false;
};

struct MetalDense {
  MetalView data;  // (rows, columns)
  kernels::Element element = kernels::Element::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  MetalView bias;  // (rows), or none
};

// Cosines and sines of the rotary positions with some frequencies.
struct MetalRope {
  std::vector<float> frequencies;
  MetalView cosines;  // (positions, pairs)
  MetalView sines;    // (positions, pairs)
};

struct MetalWeights {
  // What the views below lead to; memory of the host under bound buffers goes last.
  std::vector<std::shared_ptr<const void>> host_memory;
  std::vector<NS::SharedPtr<MTL::Buffer>> bound;
  std::vector<MemoryPool::Buffer> buffers;

  std::vector<MetalTernary> ternary;  // by the graph's ternary weight id
  std::vector<MetalDense> dense;      // by the graph's dense weight id
  std::vector<MetalView> vectors;     // by the graph's dense weight id; norm weights in float32
};

// Bytes that a model takes beside its mapped files: packed weights, and dense matrices that cannot be read where they
// lie.
int64_t metal_weight_bytes(const Model& model, const kernels::TernaryFormat& format, const MetalMemory& memory);

// Makes packed weights readable for the device: where they lie if that can be, else in memory of its own.
std::shared_ptr<const MetalWeights> place_weights(const PackedWeights& packed, const Model& model, MetalMemory& memory);

// The tables of all rotary positions in a plan.
struct MetalRopes {
  std::vector<MetalRope> tables;
  MemoryPool::Buffer memory;
};
MetalRopes place_ropes(const ExecutionPlan& plan, MetalMemory& memory);

}  // namespace tritium
