// Products of a dense matrix as it lies in its model file, such as the head of a language model.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"
#include "elements.h"

using namespace tritium;

FUNCTION_CONSTANT(bool, HAS_DENSE_BIAS, 4);

// y = x · weightsᵀ + bias for TOKENS tokens at a time. Four lanes have a row and hold its 16 partial sums, so that a
// simdgroup has 8 rows and a load takes four elements.
template <typename T, int TOKENS>
kernel void dense_matmul(device const T* weights        [[buffer(0)]],  // (rows, columns)
                         device const float* x          [[buffer(1)]],  // (tokens, columns)
                         device const float* bias       [[buffer(2)]],  // (rows) if HAS_DENSE_BIAS
                         device float* y                [[buffer(3)]],  // (tokens, rows)
                         constant DenseArguments& shape [[buffer(4)]],
                         uint2 place                    [[threadgroup_position_in_grid]],  // (rows, tokens)
                         uint id                        [[thread_index_in_threadgroup]],
                         uint simdgroups                [[simdgroups_per_threadgroup]]) {
  const uint columns = shape.columns;
  const uint row = place.x * 8 * simdgroups + id / 4;
  const uint quarter = id % 4;
  const uint first_token = place.y * TOKENS;
  // Lanes without a row or a token compute those of the last, so that all reach the sum.
  weights += ulong(min(row, shape.rows - 1)) * columns;
  device const float* inputs[TOKENS];
  float4 sums[TOKENS];
  for (int t = 0; t < TOKENS; ++t) {
    inputs[t] = x + min(first_token + t, shape.tokens - 1) * columns;
    sums[t] = float4(0.0f);
  }
  uint k = 4 * quarter;
  if (columns % 4 == 0) {
    for (; k < columns; k += 16) {
      const float4 w = load_four(weights + k);
      for (int t = 0; t < TOKENS; ++t) sums[t] = fma(w, load_four(inputs[t] + k), sums[t]);
    }
  } else {
    for (; k < columns; k += 16) {
      for (uint i = 0; i < 4 && k + i < columns; ++i) {
        const float w = widen(weights[k + i]);
        for (int t = 0; t < TOKENS; ++t) sums[t][i] = fma(w, inputs[t][k + i], sums[t][i]);
      }
    }
  }
  for (int t = 0; t < TOKENS; ++t) {
    const float sum = fold_lanes(sums[t]);
    if (quarter != 0 || row >= shape.rows || first_token + t >= shape.tokens) continue;
    y[(first_token + t) * shape.rows + row] = HAS_DENSE_BIAS ? sum + bias[row] : sum;
  }
}

template HOST_NAME("dense_matmul_f32") kernel decltype(dense_matmul<float, 1>) dense_matmul<float, 1>;
template HOST_NAME("dense_matmul_f16") kernel decltype(dense_matmul<half, 1>) dense_matmul<half, 1>;
template HOST_NAME("dense_matmul_bf16") kernel decltype(dense_matmul<ushort, 1>) dense_matmul<ushort, 1>;
template HOST_NAME("dense_matmul_f32_4") kernel decltype(dense_matmul<float, 4>) dense_matmul<float, 4>;
template HOST_NAME("dense_matmul_f16_4") kernel decltype(dense_matmul<half, 4>) dense_matmul<half, 4>;
template HOST_NAME("dense_matmul_bf16_4") kernel decltype(dense_matmul<ushort, 4>) dense_matmul<ushort, 4>;
