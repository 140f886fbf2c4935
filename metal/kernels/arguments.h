// What the kernels are called with, for the kernels and for the host.
#pragma once

#if !defined(__METAL_VERSION__)
#include <stdint.h>
#endif

namespace tritium {
inline namespace metal_arguments {  // apart from the CPU's names

// In the order of csrc/kernels/kernel_set.h.
enum ActivationFunction : int32_t { kIdentity, kRelu, kRelu2, kSilu, kGelu };

// Kernels whose threadgroup is one row of floats.
struct RowArguments {
  uint32_t columns;
  uint32_t padded_columns;  // of a quantised row
  float eps;
};

// One ternary matrix times quantised rows.
struct TernaryArguments {
  uint32_t rows;
  uint32_t tokens;
  uint32_t groups;         // equal parts of the columns with scales of their own
  uint32_t group_columns;  // padded to a multiple of 16, which it is anyway where groups > 1
  uint32_t row_scales;     // whether there is a scale for each row, (groups, rows), or one for all
  uint32_t divides;        // whether sums are multiplied by absmax / scale instead of scale * (absmax / 127)
  uint32_t splits;         // of ternary_gemv: simdgroups that share the columns of a group, 1 to kGemvSimdgroups
};

struct RopeArguments {
  uint32_t rows;
  uint32_t heads;
  uint32_t pairs;  // half of a head
};

// One dense matrix times rows of floats.
struct DenseArguments {
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;
};

struct AttentionArguments {
  uint32_t rows;  // tokens of this pass
  uint32_t heads;
  uint32_t kv_heads;
  uint32_t head_dim;  // a multiple of 4, at most 256
  uint32_t layer;
  uint32_t page_numbers;  // 16-bit numbers of a page, of all layers and heads
  uint32_t max_pages;     // of a sequence: a row of the page table
  float scale;
};

// Tokens of a prompt that stand side by side.
struct AttentionTile {
  uint32_t row;  // the first of them in this pass
  uint32_t tokens;
  uint32_t sequence;
  uint32_t position;  // of the first
};

struct TopKArguments {
  uint32_t columns;
  uint32_t k;
  uint32_t has_ids;  // whether a value's id is given, or is its column
};

enum Sizes : uint32_t {
  kPanelRows = 16,  // of the packed ternary matrices, as in csrc/kernels/kernel_set.h
  kStepColumns = 16,
  kGemvSimdgroups = 4,  // of a threadgroup of ternary_gemv
  kGemmSimdgroups = 4,  // of a threadgroup of ternary_gemm, which takes as many panels
  kGemmRows = kGemmSimdgroups * kPanelRows,
  kGemmRowFours = 10,              // of halves in a row of its tiles: two steps, and room against bank conflicts
  kGemmSumStride = kGemmRows + 4,  // of its sums in floats, with the same room
  kMaxGemmColumns = 1u << 17,      // up to it float sums of ternary_gemm are exact
  kMaxRowSimdgroups = 32,          // of a threadgroup that is a row
  kStagedTerms = 4096,             // of its sum, at a time
  kPageTokens = 64,                // of a KV page, as in csrc/kernels/kernel_set.h
  kTopKChunk = 4096,               // values of a threadgroup of top_k
};

}  // namespace metal_arguments
}  // namespace tritium
