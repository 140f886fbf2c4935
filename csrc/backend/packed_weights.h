// Weights in the form that the CPU kernels read: ternary matrices in panels, norms in float32, dense matrices where
// they lie in their files.
#pragma once

#include <memory>
#include <vector>

#include "backend/packed_cache.h"
#include "backend/ternary_product.h"
#include "base/thread_pool.h"
#include "kernels/kernel_set.h"
#include "memory/memory_pool.h"
#include "model/model.h"

namespace tritium {

struct PackedMatrix {
  const uint8_t* panels = nullptr;  // (groups, panels, format.layout.panel_bytes(group_columns))
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t groups = 1;  // equal parts of the columns with scales of their own
  float scale = 1;
  ScaleDirection direction = ScaleDirection::kMultiply;
  std::vector<float> row_scales;  // (groups, rows), 127 times those stored if they divide; or empty: `scale` is for all
  std::vector<float> bias;        // (rows) or empty

  TernaryMatrix view() const {
    return {.panels = panels,
            .rows = rows,
            .columns = columns,
            .groups = groups,
            .scale = direction == ScaleDirection::kDivide ? 127.0f * scale : scale,
            .direction = direction,
            .row_scales = row_scales.empty() ? nullptr : row_scales.data(),
            .bias = bias.empty() ? nullptr : bias.data()};
  }
};

kernels::Element element_of(DType dtype);

struct DenseMatrix {
  const std::byte* data = nullptr;  // in the mapped file
  kernels::Element element = kernels::Element::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> bias;               // (rows) or empty
  const StoredTensor* tensor = nullptr;  // the model's

  const std::byte* row(int64_t n) const;
};

// Dense matrices are read where the model's files are mapped: the model must outlive its packed weights.
struct PackedWeights {
  const kernels::TernaryFormat* format = nullptr;  // of all ternary matrices
  std::shared_ptr<const void> panels;              // keeps the panels: memory of the pool, or an entry of the cache
  size_t panels_bytes = 0;                         // of all ternary matrices
  bool is_mapped = false;                          // whether the panels are an entry of the cache
  std::vector<PackedMatrix> ternary;               // by the graph's ternary weight id
  std::vector<DenseMatrix> dense;                  // by the graph's dense weight id; vectors have one row
  std::vector<std::vector<float>> vectors;         // by the graph's dense weight id; norm weights, else empty
};

// Bytes that pack_weights allocates for a model, unless they are in the cache.
int64_t packed_bytes(const Model& model, const kernels::TernaryFormat& format);

// Bytes of packed and dense weights that a pass of one token reads, its output row included.
int64_t weight_bytes_per_token(const Model& model, const kernels::TernaryFormat& format);

// Panels of fewer bytes are packed faster than a file is found.
inline constexpr int64_t kSmallestCached = 16'000'000;

// Packs all ternary matrices in the format, in parallel, or takes them from the cache, if there is one; what it did not
// have is kept there. ModelLoadError for codes or masters that cannot be.
// What was packed is needed no more: its pages of mapped files are given back on the way.
std::shared_ptr<const PackedWeights> pack_weights(const Model& model, const kernels::TernaryFormat& format,
                                                  ThreadPool& threads, MemoryPool& pool, PackedCache* cache = nullptr);

}  // namespace tritium
