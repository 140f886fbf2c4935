// What the AVX-512 files share. Every file is compiled for its own processors, so that what stands here with a body is
// inlined into each.
#pragma once

#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

namespace tritium::kernels::avx512 {

inline constexpr int kWidth = 16;
inline constexpr __mmask16 kAllLanes = 0xFFFF;

// The first n of 16 lanes; all for n >= 16.
TRITIUM_INLINE __mmask16 first_lanes(int64_t n) {
  return n < kWidth ? static_cast<__mmask16>((1u << n) - 1) : kAllLanes;
}

// Calls function(i, lanes) for i = 0, 16, 32, …; lanes are those of i..i + 15 below count.
template <class Function>
TRITIUM_INLINE void for_each_vector(int64_t count, Function function) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) function(i, kAllLanes);
  if (i < count) function(i, first_lanes(count - i));
}

// Lanes not loaded are +0.
TRITIUM_INLINE __m512 load(const float* p, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, p); }
TRITIUM_INLINE void store(float* p, __mmask16 lanes, __m512 x) { _mm512_mask_storeu_ps(p, lanes, x); }

TRITIUM_INLINE __m512 exponential(__m512 x) {
  const __m512 shift = _mm512_set1_ps(12582912.0f);
  const __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(0x1.715476p+0f), shift);
  const __m512 n = _mm512_sub_ps(t, shift);
  const __m512 r =
      _mm512_fmadd_ps(n, _mm512_set1_ps(0x1.05c610p-29f), _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.62e430p-1f), x));
  __m512 p = _mm512_set1_ps(0x1.6d113cp-10f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.120ba2p-7f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.55551ap-5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5554dcp-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
  __m512 y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
  const __m512 least = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xC2AEAC4Fu)));
  const __m512 most = _mm512_castsi512_ps(_mm512_set1_epi32(0x42B17217));
  const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000));
  y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, least, _CMP_LT_OQ), _mm512_setzero_ps());
  y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, most, _CMP_GT_OQ), infinity);
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

TRITIUM_INLINE float fold_lanes(__m512 lanes) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// attention_avx512.cpp
void narrow(const float* x, int64_t count, uint16_t* y);
void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);
void attend_page_f16(const AttentionPage& page, AttentionPart* parts);
void attend_page_int8(const AttentionPage& page, AttentionPart* parts);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

}  // namespace tritium::kernels::avx512
