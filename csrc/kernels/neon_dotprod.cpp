// NEON with dot products of four bytes: a lane is a row of the panel and sums four columns at once.
#include "kernels/neon.h"

namespace tritium::kernels {

extern const KernelSet kNeonDotprodKernels;

namespace neon {

namespace {

// Four columns of one step and of kTokens tokens. |sum of code * q| <= 2^30.
template <int kField, int kTokens>
TRITIUM_INLINE void add_field(uint8x16_t packed, const int8x16_t (&q)[kTokens], int i,
                              int32x4_t (&sum)[kTokens][kStepRegisters]) {
  const int8x16_t w = codes_of<kField>(packed);
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    sum[t][i] = vdotq_laneq_s32(sum[t][i], w, q[t], kField);
    TRITIUM_KEEP(sum[t][i]);
  }
}

template <int kTokens>
void multiply_tile(const TernaryMatmul& problem, int64_t panel, int64_t token) {
  const int64_t columns = problem.columns, rows = problem.panels_used * kPanelRows;
  const uint8_t* codes = problem.panels + panel * columns * kColumnBytes;
  const int8_t* q = problem.q + token * columns;
  int32x4_t sum[kTokens][kStepRegisters];
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) sum[t][i] = vdupq_n_s32(-problem.q_sum[token + t]);
  }
  for (const int8_t* end = q + columns; q < end; q += kStepColumns) {
    int8x16_t x[kTokens];
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) x[t] = vld1q_s8(q + t * columns);
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) {
      const uint8x16_t packed = vld1q_u8(codes + 16 * i);
      add_field<0>(packed, x, i, sum);
      add_field<1>(packed, x, i, sum);
      add_field<2>(packed, x, i, sum);
      add_field<3>(packed, x, i, sum);
    }
    codes += kStepBytes;
  }
  int32_t* acc = problem.acc + token * rows + panel * kPanelRows;
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) vst1q_s32(acc + t * rows + kRegisterRows * i, sum[t][i]);
  }
}

constexpr int kTileTokens = 5;
constexpr TileFunction kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>, multiply_tile<3>, multiply_tile<4>,
                                              multiply_tile<5>};

void ternary_gemm(const TernaryMatmul& problem) {
  if (problem.tokens == 1) return ternary_gemv_dotprod(problem);
  multiply_in_tiles(problem, kTiles);
}

// One token: each field has sums of its own, so that latencies overlap.
void gemv_panel(const uint8_t* codes, int64_t columns, const int8_t* q, int32_t q_sum, int32_t* acc) {
  int32x4_t sum[4][kStepRegisters];
  TRITIUM_UNROLL
  for (int j = 0; j < 4; ++j) {
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) sum[j][i] = vdupq_n_s32(j == 0 ? -q_sum : 0);
  }
  for (const int8_t* end = q + columns; q < end; q += kStepColumns) {
    const int8x16_t x = vld1q_s8(q);
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) {
      const uint8x16_t packed = vld1q_u8(codes + 16 * i);
      sum[0][i] = vdotq_laneq_s32(sum[0][i], codes_of<0>(packed), x, 0);
      sum[1][i] = vdotq_laneq_s32(sum[1][i], codes_of<1>(packed), x, 1);
      sum[2][i] = vdotq_laneq_s32(sum[2][i], codes_of<2>(packed), x, 2);
      sum[3][i] = vdotq_laneq_s32(sum[3][i], codes_of<3>(packed), x, 3);
    }
    codes += kStepBytes;
  }
  TRITIUM_UNROLL
  for (int i = 0; i < kStepRegisters; ++i) {
    const int32x4_t total = vaddq_s32(vaddq_s32(sum[0][i], sum[1][i]), vaddq_s32(sum[2][i], sum[3][i]));
    vst1q_s32(acc + kRegisterRows * i, total);
  }
}

}  // namespace

void ternary_gemv_dotprod(const TernaryMatmul& problem) {
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    gemv_panel(problem.panels + panel * problem.columns * kColumnBytes, problem.columns, problem.q, problem.q_sum[0],
               problem.acc + panel * kPanelRows);
  }
}

}  // namespace neon

const KernelSet kNeonDotprodKernels = neon::kernel_set(
    "neon_dotprod", neon::kDotprodFeatures, neon::ternary_gemv_dotprod, neon::ternary_gemm, head::scan_neon_dotprod);

}  // namespace tritium::kernels
