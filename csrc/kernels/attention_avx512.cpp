// Attention with AVX-512: a register is 16 keys or 16 values.
#include <string.h>

#include "kernels/attention.h"
#include "kernels/avx512.h"

namespace tritium::kernels::avx512 {

namespace {

struct F16 {
  using Sum = __m512;
  using Wide = __m512;
  using Factor = __m512;
  static constexpr int kTokensPerRow = 1;

  TRITIUM_INLINE Wide load(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
  }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    float x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_ps(x);
  }
  TRITIUM_INLINE Sum zero() { return _mm512_setzero_ps(); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) { return _mm512_fmadd_ps(wide, factor, sum); }
  TRITIUM_INLINE __m512 floats(Sum sum) { return sum; }
};

struct Int8 {
  using Sum = __m512i;
  using Wide = __m512i;
  using Factor = __m512i;
  static constexpr int kTokensPerRow = 2;

  TRITIUM_INLINE Wide load(const uint8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) {
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
  }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
  }
  TRITIUM_INLINE Sum zero() { return _mm512_setzero_si512(); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) { return _mm512_dpwssd_epi32(sum, wide, factor); }
  TRITIUM_INLINE __m512 floats(Sum sum) { return _mm512_cvtepi32_ps(sum); }
};

struct Avx512 {
  using Floats = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kStrip = 4;

  TRITIUM_INLINE Floats zero() { return _mm512_setzero_ps(); }
  TRITIUM_INLINE Floats set1(float x) { return _mm512_set1_ps(x); }
  TRITIUM_INLINE Floats load(const float* p) { return _mm512_loadu_ps(p); }
  TRITIUM_INLINE Floats load(const float* p, int64_t n) { return avx512::load(p, first_lanes(n)); }
  TRITIUM_INLINE void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
  TRITIUM_INLINE void store(float* p, int64_t n, Floats x) { avx512::store(p, first_lanes(n), x); }
  TRITIUM_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  TRITIUM_INLINE Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  TRITIUM_INLINE Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  TRITIUM_INLINE Floats greater(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  TRITIUM_INLINE Floats first(int64_t n, Floats a, Floats b) {
    return _mm512_mask_mov_ps(b, first_lanes(n < 0 ? 0 : n), a);
  }
  TRITIUM_INLINE Floats exponential(Floats x) { return avx512::exponential(x); }
  TRITIUM_INLINE float low(Floats x) { return _mm512_cvtss_f32(x); }
  TRITIUM_INLINE float largest(Floats x) { return _mm512_reduce_max_ps(x); }
  TRITIUM_INLINE float fold_lanes(const Floats (&lanes)[1]) { return avx512::fold_lanes(lanes[0]); }
  TRITIUM_INLINE void store_codes(int16_t* p, Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
  }
  TRITIUM_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
};

}  // namespace

void narrow(const float* x, int64_t count, uint16_t* y) {
  // The second operand of min and max is the result where one is NaN.
  const __m512 most = _mm512_set1_ps(kLargestF16), least = _mm512_set1_ps(-kLargestF16);
  for_each_vector(count, [&](int64_t i, __mmask16 lanes) {
    const __m512 limited = _mm512_max_ps(least, _mm512_min_ps(most, load(x + i, lanes)));
    _mm256_mask_storeu_epi16(y + i, lanes, _mm512_cvtps_ph(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  });
}

void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
  code_query<Avx512>(q, head_dim, scale, codes, multiplier);
}

void attend_page_f16(const AttentionPage& page, AttentionPart* parts) { attend_page<Avx512, F16>(page, parts); }

void attend_page_int8(const AttentionPage& page, AttentionPart* parts) { attend_page<Avx512, Int8>(page, parts); }

void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
  merge_parts<Avx512>(part, head_dim, total);
}

void finish_attention(const AttentionPart& total, int64_t head_dim, float* y) {
  divide_by_sum<Avx512>(total, head_dim, y);
}

}  // namespace tritium::kernels::avx512
