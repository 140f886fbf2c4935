// What the sets with registers of 32 bytes share: avx2.cpp holds all kernels; avx_vnni.cpp and avx512_vnni_256.cpp only
// products of ternary weights.
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
void gate(const float* gate, const float* up, Activation activation, int64_t count, float* y);
void rope(float* x, const float* cosine, const float* sine, int64_t half);
void attend_page(const AttentionPage& page, AttentionPart* part);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

TRITIUM_INLINE __m256i load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Four columns of one token in every lane.
TRITIUM_INLINE __m256i broadcast_columns(const int8_t* q) {
  int32_t columns;
  memcpy(&columns, q, sizeof columns);
  return _mm256_set1_epi32(columns);
}

}  // namespace tritium::kernels::avx2
