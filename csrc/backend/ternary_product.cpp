#include "backend/ternary_product.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "backend/thread_scratch.h"

namespace tritium {
namespace {

// int32 sums of a tile of tokens and panels. A format is decoded, and panels are unpacked, once for its tokens.
constexpr int64_t kTileSums = 8192;
constexpr int64_t kTileTokens = 128;

// Sums of one row, one group of columns and `count` outputs from `first` to floats.
void dequantize(const kernels::KernelSet& kernels, const TernaryMatrix& matrix, int64_t group, const int32_t* sums,
                int64_t first, int64_t count, float absmax, const float* residual, float* y) {
  const float* bias = matrix.bias && group == 0 ? matrix.bias + first : nullptr;
  const bool divides = matrix.direction == ScaleDirection::kDivide;
  if (!matrix.row_scales) {
    const float multiplier = divides ? absmax / matrix.scale : matrix.scale * (absmax / 127.0f);
    return kernels.dequantize(sums, count, multiplier, bias, residual, y);
  }
  const float* scales = matrix.row_scales + group * matrix.rows + first;
  kernels.dequantize_rows(sums, count, {scales, divides ? absmax : absmax / 127.0f, divides}, bias, residual, y);
}

// Rows as a matrix multiplies them: q (groups, rows, stride) and sums (groups, rows), in scratch memory of this thread.
QuantizedRows group_columns(const QuantizedRows& x, int64_t rows, const TernaryMatrix& matrix) {
  if (matrix.groups == 1) return x;
  const int64_t columns = matrix.group_columns(), stride = kernels::padded_columns(columns);
  const int64_t parts = matrix.groups * rows;
  int32_t* sums = reinterpret_cast<int32_t*>(thread_scratch(parts + parts * stride / 4));
  int8_t* q = reinterpret_cast<int8_t*>(sums + parts);
  for (int64_t part = 0; part < parts; ++part) {
    const int8_t* from = x.q + part % rows * x.stride + part / rows * columns;
    int8_t* to = q + part * stride;
    std::memset(std::copy_n(from, columns, to), 0, static_cast<size_t>(stride - columns));
    sums[part] = std::accumulate(from, from + columns, int32_t{0});
  }
  return {q, x.absmax, sums, stride};
}

// What a thread computes a tile of tokens and panels in.
struct MatmulTile {
  alignas(64) int32_t sums[kTileSums];
  alignas(64) float outputs[kTileSums];
};

}  // namespace

void multiply_panels(const TernaryProduct& product, int64_t begin, int64_t end) {
  if (begin == end) return;
  const auto& [kernels, format, matrix, whole, rows, residual, activation, y] = product;
  MatmulTile tile;
  const QuantizedRows x = group_columns(whole, rows, matrix);
  const int64_t tile_tokens = std::min(rows, kTileTokens);
  const int64_t tile_panels = kTileSums / kernels::kPanelRows / tile_tokens / 4 * 4;  // kernels take four at a time
  const auto multiply = rows == 1 ? format.gemv : format.gemm;
  const int64_t panel_bytes = format.layout.panel_bytes(matrix.group_columns());
  const int64_t group_bytes = kernels::panel_count(matrix.rows) * panel_bytes;
  const bool adds_residual_last = residual && matrix.groups > 1;
  for (int64_t panel = begin; panel < end; panel += tile_panels) {
    const int64_t panels = std::min(tile_panels, end - panel);
    const int64_t first = panel * kernels::kPanelRows;
    const int64_t outputs = std::min(panels * kernels::kPanelRows, matrix.rows - first);
    for (int64_t row = 0; row < rows; row += tile_tokens) {
      const int64_t tokens = std::min(tile_tokens, rows - row);
      for (int64_t group = 0; group < matrix.groups; ++group) {
        const uint8_t* weights = matrix.panels + group * group_bytes + panel * panel_bytes;
        const int64_t part = group * rows + row;
        multiply({weights, panels, x.stride, x.q + part * x.stride, x.sum + part, tokens, tile.sums});
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t place = (row + t) * matrix.rows + first;
          float* to = adds_residual_last ? tile.outputs + t * outputs : y + place;
          const float* added = group > 0 ? to : residual && !adds_residual_last ? residual + place : nullptr;
          dequantize(kernels, matrix, group, tile.sums + t * panels * kernels::kPanelRows, first, outputs,
                     x.absmax[row + t], added, to);
        }
      }
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t place = (row + t) * matrix.rows + first;
        if (adds_residual_last) {
          kernels.add(tile.outputs + t * outputs, residual + place, outputs, y + place);
        }
        if (activation) {
          kernels.activate(y + place, activation_of(*activation), outputs, y + place);
        }
      }
    }
  }
}

kernels::Activation activation_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return kernels::Activation::kRelu;
    case ActivationKind::kRelu2:
      return kernels::Activation::kRelu2;
    case ActivationKind::kSilu:
      return kernels::Activation::kSilu;
    case ActivationKind::kGelu:
      return kernels::Activation::kGelu;
  }
  return kernels::Activation::kIdentity;
}

}  // namespace tritium
