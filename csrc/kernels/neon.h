// What the NEON sets share: neon.cpp holds all kernels, neon_dotprod.cpp and neon_i8mm.cpp only products of ternary
// weights. Every file is compiled for its own processors, so that what stands here with a body is inlined into each.
#pragma once

#include <arm_neon.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

// Ends an expression: without it gcc moves the products of a tile ahead of their sums and spills the accumulators.
#if defined(__GNUC__)
#define TRITIUM_KEEP(vector) __asm__ volatile("" : "+w"(vector))
#else
#define TRITIUM_KEEP(vector) static_cast<void>(vector)
#endif

namespace tritium::kernels::neon {

// CpuFeature bits, written out: kernel files include no header of the processor's features.
inline constexpr uint32_t kBaseFeatures = 0b001 << 8;
inline constexpr uint32_t kDotprodFeatures = 0b011 << 8;
inline constexpr uint32_t kI8mmFeatures = 0b111 << 8;

// A step of a panel is four registers of four rows, its dwords, with four columns of each in one of four fields.
inline constexpr int kRegisterRows = 4;
inline constexpr int kStepRegisters = kPanelRows / kRegisterRows;
inline constexpr int kColumnBytes = kPanelRows / 4;

// neon.cpp
void pack_panel(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel);
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

// neon_dotprod.cpp
void ternary_gemv_dotprod(const TernaryMatmul& problem);

// Codes, 0..2, of columns 4 * kField..4 * kField + 3 of four rows.
template <int kField>
TRITIUM_INLINE int8x16_t codes_of(uint8x16_t packed) {
  if constexpr (kField > 0) packed = vshrq_n_u8(packed, 2 * kField);
  if constexpr (kField < 3) packed = vandq_u8(packed, vdupq_n_u8(3));
  return vreinterpretq_s8_u8(packed);
}

// One panel times 1..kTileTokens tokens from `token`.
using TileFunction = void (*)(const TernaryMatmul& problem, int64_t panel, int64_t token);

// All panels times all tokens; tiles[n - 1] takes n tokens. Tiles have about the same size, in units of kUnit tokens.
template <int kTileTokens, int kUnit = 1>
TRITIUM_INLINE void multiply_in_tiles(const TernaryMatmul& problem, const TileFunction (&tiles)[kTileTokens]) {
  // A block of activations stays in the second-level cache while the panels pass.
  constexpr int64_t kBlockBytes = int64_t{256} << 10;
  int64_t block = kBlockBytes / problem.columns / kTileTokens * kTileTokens;
  if (block < 8 * kTileTokens) block = 8 * kTileTokens;
  for (int64_t first = 0; first < problem.tokens; first += block) {
    const int64_t end = problem.tokens - first < block ? problem.tokens : first + block;
    const int64_t units = (end - first + kUnit - 1) / kUnit;
    const int64_t count = (units * kUnit + kTileTokens - 1) / kTileTokens;
    for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
      int64_t token = first;
      for (int64_t t = 0; t < count; ++t) {
        const int64_t wanted = kUnit * (units / count + (t < units % count ? 1 : 0));
        const int64_t tokens = end - token < wanted ? end - token : wanted;
        tiles[tokens - 1](problem, panel, token);
        token += tokens;
      }
    }
  }
}

}  // namespace tritium::kernels::neon
