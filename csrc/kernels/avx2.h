// What the sets with registers of 32 bytes share: avx2.cpp, attention_avx2.cpp, rowwise_avx2.cpp and head_avx2.cpp hold
// all kernels; avx_vnni.cpp and avx512_vnni_256.cpp only products of ternary weights. Every file is compiled for its
// own processors, so that what stands here with a body is inlined into each.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "kernels/compiler.h"
#include "kernels/head.h"
#include "kernels/kernel_set.h"
#include "kernels/rowwise.h"

// Ends an expression: without it gcc moves the products of a tile ahead of their sums and spills the accumulators.
#if defined(__GNUC__)
#define TRITIUM_KEEP(vector) __asm__ volatile("" : "+v"(vector))
#else
#define TRITIUM_KEEP(vector) static_cast<void>(vector)
#endif

namespace tritium::kernels::avx2 {

// CpuFeature bits, written out: kernel files include no header of the processor's features.
inline constexpr uint32_t kFeatures = 0b111;  // with FMA and F16C

// avx2.cpp
void pack_2bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel);
void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row);
void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y);
void dense_matmul(const DenseMatmul& problem);
void widen(const void* x, Element element, int64_t count, float* y);
void rms_norm(const float* x, const float* weight, int64_t count, float eps, float* y);
void add(const float* x, const float* z, int64_t count, float* y);
void rope(float* x, const float* cosine, const float* sine, int64_t half);

// attention_avx2.cpp
void narrow(const float* x, int64_t count, uint16_t* y);
void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);
void attend_page_f16(const AttentionPage& page, AttentionPart* parts);
void attend_page_int8(const AttentionPage& page, AttentionPart* parts);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

// rowwise_avx2.cpp
using Rowwise = RowwiseKernels<Avx2Vectors>;

// A set with products of its own.
consteval KernelSet kernel_set(const char* name, uint32_t features, const TernaryFormat& format) {
  return {
      name,
      features,
      {format},
      quantize,
      dequantize,
      dense_matmul,
      widen,
      rms_norm,
      add,
      Rowwise::gate,
      rope,
      narrow,
      quantize_query,
      attend_page_f16,
      attend_page_int8,
      merge_attention,
      finish_attention,
      Rowwise::dequantize_rows,
      Rowwise::activate,
      Rowwise::softmax,
      Rowwise::layer_norm,
      head::pack_avx2,
      head::scan_avx2,
  };
}

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

TRITIUM_INLINE __m256i load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Four columns of one token in every lane.
TRITIUM_INLINE __m256i broadcast_columns(const int8_t* q) {
  int32_t columns;
  memcpy(&columns, q, sizeof columns);
  return _mm256_set1_epi32(columns);
}

}  // namespace tritium::kernels::avx2
