// The small output head with AVX2. A register is 8 rows of a panel. Codes are widened to 16 bits, two columns of a row
// at once, so that no product saturates.
#include <immintrin.h>
#include <string.h>

#include "kernels/head.h"
#include "kernels/pack_head.h"

namespace tritium::kernels::head {

namespace {

constexpr int kWidth = 8;
constexpr int kVectors = kPanelRows / kWidth;
constexpr int kStepBytes = 64;

TRITIUM_INLINE __m256i broadcast_pair(const int16_t* q) {
  int32_t pair;
  memcpy(&pair, q, sizeof pair);
  return _mm256_set1_epi32(pair);
}

// Sum of code * q of one group: at most 255 * 32512 * 128.
// The codes `ahead` bytes further go to the second-level cache meanwhile.
template <int kBits>
TRITIUM_INLINE void group_sum(const uint8_t* codes, int64_t ahead, const int16_t* q, __m256i (&sum)[kVectors]) {
  constexpr int kPairs = 16 / kBits;  // of columns in a register
  const __m256i mask = _mm256_set1_epi16(kBits == 4 ? 0x000F : 0x00FF);
  TRITIUM_UNROLL
  for (int i = 0; i < kVectors; ++i) sum[i] = _mm256_setzero_si256();
  for (int step = 0; step < kHeadGroup / (2 * kPairs); ++step) {
    __m256i packed[kVectors];
    _mm_prefetch(reinterpret_cast<const char*>(codes + kStepBytes * step + ahead), _MM_HINT_T1);
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      packed[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + kStepBytes * step) + i);
    }
    TRITIUM_UNROLL
    for (int pair = 0; pair < kPairs; ++pair) {
      // q has columns 0 2, 1 3, 4 6, 5 7; bits from 0, 4, 8, 12 are columns 0 2, 4 6, 1 3, 5 7.
      const int place = kBits == 4 ? (pair == 1 ? 2 : pair == 2 ? 1 : pair) : pair;
      const __m256i x = broadcast_pair(q + 2 * kPairs * step + 2 * place);
      TRITIUM_UNROLL
      for (int i = 0; i < kVectors; ++i) {
        __m256i code = pair == 0 ? packed[i] : _mm256_srli_epi16(packed[i], kBits * pair);
        if (pair < kPairs - 1) code = _mm256_and_si256(code, mask);
        sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(code, x));
      }
    }
  }
}

template <int kBits>
TRITIUM_INLINE void scan_panel(const HeadScan& scan, int64_t panel, const HeadRow& x, float* estimates, float* bounds) {
  const int64_t groups = head_groups(scan.columns);
  const int64_t ahead = head_panel_bytes(scan.columns, kBits);  // a panel: what is nearer comes at half the rate
  const uint8_t* scales = scan.panels + panel * ahead;
  const uint8_t* codes = scales + head_scales_bytes(scan.columns);
  const int16_t* q = x.q;
  __m256 y[kVectors], v[kVectors];
  TRITIUM_UNROLL
  for (int i = 0; i < kVectors; ++i) y[i] = v[i] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    __m256i sum[kVectors];
    group_sum<kBits>(codes, ahead, q, sum);
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      const __m256 exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum[i], _mm256_set1_epi32(x.zeros[group])));
      const auto* half = reinterpret_cast<const __m128i*>(scales + (group * kPanelRows + kWidth * i) * 2);
      const __m256 scale = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(half)), 16));
      y[i] = _mm256_fmadd_ps(scale, _mm256_add_ps(exact, _mm256_set1_ps(x.offsets[group])), y[i]);
      if (kBits == 4) v[i] = _mm256_fmadd_ps(_mm256_mul_ps(scale, scale), _mm256_set1_ps(x.squares[group]), v[i]);
    }
    codes += kHeadGroup * kPanelRows * kBits / 8;
    q += kHeadGroup;
  }
  TRITIUM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const int64_t row = panel * kPanelRows + kWidth * i;
    const __m256 estimate = _mm256_mul_ps(y[i], _mm256_set1_ps(x.scale));
    _mm256_storeu_ps(estimates + kWidth * i, estimate);
    if (!bounds) continue;
    const __m256 deviation = kBits == 4 ? _mm256_sqrt_ps(v[i]) : _mm256_loadu_ps(scan.residuals + row);
    const __m256 reach = _mm256_fmadd_ps(deviation, _mm256_set1_ps(x.spread), estimate);
    const __m256 norm = _mm256_loadu_ps(scan.norms + row);
    _mm256_storeu_ps(bounds + kWidth * i, _mm256_fmadd_ps(norm, _mm256_set1_ps(x.slack), reach));
  }
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

void pack_avx2(const HeadPack& pack) { pack_head_rows(pack); }

void scan_avx2(const HeadScan& scan) { scan.bits == 4 ? scan_panels<4>(scan) : scan_panels<8>(scan); }

}  // namespace tritium::kernels::head
