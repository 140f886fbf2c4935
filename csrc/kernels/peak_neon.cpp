// Eight 8-bit products added to 16 bits in one instruction: smlal.
#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/multiply_peak.h"

namespace tritium::kernels {

extern const MultiplyPeak kNeonPeak;

namespace {

constexpr int kChains = 16;

// Each chain begins otherwise, so that none can be computed once for all.
int32_t run(int64_t rounds) {
  const int8x16_t w = vdupq_n_s8(2), x = vdupq_n_s8(3);
  int16x8_t sums[kChains];
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) sums[i] = vdupq_n_s16(static_cast<int16_t>(rounds + i));
  for (int64_t round = 0; round < rounds; ++round) {
    TRITIUM_UNROLL
    for (int i = 0; i < kChains; ++i) sums[i] = vmlal_high_s8(sums[i], w, x);
  }
  int32_t total = 0;
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) total += vaddlvq_s16(sums[i]);
  return total;
}

}  // namespace

const MultiplyPeak kNeonPeak = {"neon", kChains * 8, run};

}  // namespace tritium::kernels
