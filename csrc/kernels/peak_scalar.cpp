// Integer multiplications and additions as a compiler makes them of plain C++.
#include "kernels/multiply_peak.h"

namespace tritium::kernels {

extern const MultiplyPeak kScalarPeak;

namespace {

constexpr int kChains = 16;

int32_t run(int64_t rounds) {
  const uint32_t factor = static_cast<uint32_t>(rounds) | 1u;  // unknown to the compiler: no shifts instead
  uint32_t sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<uint32_t>(i);
  for (int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + 1u;
  }
  uint32_t total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i];
  return static_cast<int32_t>(total);
}

}  // namespace

const MultiplyPeak kScalarPeak = {"scalar", kChains, run};

}  // namespace tritium::kernels
