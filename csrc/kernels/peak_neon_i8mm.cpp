// Four times eight 8-bit products added to 32 bits in one instruction: smmla.
#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/multiply_peak.h"

namespace tritium::kernels {

extern const MultiplyPeak kNeonI8mmPeak;

namespace {

constexpr int kChains = 16;

// Each chain begins otherwise, so that none can be computed once for all.
int32_t run(int64_t rounds) {
  const int8x16_t w = vdupq_n_s8(2), x = vdupq_n_s8(3);
  int32x4_t sums[kChains];
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) sums[i] = vdupq_n_s32(static_cast<int32_t>(rounds + i));
  for (int64_t round = 0; round < rounds; ++round) {
    TRITIUM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = vmmlaq_s32(sums[i], w, x);
  }
  int32_t total = 0;
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) total += vaddvq_s32(sums[i]);
  return total;
}

}  // namespace

const MultiplyPeak kNeonI8mmPeak = {"neon_i8mm", kChains * 32, run};

}  // namespace tritium::kernels
