// A ternary matrix times a few quantised rows, each of which reads the whole matrix.
//
// A simdgroup takes 8 steps at a time, 512 bytes side by side: a lane loads four words, which are four rows of a step.
// Lanes of one remainder modulo 4 have the same rows and are added at the end.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"
#include "ternary.h"

using namespace tritium;

namespace tritium {

METAL_FUNC float add_products(float sum, uint word, uint j, float4 q) {
  const float2 even = float2(biased_codes(word, j));
  const float2 odd = float2(biased_codes(word >> 8, j));
  return fma(q.w, odd.y, fma(q.z, even.y, fma(q.y, odd.x, fma(q.x, even.x, sum))));
}

// Sums over steps first, first + stride and so on of weight * q, of the rows of this lane. Sums of up to 16 steps are
// integers below 2^24, where floats are exact: 16 * 4 * 128 * (1026 + 258 + 66 + 18).
METAL_FUNC int4 multiply(device const uint4* panel, device const uint4* q, uint first, uint end, uint stride,
                         uint lane) {
  int4 total = int4(0);
  uint step = first;
  while (step < end) {
    float4 sums = float4(0.0f);
    float offset = 0.0f;  // the same sum for weights 0
    for (uint n = 0; n < 16 && step < end; ++n) {
      const uint4 words = panel[4 * step + lane % 4];
      const uint4 codes = q[step];
      for (uint j = 0; j < 4; ++j) {
        const float4 x = float4(as_type<char4>(codes[j]));
        for (uint r = 0; r < 4; ++r) sums[r] = add_products(sums[r], words[r], j, x);
        offset = fma((x.x + x.y) + (x.z + x.w), float(code_bias(j) + 1), offset);
      }
      step += stride;
    }
    total += int4(sums - float4(offset));
  }
  return total;
}

}  // namespace tritium

// A threadgroup is kGemvSimdgroups simdgroups and computes a panel for one token. Its simdgroups share a group of
// columns (`splits` of them), or take a group each.
kernel void ternary_gemv(device const uint4* panels        [[buffer(0)]],  // (groups, panels, group_columns / 16, 4)
                         device const uint4* q             [[buffer(1)]],  // (tokens, groups * group_columns / 16)
                         device const float* absmax        [[buffer(2)]],  // (tokens)
                         device const float* scales        [[buffer(3)]],  // (groups, rows) or (1)
                         device const float* bias          [[buffer(4)]],  // (rows) if HAS_BIAS
                         device const float* residual      [[buffer(5)]],  // (tokens, rows) if HAS_RESIDUAL; may be y
                         device float* y                   [[buffer(6)]],  // (tokens, rows)
                         constant TernaryArguments& shape  [[buffer(7)]],
                         uint2 place                       [[threadgroup_position_in_grid]],  // (panel, token)
                         uint simdgroup                    [[simdgroup_index_in_threadgroup]],
                         uint lane                         [[thread_index_in_simdgroup]]) {
  THREADGROUP_ARRAY(int4, sums, kGemvSimdgroups * kPanelRows / 4);
  const uint steps = shape.group_columns / kStepColumns;
  const uint panel_count = (shape.rows + kPanelRows - 1) / kPanelRows;
  const uint slices = shape.groups * shape.splits;
  const uint row = place.x * kPanelRows + lane;
  const bool writes = simdgroup == 0 && lane < kPanelRows && row < shape.rows;
  q += place.y * shape.groups * steps;

  float output = 0.0f;
  int sum = 0;
  for (uint first = 0; first < slices; first += kGemvSimdgroups) {
    const uint slice = first + simdgroup;
    int4 products = int4(0);
    if (slice < slices) {
      const uint group = slice / shape.splits;
      const ulong panel = ulong(group) * panel_count + place.x;
      products = multiply(panels + panel * steps * 4, q + group * steps, slice % shape.splits * 8 + lane / 4, steps,
                          shape.splits * 8, lane);
    }
    products += simd_shuffle_xor(products, 4);
    products += simd_shuffle_xor(products, 8);
    products += simd_shuffle_xor(products, 16);
    if (lane < 4) sums[simdgroup * 4 + lane] = products;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (writes) {
      for (uint i = 0; i < kGemvSimdgroups && first + i < slices; ++i) {
        sum += ((threadgroup const int*)sums)[i * kPanelRows + lane];
        if ((first + i + 1) % shape.splits != 0) continue;
        const uint group = (first + i) / shape.splits;
        output = add_group(output, sum, group, row, absmax[place.y], scales, bias, shape);
        sum = 0;
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (!writes) return;
  const uint at = place.y * shape.rows + row;
  y[at] = finish_output(output, HAS_RESIDUAL ? residual[at] : 0.0f);
}
