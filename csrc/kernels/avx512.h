// What the AVX-512 sets share: avx512_vnni.cpp holds all kernels, avx512_vbmi.cpp only the ternary format below 2 bits.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

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
void gate(const float* gate, const float* up, Activation activation, int64_t count, float* y);
void rope(float* x, const float* cosine, const float* sine, int64_t half);
void attend_page(const AttentionPage& page, AttentionPart* part);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

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
