// The product of quantised rows and a packed ternary matrix on the CPU: exact sums, and what is done to them before
// they are stored.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/kernel_set.h"
#include "model/model_config.h"

namespace tritium {

struct QuantizedRows {
  int8_t* q;       // (rows, stride)
  float* absmax;   // (rows)
  int32_t* sum;    // (rows)
  int64_t stride;  // the width, padded
};

// Elements of a step that take one thread a few microseconds: what it costs to hand a part to another core and to take
// the result back.
inline constexpr int64_t kElementsWorthThreads = 32768;
inline constexpr int64_t kProductsAnElement = 32;  // of ternary weights, that take as long as an element

// A packed matrix, in memory of others.
struct TernaryMatrix {
  const uint8_t* panels;  // (groups, panels, format.layout.panel_bytes(group_columns))
  int64_t rows;
  int64_t columns;
  int64_t groups;  // equal parts of the columns with scales of their own
  float scale;     // 127 times that stored if it divides
  ScaleDirection direction;
  const float* row_scales;  // (groups, rows) in the same way, or null: `scale` is for all
  const float* bias;        // (rows) or null

  int64_t group_columns() const { return columns / groups; }
};

struct TernaryProduct {
  const kernels::KernelSet& kernels;
  const kernels::TernaryFormat& format;  // of the panels
  TernaryMatrix matrix;
  QuantizedRows x;
  int64_t rows;           // of x, at least 1
  const float* residual;  // (rows, matrix.rows) or null
  std::optional<ActivationKind> activation;
  float* y;  // (rows, matrix.rows); may be the residual
};

kernels::Activation activation_of(ActivationKind kind);

// Outputs of panels [begin, end) for all rows. Groups of columns are added up in order, the bias with the first and the
// residual last.
void multiply_panels(const TernaryProduct& product, int64_t begin, int64_t end);

}  // namespace tritium
