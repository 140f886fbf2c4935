// The small output head with AVX-512 VNNI. A register is the 16 rows of a panel.
#include <immintrin.h>
#include <string.h>

#include "kernels/head.h"
#include "kernels/pack_head.h"

namespace tritium::kernels::head {

namespace {

constexpr int kStepBytes = 64;

TRITIUM_INLINE __m512i broadcast_columns(const int8_t* q) {
  int32_t columns;
  memcpy(&columns, q, sizeof columns);
  return _mm512_set1_epi32(columns);
}

// Sum of code * q of one group. The high halves of bytes are masked in place, so their products are 16 times as large:
// at most 240 * 128 * 64.
// The codes `ahead` bytes further go to the second-level cache meanwhile.
template <int kBits>
TRITIUM_INLINE __m512i group_sum(const uint8_t* codes, int64_t ahead, const int8_t* high, const int8_t* low) {
  constexpr int kFields = kBits == 4 ? 2 : 1;
  __m512i sum_high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  __m512i sum_low[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  TRITIUM_UNROLL
  for (int step = 0; step < kHeadGroup / (4 * kFields); ++step) {
    const __m512i packed = _mm512_loadu_si512(codes + kStepBytes * step);
    _mm_prefetch(reinterpret_cast<const char*>(codes + kStepBytes * step + ahead), _MM_HINT_T1);
    TRITIUM_UNROLL
    for (int field = 0; field < kFields; ++field) {
      const int column = 4 * (kFields * step + field);
      const int sum = kBits == 4 ? field : step % 2;
      const __m512i code =
          kBits == 4 ? _mm512_and_si512(packed, _mm512_set1_epi8(static_cast<char>(0x0F << (4 * field)))) : packed;
      sum_high[sum] = _mm512_dpbusd_epi32(sum_high[sum], code, broadcast_columns(high + column));
      sum_low[sum] = _mm512_dpbusd_epi32(sum_low[sum], code, broadcast_columns(low + column));
    }
  }
  if (kBits == 4) {
    sum_high[1] = _mm512_srai_epi32(sum_high[1], 4);
    sum_low[1] = _mm512_srai_epi32(sum_low[1], 4);
  }
  const __m512i total_high = _mm512_add_epi32(sum_high[0], sum_high[1]);
  return _mm512_add_epi32(_mm512_slli_epi32(total_high, 8), _mm512_add_epi32(sum_low[0], sum_low[1]));
}

template <int kBits>
TRITIUM_INLINE void scan_panel(const HeadScan& scan, int64_t panel, const HeadRow& x, float* estimates, float* bounds) {
  const int64_t groups = head_groups(scan.columns);
  const int64_t ahead = head_panel_bytes(scan.columns, kBits);  // a panel: what is nearer comes at half the rate
  const uint8_t* scales = scan.panels + panel * ahead;
  const uint8_t* codes = scales + head_scales_bytes(scan.columns);
  const int8_t* high = x.high;
  const int8_t* low = x.low;
  __m512 y = _mm512_setzero_ps(), v = _mm512_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const __m512i sum = _mm512_sub_epi32(group_sum<kBits>(codes, ahead, high, low), _mm512_set1_epi32(x.zeros[group]));
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + group * kPanelRows * 2));
    const __m512 scale = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    y = _mm512_fmadd_ps(scale, _mm512_add_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(x.offsets[group])), y);
    if (kBits == 4) v = _mm512_fmadd_ps(_mm512_mul_ps(scale, scale), _mm512_set1_ps(x.squares[group]), v);
    codes += kHeadGroup * kPanelRows * kBits / 8;
    high += kHeadGroup;
    low += kHeadGroup;
  }
  const __m512 estimate = _mm512_mul_ps(y, _mm512_set1_ps(x.scale));
  _mm512_storeu_ps(estimates, estimate);
  if (!bounds) return;
  const __m512 deviation = kBits == 4 ? _mm512_sqrt_ps(v) : _mm512_loadu_ps(scan.residuals + panel * kPanelRows);
  const __m512 reach = _mm512_fmadd_ps(deviation, _mm512_set1_ps(x.spread), estimate);
  const __m512 norm = _mm512_loadu_ps(scan.norms + panel * kPanelRows);
  _mm512_storeu_ps(bounds, _mm512_fmadd_ps(norm, _mm512_set1_ps(x.slack), reach));
}

template <int kBits>
void scan_panels(const HeadScan& scan) {
  for (int64_t panel = 0; panel < scan.panels_used; ++panel) {
    for (int64_t t = 0; t < scan.tokens; ++t) {
      const int64_t place = t * scan.stride + panel * kPanelRows;
      scan_panel<kBits>(scan, panel, scan.x[t], scan.estimates + place, scan.bounds ? scan.bounds + place : nullptr);
    }
  }
}

}  // namespace

void pack_avx512_vnni(const HeadPack& pack) { pack_head_rows(pack); }

void scan_avx512_vnni(const HeadScan& scan) { scan.bits == 4 ? scan_panels<4>(scan) : scan_panels<8>(scan); }

}  // namespace tritium::kernels::head
