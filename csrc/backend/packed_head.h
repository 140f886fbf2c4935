// The small copy of an output head: 4 or 8 bits a weight, with what bounds the errors of the logits that it gives.
#pragma once

#include <memory>
#include <vector>

#include "backend/packed_weights.h"
#include "base/thread_pool.h"
#include "kernels/kernel_set.h"
#include "memory/memory_pool.h"
#include "model/model.h"

namespace tritium {

// One stretch of memory: panels (panels, kernels::head_panel_bytes), norms (panels, 16) in float32, and at 8 bits
// residuals (panels, 16) in float32. Sizes and places follow from the first three members.
struct PackedHead {
  int64_t rows = 0;
  int64_t columns = 0;
  int bits = 0;
  std::shared_ptr<const void> owner;  // of the memory: the pool's, or an entry of the cache
  bool is_mapped = false;             // whether it is an entry of the cache
  const uint8_t* memory = nullptr;
  std::vector<float> dither;  // (columns)

  int64_t panels() const { return kernels::panel_count(rows); }
  int64_t padded_rows() const { return panels() * kernels::kPanelRows; }
  int64_t padded_columns() const { return kernels::head_groups(columns) * kernels::kHeadGroup; }
  int64_t panels_bytes() const { return panels() * kernels::head_panel_bytes(columns, bits); }
  int64_t bytes() const { return panels_bytes() + padded_rows() * (bits == 8 ? 8 : 4); }
  const uint8_t* codes() const { return memory; }
  const float* norms() const { return reinterpret_cast<const float*>(codes() + panels_bytes()); }
  const float* residuals() const { return bits == 8 ? norms() + padded_rows() : nullptr; }
};

// Bytes that pack_head allocates, unless they are in the cache.
int64_t packed_head_bytes(const StoredTensor& tensor, int bits);

// Takes the copy of the matrix (rows, columns) from the cache, if there is one and it is large enough to be kept there;
// else reads the matrix once, a small part at a time, so that no page of a mapped file stays resident.
// OptimizationError if it has more than 65536 columns.
std::shared_ptr<const PackedHead> pack_head(const StoredTensor& tensor, int bits, const kernels::KernelSet& kernels,
                                            ThreadPool& threads, MemoryPool& pool, PackedCache* cache = nullptr);

}  // namespace tritium
