// Attention with AVX2, FMA and F16C: a register is 8 keys or 8 values.
#include "kernels/attention.h"
#include "kernels/avx2.h"

namespace tritium::kernels::avx2 {

namespace {

// 16 bytes, or the first n two-byte elements of them.
TRITIUM_INLINE __m128i load_elements(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
TRITIUM_INLINE __m128i load_elements(const uint8_t* p, int64_t n) {
  alignas(16) uint8_t elements[16] = {};
  memcpy(elements, p, static_cast<size_t>(n) * kElementBytes);
  return load_elements(elements);
}

struct F16 {
  using Sum = __m256;
  using Wide = __m256;
  using Factor = __m256;
  static constexpr int kTokensPerRow = 1;

  TRITIUM_INLINE Wide load(const uint8_t* p) { return _mm256_cvtph_ps(load_elements(p)); }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) { return _mm256_cvtph_ps(load_elements(p, n)); }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    float x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_ps(x);
  }
  TRITIUM_INLINE Sum zero() { return _mm256_setzero_ps(); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) { return _mm256_fmadd_ps(wide, factor, sum); }
  TRITIUM_INLINE __m256 floats(Sum sum) { return sum; }
};

struct Int8 {
  using Sum = __m256i;
  using Wide = __m256i;
  using Factor = __m256i;
  static constexpr int kTokensPerRow = 2;

  TRITIUM_INLINE Wide load(const uint8_t* p) { return _mm256_cvtepi8_epi16(load_elements(p)); }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) { return _mm256_cvtepi8_epi16(load_elements(p, n)); }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
  }
  TRITIUM_INLINE Sum zero() { return _mm256_setzero_si256(); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(wide, factor));
  }
  TRITIUM_INLINE __m256 floats(Sum sum) { return _mm256_cvtepi32_ps(sum); }
};

struct Avx2 {
  using Floats = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kStrip = 2;

  TRITIUM_INLINE Floats zero() { return _mm256_setzero_ps(); }
  TRITIUM_INLINE Floats set1(float x) { return _mm256_set1_ps(x); }
  TRITIUM_INLINE Floats load(const float* p) { return _mm256_loadu_ps(p); }
  TRITIUM_INLINE Floats load(const float* p, int64_t n) { return _mm256_maskload_ps(p, lane_mask(n)); }
  TRITIUM_INLINE void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRITIUM_INLINE void store(float* p, int64_t n, Floats x) { _mm256_maskstore_ps(p, lane_mask(n), x); }
  TRITIUM_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  TRITIUM_INLINE Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  TRITIUM_INLINE Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  TRITIUM_INLINE Floats greater(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  TRITIUM_INLINE Floats first(int64_t n, Floats a, Floats b) {
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(lane_mask(n < 0 ? 0 : n < kWidth ? n : kWidth)));
  }
  TRITIUM_INLINE Floats exponential(Floats x) { return avx2::exponential(x); }
  TRITIUM_INLINE float low(Floats x) { return _mm256_cvtss_f32(x); }
  TRITIUM_INLINE float largest(Floats x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  TRITIUM_INLINE float fold_lanes(const Floats (&lanes)[2]) { return avx2::fold_lanes(lanes[0], lanes[1]); }
  TRITIUM_INLINE void store_codes(int16_t* p, Floats x) {
    const __m256i codes = _mm256_cvtps_epi32(x);
    const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }
  TRITIUM_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
};

// As float16, limited: the second operand of min and max is the result where one is NaN.
TRITIUM_INLINE __m128i narrow_vector(__m256 x) {
  const __m256 below = _mm256_min_ps(_mm256_set1_ps(kLargestF16), x);
  return _mm256_cvtps_ph(_mm256_max_ps(_mm256_set1_ps(-kLargestF16), below), _MM_FROUND_TO_NEAREST_INT);
}

}  // namespace

void narrow(const float* x, int64_t count, uint16_t* y) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), narrow_vector(_mm256_loadu_ps(x + i)));
  }
  if (i == count) return;
  const __m128i last = narrow_vector(_mm256_maskload_ps(x + i, lane_mask(count - i)));
  memcpy(y + i, &last, static_cast<size_t>(count - i) * sizeof(uint16_t));
}

void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
  code_query<Avx2>(q, head_dim, scale, codes, multiplier);
}

void attend_page_f16(const AttentionPage& page, AttentionPart* parts) { attend_page<Avx2, F16>(page, parts); }

void attend_page_int8(const AttentionPage& page, AttentionPart* parts) { attend_page<Avx2, Int8>(page, parts); }

void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
  merge_parts<Avx2>(part, head_dim, total);
}

void finish_attention(const AttentionPart& total, int64_t head_dim, float* y) {
  divide_by_sum<Avx2>(total, head_dim, y);
}

}  // namespace tritium::kernels::avx2
