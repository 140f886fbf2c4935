// Which kernel multiplies a ternary matrix by some rows and how many threads it and the kernels of rows take, for the
// Metal backend and the extension of MLX.
#pragma once

#include <algorithm>
#include <cstdint>

#include "metal/kernels/arguments.h"

namespace tritium {

// Tokens up to which each reads the ternary matrix by itself, and up to which tiles of 8 tokens do.
inline constexpr int64_t kGemvTokens = 3;
inline constexpr int64_t kSmallGemmTokens = 16;

inline constexpr int64_t kRowThreads = 256;  // of kernels whose threadgroup is a row, at most

inline int64_t parts_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

inline int64_t row_threads(int64_t columns) { return std::min(kRowThreads, parts_of(columns, 32) * 32); }

struct TernaryDispatch {
  const char* kernel;
  int64_t width;  // threadgroups
  int64_t height;
  int64_t simdgroups;  // of a threadgroup
};

// has_matrices: whether the device multiplies matrices of a simdgroup.
inline TernaryDispatch ternary_dispatch(const TernaryArguments& shape, bool has_matrices) {
  const int64_t panels = parts_of(shape.rows, kPanelRows);
  if (shape.tokens <= kGemvTokens || shape.group_columns > kMaxGemmColumns || !has_matrices) {
    return {"ternary_gemv", panels, shape.tokens, kGemvSimdgroups};
  }
  const int64_t width = parts_of(panels, kGemmSimdgroups);
  if (shape.tokens <= kSmallGemmTokens) return {"ternary_gemm_8", width, parts_of(shape.tokens, 8), kGemmSimdgroups};
  return {"ternary_gemm_32", width, parts_of(shape.tokens, 32), kGemmSimdgroups};
}

// Simdgroups of ternary_gemv that share the columns of a group.
inline uint32_t ternary_splits(int64_t groups) {
  return static_cast<uint32_t>(std::max<int64_t>(kGemvSimdgroups / groups, 1));
}

}  // namespace tritium
