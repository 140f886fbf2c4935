// A ternary matrix times many quantised rows. Weights and codes become halves, which hold them exactly, and 8x8
// matrices of the simdgroup multiply them; float sums of up to kMaxGemmColumns such products are exact integers.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"
#include "ternary.h"

using namespace tritium;

namespace tritium {

METAL_FUNC void store_weights(threadgroup half4* to, uint word) {
  for (uint j = 0; j < 4; ++j) {
    const half2 zero = half2(half(code_bias(j) + 1));
    const half2 even = biased_codes(word, j) - zero;
    const half2 odd = biased_codes(word >> 8, j) - zero;
    to[j] = half4(even.x, odd.x, even.y, odd.y);
  }
}

}  // namespace tritium

// A threadgroup is kGemmSimdgroups simdgroups and computes 8 * TILES tokens of as many panels; a simdgroup has a panel.
template <int TILES>
kernel void ternary_gemm(device const uint* panels        [[buffer(0)]],  // (groups, panels, group_columns / 16, 16)
                         device const char4* q            [[buffer(1)]],  // (tokens, groups * group_columns / 4)
                         device const float* absmax       [[buffer(2)]],  // (tokens)
                         device const float* scales       [[buffer(3)]],  // (groups, rows) or (1)
                         device const float* bias         [[buffer(4)]],  // (rows) if HAS_BIAS
                         device const float* residual     [[buffer(5)]],  // (tokens, rows) if HAS_RESIDUAL; may be y
                         device float* y                  [[buffer(6)]],  // (tokens, rows)
                         constant TernaryArguments& shape [[buffer(7)]],
                         uint2 place                      [[threadgroup_position_in_grid]],  // (panels / 4, token tile)
                         uint id                          [[thread_index_in_threadgroup]],
                         uint simdgroup                   [[simdgroup_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(half4, weights, kGemmRows * kGemmRowFours);
  THREADGROUP_ARRAY(half4, codes, 8 * TILES * kGemmRowFours);
  THREADGROUP_ARRAY(float, sums, 8 * TILES * kGemmSumStride);
  const uint threads = 32 * kGemmSimdgroups;
  const uint steps = shape.group_columns / kStepColumns;
  const uint panel_count = (shape.rows + kPanelRows - 1) / kPanelRows;
  const uint first_row = place.x * kGemmRows;
  const uint first_token = place.y * 8 * TILES;
  // Of the weights that this thread unpacks: one word every two steps.
  const uint row = id % kGemmRows;
  const uint panel = first_row / kPanelRows + row / kPanelRows;

  float outputs[8 * TILES * kGemmRows / (32 * kGemmSimdgroups)] = {};
  for (uint group = 0; group < shape.groups; ++group) {
    simdgroup_float8x8 products[TILES][2];
    for (int tile = 0; tile < TILES; ++tile) {
      for (int part = 0; part < 2; ++part) {
        products[tile][part] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      }
    }
    for (uint first = 0; first < steps; first += 2) {
      const uint step = first + id / kGemmRows;
      uint word = 0x55555555u;  // of weights 0
      if (panel < panel_count && step < steps) {
        word = panels[((ulong(group) * panel_count + panel) * steps + step) * kPanelRows + row % kPanelRows];
      }
      store_weights(weights + row * kGemmRowFours + id / kGemmRows * 4, word);
      for (uint i = id; i < 8 * TILES * 8; i += threads) {
        const uint token = first_token + i / 8;
        const uint column = first * 4 + i % 8;  // in fours
        char4 four = char4(0);
        if (token < shape.tokens && column < steps * 4) four = q[(token * shape.groups + group) * steps * 4 + column];
        codes[i / 8 * kGemmRowFours + i % 8] = half4(four);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint k = 0; k < 4; ++k) {
        simdgroup_half8x8 panel_half[2];
        for (uint part = 0; part < 2; ++part) {
          const uint from = (simdgroup * kPanelRows + 8 * part) * kGemmRowFours + 2 * k;
          simdgroup_load(panel_half[part], (threadgroup const half*)(weights + from), 4 * kGemmRowFours, ulong2(0),
                         true);
        }
        for (int tile = 0; tile < TILES; ++tile) {
          simdgroup_half8x8 tokens;
          const uint from = 8 * tile * kGemmRowFours + 2 * k;
          simdgroup_load(tokens, (threadgroup const half*)(codes + from), 4 * kGemmRowFours);
          for (uint part = 0; part < 2; ++part) {
            simdgroup_multiply_accumulate(products[tile][part], tokens, panel_half[part], products[tile][part]);
          }
        }
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int tile = 0; tile < TILES; ++tile) {
      for (uint part = 0; part < 2; ++part) {
        const uint to = 8 * tile * kGemmSumStride + simdgroup * kPanelRows + 8 * part;
        simdgroup_store(products[tile][part], sums + to, kGemmSumStride);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = 0; i < 8 * TILES * kGemmRows / threads; ++i) {
      const uint token = first_token + (i * threads + id) / kGemmRows;
      const uint output_row = first_row + (i * threads + id) % kGemmRows;
      if (token >= shape.tokens || output_row >= shape.rows) continue;
      const int sum = int(sums[(i * threads + id) / kGemmRows * kGemmSumStride + (i * threads + id) % kGemmRows]);
      outputs[i] = add_group(outputs[i], sum, group, output_row, absmax[token], scales, bias, shape);
      if (group + 1 < shape.groups) continue;
      const uint at = token * shape.rows + output_row;
      y[at] = finish_output(outputs[i], HAS_RESIDUAL ? residual[at] : 0.0f);
    }
  }
}

template HOST_NAME("ternary_gemm_8") kernel decltype(ternary_gemm<1>) ternary_gemm<1>;
template HOST_NAME("ternary_gemm_32") kernel decltype(ternary_gemm<4>) ternary_gemm<4>;
