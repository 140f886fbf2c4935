// What the AVX-512 sets share: avx512_vnni.cpp, attention_avx512.cpp, rowwise_avx512.cpp and head_avx512_vnni.cpp
// hold all kernels, avx512_vbmi.cpp only the ternary format below 2 bits. Every file is compiled for its own
// processors, so that what stands here with a body is inlined into each.
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

namespace tritium::kernels::avx512 {

// CpuFeature bits, written out: kernel files include no header of the processor's features.
inline constexpr uint32_t kVnniFeatures = 0b11111111;
inline constexpr uint32_t kVbmiFeatures = kVnniFeatures | 1u << 11;

// avx512_vnni.cpp
void pack_2bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel);
void gemv_2bit(const TernaryMatmul& problem);
void gemm_2bit(const TernaryMatmul& problem);
void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row);
void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y);
void dense_matmul(const DenseMatmul& problem);
void widen(const void* x, Element element, int64_t count, float* y);
void rms_norm(const float* x, const float* weight, int64_t count, float eps, float* y);
void add(const float* x, const float* z, int64_t count, float* y);
void rope(float* x, const float* cosine, const float* sine, int64_t half);

// attention_avx512.cpp
void narrow(const float* x, int64_t count, uint16_t* y);
void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);
void attend_page_f16(const AttentionPage& page, AttentionPart* parts);
void attend_page_int8(const AttentionPage& page, AttentionPart* parts);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

// rowwise_avx512.cpp
using Rowwise = RowwiseKernels<Avx512Vectors>;

// A set with or without a second format.
consteval KernelSet kernel_set(const char* name, uint32_t features, const TernaryFormat& second = {}) {
  return {
      name,
      features,
      {{k2BitLayout, pack_2bit, gemv_2bit, gemm_2bit}, second},
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
      head::pack_avx512_vnni,
      head::scan_avx512_vnni,
  };
}

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

// As pack_2bit, of rows that lie `stride` apart.
void pack_columns(const int8_t* trits, int64_t stride, int64_t rows, int64_t columns, uint8_t* panel);

// Some columns of up to kTilePanels panels at 2 bits.
inline constexpr int kTilePanels = 4;
struct PanelTile {
  const uint8_t* codes;
  int64_t panel_stride;  // bytes
  int64_t panels;
  // What will be read after them: for each step and panel a cache line, so many bytes apart.
  const uint8_t* next;
  int64_t next_step;
  int64_t next_panel;
  int64_t columns;  // at most kFieldColumns
  const int8_t* q;  // (tokens, q_stride)
  int64_t q_stride;
  const int32_t* q_sum;  // (tokens) for the first columns; null for later ones, which add to acc
  int32_t* acc;          // (tokens, acc_stride)
  int64_t acc_stride;
};
void multiply_tokens(const PanelTile& tile, int64_t tokens);

// Field j masked in place is 4^j times its code, at most 128. A step adds four products of it with |q| <= 128 to the
// sum of the field, 2^16 at most, so that 2^15 steps reach -2^31 and fit.
inline constexpr int64_t kFieldColumns = (int64_t{1} << 15) * kStepColumns;

// Activations of so many tokens stay in the second-level cache beside the panels of a tile and the next ones.
constexpr int64_t block_tokens(int64_t columns) {
  constexpr int64_t kBlockBytes = int64_t{512} << 10, kLeast = 40;
  return kBlockBytes / columns < kLeast ? kLeast : kBlockBytes / columns;
}

TRITIUM_INLINE __m512i load_bytes(const void* p) { return _mm512_loadu_si512(p); }

TRITIUM_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

// Four columns of one token in every lane.
TRITIUM_INLINE __m512i broadcast_columns(const int8_t* q) {
  int32_t columns;
  memcpy(&columns, q, sizeof columns);
  return _mm512_set1_epi32(columns);
}

template <int kField>
TRITIUM_INLINE __m512i field_in_place(__m512i packed) {
  return _mm512_and_si512(packed, _mm512_set1_epi8(static_cast<char>(0x03 << (2 * kField))));
}

// The sum of field j in place is 4^j times what is wanted.
TRITIUM_INLINE __m512i sum_of_fields(const __m512i (&sum)[4]) {
  return _mm512_add_epi32(_mm512_add_epi32(sum[0], _mm512_srai_epi32(sum[1], 2)),
                          _mm512_add_epi32(_mm512_srai_epi32(sum[2], 4), _mm512_srai_epi32(sum[3], 6)));
}

}  // namespace tritium::kernels::avx512
