// What the AVX2 files share. Every file is compiled for its own processors, so that what stands here with a body is
// inlined into each.
#pragma once

#include <immintrin.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

namespace tritium::kernels::avx2 {

inline constexpr int kWidth = 8;

// First n of 8 lanes, n in 0..8.
TRITIUM_INLINE __m256i lane_mask(int64_t n) {
  alignas(32) static const int32_t kMask[2 * kWidth] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kWidth - n));
}

TRITIUM_INLINE __m256 exponential(__m256 x) {
  const __m256 shift = _mm256_set1_ps(12582912.0f);
  const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), shift);
  const __m256 n = _mm256_sub_ps(t, shift);
  const __m256 r =
      _mm256_fmadd_ps(n, _mm256_set1_ps(0x1.05c610p-29f), _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.62e430p-1f), x));
  __m256 p = _mm256_set1_ps(0x1.6d113cp-10f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.120ba2p-7f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.55551ap-5f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5554dcp-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  const __m256 least = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xC2AEAC4Fu)));
  const __m256 most = _mm256_castsi256_ps(_mm256_set1_epi32(0x42B17217));
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  y = _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), y);
  y = _mm256_blendv_ps(y, infinity, _mm256_cmp_ps(x, most, _CMP_GT_OQ));
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

// Folds 16 lanes, of which `low` is 0..7 and `high` 8..15.
TRITIUM_INLINE float fold_lanes(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// attention_avx2.cpp
void narrow(const float* x, int64_t count, uint16_t* y);
void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);
void attend_page_f16(const AttentionPage& page, AttentionPart* parts);
void attend_page_int8(const AttentionPage& page, AttentionPart* parts);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

}  // namespace tritium::kernels::avx2
