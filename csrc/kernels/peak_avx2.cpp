// 8-bit products added in pairs to 16 bits, and the sum of these: maddubs and add.
#include <immintrin.h>

#include "kernels/multiply_peak.h"

// One multiply-add of a chain. The compiler must neither compute the product once for all nor move all products ahead
// of their sums: gcc believes that `w` changes each time; elsewhere each chain multiplies its own sum.
#if defined(__GNUC__)
#define TRITIUM_CHAIN(sum)        \
  __asm__ volatile("" : "+x"(w)); \
  sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x))
#else
#define TRITIUM_CHAIN(sum) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(sum, x))
#endif

namespace tritium::kernels {

extern const MultiplyPeak kAvx2Peak;

namespace {

constexpr int kChains = 7;  // with their products they fill the 16 registers

// Each chain begins otherwise, so that none can stand for another.
int32_t run(int64_t rounds) {
  const __m256i x = _mm256_set1_epi8(3);
  [[maybe_unused]] __m256i w = _mm256_set1_epi8(2);
  const auto start = static_cast<char>(rounds);
  __m256i a = _mm256_set1_epi8(static_cast<char>(start + 0));
  __m256i b = _mm256_set1_epi8(static_cast<char>(start + 1));
  __m256i c = _mm256_set1_epi8(static_cast<char>(start + 2));
  __m256i d = _mm256_set1_epi8(static_cast<char>(start + 3));
  __m256i e = _mm256_set1_epi8(static_cast<char>(start + 4));
  __m256i f = _mm256_set1_epi8(static_cast<char>(start + 5));
  __m256i g = _mm256_set1_epi8(static_cast<char>(start + 6));
  for (int64_t round = 0; round < rounds; ++round) {
    TRITIUM_CHAIN(a);
    TRITIUM_CHAIN(b);
    TRITIUM_CHAIN(c);
    TRITIUM_CHAIN(d);
    TRITIUM_CHAIN(e);
    TRITIUM_CHAIN(f);
    TRITIUM_CHAIN(g);
  }
  a = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
  a = _mm256_add_epi16(a, _mm256_add_epi16(e, _mm256_add_epi16(f, g)));
  return _mm256_cvtsi256_si32(a);
}

}  // namespace

const MultiplyPeak kAvx2Peak = {"avx2", kChains * 32, run};

}  // namespace tritium::kernels
