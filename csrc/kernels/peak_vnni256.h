// The loop of peak_avx_vnni.cpp and peak_avx512_vnni_256.cpp, from the one function TRITIUM_DPBUSD.
#pragma once

#include "kernels/compiler.h"
#include "kernels/multiply_peak.h"

namespace tritium::kernels {

namespace {

constexpr int kChains = 12;  // with their factors they fit 16 registers

// Each chain begins otherwise, so that none can be computed once for all.
int32_t run(int64_t rounds) {
  const __m256i w = _mm256_set1_epi8(2), x = _mm256_set1_epi8(3);
  __m256i sum[kChains];
  TRITIUM_UNROLL
  for (int i = 0; i < kChains; ++i) sum[i] = _mm256_set1_epi32(static_cast<int>(rounds) + i);
  for (int64_t round = 0; round < rounds; ++round) {
    TRITIUM_UNROLL
    for (int i = 0; i < kChains; ++i) sum[i] = TRITIUM_DPBUSD(sum[i], w, x);
  }
  TRITIUM_UNROLL
  for (int i = 1; i < kChains; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return _mm256_cvtsi256_si32(sum[0]);
}

}  // namespace
}  // namespace tritium::kernels
