// Rows of floats to int8 by their absmax, as they are or after RMSNorm. A threadgroup is a row; its threads are whole
// simdgroups.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"
#include "rows.h"

using namespace tritium;

template <bool NORMALISES>
kernel void quantize(device const float* x           [[buffer(0)]],  // (rows, columns)
                     device const float* weight      [[buffer(1)]],  // (columns) if it normalises
                     device char* q                  [[buffer(2)]],  // (rows, padded_columns), zero beyond columns
                     device float* absmax            [[buffer(3)]],  // (rows)
                     device int* sums                [[buffer(4)]],  // (rows) of q
                     constant RowArguments& row_args [[buffer(5)]],
                     uint row                        [[threadgroup_position_in_grid]],
                     uint id                         [[thread_index_in_threadgroup]],
                     uint threads                    [[threads_per_threadgroup]]) {
  THREADGROUP_ARRAY(float, maxima, kMaxRowSimdgroups);
  THREADGROUP_ARRAY(int, partial_sums, kMaxRowSimdgroups);
  THREADGROUP_ARRAY(float4, terms, NORMALISES ? kStagedTerms / 4 : 1);
  const uint columns = row_args.columns;
  x += row * columns;
  q += row * row_args.padded_columns;

  float r = 1.0f;
  if (NORMALISES) {
    const float squares = sum_over_lanes<true>(x, columns, 0.0f, terms, id, threads);
    r = 1.0f / precise::sqrt(squares / float(columns) + row_args.eps);
  }

  float largest = 1e-5f;
  for (uint k = id; k < columns; k += threads) {
    const float magnitude = fabs(NORMALISES ? (x[k] * r) * weight[k] : x[k]);
    if (magnitude > largest) largest = magnitude;
  }
  largest = threadgroup_max(largest, maxima, id, threads);

  const float scale = (1.0f / largest) * 127.0f;
  int sum = 0;
  for (uint k = id; k < row_args.padded_columns; k += threads) {
    int code = 0;
    if (k < columns) {
      float v = (NORMALISES ? (x[k] * r) * weight[k] : x[k]) * scale;
      v = v > -128.0f ? v : -128.0f;  // also NaN
      v = v < 127.0f ? v : 127.0f;
      code = int(rint(v));
    }
    q[k] = char(code);
    sum += code;
  }
  sum = threadgroup_sum(sum, partial_sums, id, threads);
  if (id == 0) {
    absmax[row] = largest;
    sums[row] = sum;
  }
}

template HOST_NAME("quantize") kernel decltype(quantize<false>) quantize<false>;
template HOST_NAME("norm_quantize") kernel decltype(quantize<true>) quantize<true>;
