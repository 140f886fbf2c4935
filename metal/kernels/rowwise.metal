// Norms and softmax. A threadgroup is a row; its threads are whole simdgroups.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"
#include "rows.h"

using namespace tritium;

FUNCTION_CONSTANT(bool, HAS_NORM_BIAS, 3);

kernel void rms_norm(device const float* x           [[buffer(0)]],  // (rows, columns)
                     device const float* weight      [[buffer(1)]],  // (columns)
                     device float* y                 [[buffer(2)]],  // (rows, columns); may be x
                     constant RowArguments& row_args [[buffer(3)]],
                     uint row                        [[threadgroup_position_in_grid]],
                     uint id                         [[thread_index_in_threadgroup]],
                     uint threads                    [[threads_per_threadgroup]]) {
  THREADGROUP_ARRAY(float4, terms, kStagedTerms / 4);
  const uint columns = row_args.columns;
  x += row * columns;
  y += row * columns;
  const float squares = sum_over_lanes<true>(x, columns, 0.0f, terms, id, threads);
  const float r = 1.0f / precise::sqrt(squares / float(columns) + row_args.eps);
  for (uint i = id; i < columns; i += threads) y[i] = (x[i] * r) * weight[i];
}

kernel void layer_norm(device const float* x           [[buffer(0)]],  // (rows, columns)
                       device const float* weight      [[buffer(1)]],  // (columns)
                       device const float* bias        [[buffer(2)]],  // (columns) if HAS_NORM_BIAS
                       device float* y                 [[buffer(3)]],  // (rows, columns); may be x
                       constant RowArguments& row_args [[buffer(4)]],
                       uint row                        [[threadgroup_position_in_grid]],
                       uint id                         [[thread_index_in_threadgroup]],
                       uint threads                    [[threads_per_threadgroup]]) {
  THREADGROUP_ARRAY(float4, terms, kStagedTerms / 4);
  const uint columns = row_args.columns;
  x += row * columns;
  y += row * columns;
  const float mean = sum_over_lanes<false>(x, columns, 0.0f, terms, id, threads) / float(columns);
  const float squares = sum_over_lanes<true>(x, columns, mean, terms, id, threads);
  const float r = 1.0f / precise::sqrt(squares / float(columns) + row_args.eps);
  for (uint i = id; i < columns; i += threads) {
    const float value = ((x[i] - mean) * r) * weight[i];
    y[i] = HAS_NORM_BIAS ? value + bias[i] : value;
  }
}

kernel void softmax(device const float* x           [[buffer(0)]],  // (rows, columns)
                    device float* y                 [[buffer(1)]],  // (rows, columns); may be x
                    constant RowArguments& row_args [[buffer(2)]],
                    uint row                        [[threadgroup_position_in_grid]],
                    uint id                         [[thread_index_in_threadgroup]],
                    uint threads                    [[threads_per_threadgroup]]) {
  THREADGROUP_ARRAY(float4, terms, kStagedTerms / 4);
  THREADGROUP_ARRAY(float, maxima, kMaxRowSimdgroups);
  const uint columns = row_args.columns;
  x += row * columns;
  y += row * columns;
  float largest = -INFINITY;
  for (uint i = id; i < columns; i += threads) largest = x[i] > largest ? x[i] : largest;
  largest = threadgroup_max(largest, maxima, id, threads);
  for (uint i = id; i < columns; i += threads) y[i] = exponential(x[i] - largest);
  threadgroup_barrier(mem_flags::mem_device);
  const float sum = sum_over_lanes<false>(y, columns, 0.0f, terms, id, threads);
  for (uint i = id; i < columns; i += threads) y[i] = y[i] / sum;
}
