// Four 8-bit products added to 32 bits in one instruction: vpdpbusd.
#include <immintrin.h>

#include "kernels/multiply_peak.h"

namespace tritium::kernels {

extern const MultiplyPeak kAvx512VnniPeak;
extern const MultiplyPeak kAvx512VbmiPeak;

namespace {

constexpr int kChains = 16;

// Each chain begins otherwise, so that none can be computed once for all.
int32_t run(int64_t rounds) {
  const __m512i w = _mm512_set1_epi8(2), x = _mm512_set1_epi8(3);
  const auto start = static_cast<int>(rounds);
  __m512i a = _mm512_set1_epi32(start + 0);
  __m512i b = _mm512_set1_epi32(start + 1);
  __m512i c = _mm512_set1_epi32(start + 2);
  __m512i d = _mm512_set1_epi32(start + 3);
  __m512i e = _mm512_set1_epi32(start + 4);
  __m512i f = _mm512_set1_epi32(start + 5);
  __m512i g = _mm512_set1_epi32(start + 6);
  __m512i h = _mm512_set1_epi32(start + 7);
  __m512i i = _mm512_set1_epi32(start + 8);
  __m512i j = _mm512_set1_epi32(start + 9);
  __m512i k = _mm512_set1_epi32(start + 10);
  __m512i l = _mm512_set1_epi32(start + 11);
  __m512i m = _mm512_set1_epi32(start + 12);
  __m512i n = _mm512_set1_epi32(start + 13);
  __m512i o = _mm512_set1_epi32(start + 14);
  __m512i p = _mm512_set1_epi32(start + 15);
  for (int64_t round = 0; round < rounds; ++round) {
    a = _mm512_dpbusd_epi32(a, w, x);
    b = _mm512_dpbusd_epi32(b, w, x);
    c = _mm512_dpbusd_epi32(c, w, x);
    d = _mm512_dpbusd_epi32(d, w, x);
    e = _mm512_dpbusd_epi32(e, w, x);
    f = _mm512_dpbusd_epi32(f, w, x);
    g = _mm512_dpbusd_epi32(g, w, x);
    h = _mm512_dpbusd_epi32(h, w, x);
    i = _mm512_dpbusd_epi32(i, w, x);
    j = _mm512_dpbusd_epi32(j, w, x);
    k = _mm512_dpbusd_epi32(k, w, x);
    l = _mm512_dpbusd_epi32(l, w, x);
    m = _mm512_dpbusd_epi32(m, w, x);
    n = _mm512_dpbusd_epi32(n, w, x);
    o = _mm512_dpbusd_epi32(o, w, x);
    p = _mm512_dpbusd_epi32(p, w, x);
  }
  a = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
  e = _mm512_add_epi32(_mm512_add_epi32(e, f), _mm512_add_epi32(g, h));
  i = _mm512_add_epi32(_mm512_add_epi32(i, j), _mm512_add_epi32(k, l));
  m = _mm512_add_epi32(_mm512_add_epi32(m, n), _mm512_add_epi32(o, p));
  a = _mm512_add_epi32(_mm512_add_epi32(a, e), _mm512_add_epi32(i, m));
  alignas(64) int32_t sums[16];
  _mm512_store_si512(sums, a);
  return sums[0];
}

}  // namespace

const MultiplyPeak kAvx512VnniPeak = {"avx512_vnni", kChains * 64, run};
const MultiplyPeak kAvx512VbmiPeak = {"avx512_vbmi", kChains * 64, run};

}  // namespace tritium::kernels
