// Four times four 8-bit products added to 32 bits in one instruction: sdot.
#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/multiply_peak.h"

namespace tritium::kernels {

extern const MultiplyPeak kNeonDotprodPeak;

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
    for (int i = 0; i < kChains; ++i) sums[i] = vdotq_s32(sums[i], w, x);
  }
  int32_t total = 0;
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) total += vaddvq_s32(sums[i]);
  return total;
}

}  // namespace

const MultiplyPeak kNeonDotprodPeak = {"neon_dotprod", kChains * 16, run};

}  // namespace tritium::kernels
