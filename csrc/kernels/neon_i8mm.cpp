// NEON with products of 2 x 8 by 8 x 2 bytes: a register of sums is two rows of the panel times two tokens. One token
// alone is multiplied as in neon_dotprod.
#include "kernels/neon.h"

namespace tritium::kernels {

extern const KernelSet kNeonI8mmKernels;

namespace neon {

namespace {

constexpr int kTileTokens = 4;

// Eight columns, 8 * kHalf.., of two rows: dword 2 * r + j is field 2 * kHalf + j of row r.
template <int kHalf>
TRITIUM_INLINE int8x16_t two_rows(uint8x16_t fields) {
  if constexpr (kHalf == 1) fields = vshrq_n_u8(fields, 4);
  return vreinterpretq_s8_u8(vandq_u8(fields, vdupq_n_u8(3)));
}

// The two dwords of each of two rows, the second shifted by one field: first rows 0 and 1, then rows 2 and 3.
TRITIUM_INLINE void pair_fields(uint8x16_t packed, uint8x16_t (&pair)[2]) {
  const uint32x4_t even = vreinterpretq_u32_u8(packed), odd = vreinterpretq_u32_u8(vshrq_n_u8(packed, 2));
  pair[0] = vreinterpretq_u8_u32(vzip1q_u32(even, odd));
  pair[1] = vreinterpretq_u8_u32(vzip2q_u32(even, odd));
}

template <int kHalf, int kPairs>
TRITIUM_INLINE void add_half(const uint8x16_t (&fields)[2], const int8x16_t (&q)[kPairs][2], int i,
                             int32x4_t (&sum)[kPairs][kStepRegisters][2]) {
  TRITIUM_UNROLL
  for (int r = 0; r < 2; ++r) {
    const int8x16_t w = two_rows<kHalf>(fields[r]);
    TRITIUM_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      sum[p][i][r] = vmmlaq_s32(sum[p][i][r], w, q[p][kHalf]);
      TRITIUM_KEEP(sum[p][i][r]);
    }
  }
}

// An odd last token stands in for the absent one beside it.
template <int kTokens>
void multiply_tile(const TernaryMatmul& problem, int64_t panel, int64_t token) {
  constexpr int kPairs = (kTokens + 1) / 2;
  const int64_t columns = problem.columns, rows = problem.panels_used * kPanelRows;
  const uint8_t* codes = problem.panels + panel * columns * kColumnBytes;
  const int8_t* q = problem.q + token * columns;
  int32x4_t sum[kPairs][kStepRegisters][2];
  TRITIUM_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) sum[p][i][0] = sum[p][i][1] = vdupq_n_s32(0);
  }
  for (const int8_t* end = q + columns; q < end; q += kStepColumns) {
    int8x16_t x[kPairs][2];
    TRITIUM_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      const int64_t second = 2 * p + 1 < kTokens ? 2 * p + 1 : 2 * p;
      const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(q + 2 * p * columns));
      const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(q + second * columns));
      x[p][0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
      x[p][1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) {
      uint8x16_t fields[2];
      pair_fields(vld1q_u8(codes + 16 * i), fields);
      add_half<0>(fields, x, i, sum);
      add_half<1>(fields, x, i, sum);
    }
    codes += kStepBytes;
  }
  int32_t* acc = problem.acc + token * rows + panel * kPanelRows;
  TRITIUM_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) {
      const int32x4_t first = vuzp1q_s32(sum[p][i][0], sum[p][i][1]);
      const int32x4_t second = vuzp2q_s32(sum[p][i][0], sum[p][i][1]);
      int32_t* out = acc + 2 * p * rows + kRegisterRows * i;
      vst1q_s32(out, vsubq_s32(first, vdupq_n_s32(problem.q_sum[token + 2 * p])));
      if (2 * p + 1 < kTokens) {
        vst1q_s32(out + rows, vsubq_s32(second, vdupq_n_s32(problem.q_sum[token + 2 * p + 1])));
      }
    }
  }
}

constexpr TileFunction kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>, multiply_tile<3>, multiply_tile<4>};

void ternary_gemm(const TernaryMatmul& problem) {
  if (problem.tokens == 1) return ternary_gemv_dotprod(problem);
  multiply_in_tiles<kTileTokens, 2>(problem, kTiles);
}

}  // namespace

}  // namespace neon

const KernelSet kNeonI8mmKernels = neon::kernel_set("neon_i8mm", neon::kI8mmFeatures, neon::ternary_gemv_dotprod,
                                                    neon::ternary_gemm, head::scan_neon_dotprod);

}  // namespace tritium::kernels
