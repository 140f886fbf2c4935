// What the NEON sets share: neon.cpp, attention_neon.cpp and rowwise_neon.cpp hold all kernels, neon_dotprod.cpp and
// neon_i8mm.cpp only products of ternary weights. Every file is compiled for its own processors, so that what stands
// here with a body is inlined into each.
#pragma once

#include <arm_neon.h>
#include <string.h>

#include "kernels/compiler.h"
#include "kernels/head.h"
#include "kernels/kernel_set.h"
#include "kernels/rowwise.h"

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
void rope(float* x, const float* cosine, const float* sine, int64_t half);

// attention_neon.cpp
void narrow(const float* x, int64_t count, uint16_t* y);
void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);
void attend_page_f16(const AttentionPage& page, AttentionPart* parts);
void attend_page_int8(const AttentionPage& page, AttentionPart* parts);
void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total);
void finish_attention(const AttentionPart& total, int64_t head_dim, float* y);

// rowwise_neon.cpp
using Rowwise = RowwiseKernels<NeonVectors>;

// neon_dotprod.cpp
void ternary_gemv_dotprod(const TernaryMatmul& problem);

using TernaryProduct = void (*)(const TernaryMatmul& problem);

// A set with products of its own.
consteval KernelSet kernel_set(const char* name, uint32_t features, TernaryProduct gemv, TernaryProduct gemm,
                               void (*scan_head)(const HeadScan& scan)) {
  return {
      name,
      features,
      {{k2BitLayout, pack_panel, gemv, gemm}},
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
      head::pack_neon,
      scan_head,
  };
}

inline constexpr int kWidth = 4;
inline constexpr int kLanes = 16;
inline constexpr int kLaneRegisters = kLanes / kWidth;

// Which lanes of a register are meant: all, or the first 1..3.
struct AllLanes {};
struct FirstLanes {
  int64_t count;
};

// Calls function(i, lanes) for i = 0, 4, 8, …; lanes are those of i..i + 3 below count.
template <class Function>
TRITIUM_INLINE void for_each_vector(int64_t count, Function function) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) function(i, AllLanes{});
  if (i < count) function(i, FirstLanes{count - i});
}

// Lanes not loaded are +0.
TRITIUM_INLINE float32x4_t load(const float* p, AllLanes) { return vld1q_f32(p); }
TRITIUM_INLINE float32x4_t load(const float* p, FirstLanes lanes) {
  float x[kWidth] = {};
  memcpy(x, p, static_cast<size_t>(lanes.count) * sizeof(float));
  return vld1q_f32(x);
}
TRITIUM_INLINE int32x4_t load(const int32_t* p, AllLanes) { return vld1q_s32(p); }
TRITIUM_INLINE int32x4_t load(const int32_t* p, FirstLanes lanes) {
  int32_t x[kWidth] = {};
  memcpy(x, p, static_cast<size_t>(lanes.count) * sizeof(int32_t));
  return vld1q_s32(x);
}
TRITIUM_INLINE uint16x4_t load(const uint16_t* p, AllLanes) { return vld1_u16(p); }
TRITIUM_INLINE uint16x4_t load(const uint16_t* p, FirstLanes lanes) {
  uint16_t x[kWidth] = {};
  memcpy(x, p, static_cast<size_t>(lanes.count) * sizeof(uint16_t));
  return vld1_u16(x);
}
TRITIUM_INLINE void store(float* p, AllLanes, float32x4_t x) { vst1q_f32(p, x); }
TRITIUM_INLINE void store(float* p, FirstLanes lanes, float32x4_t x) {
  float all[kWidth];
  vst1q_f32(all, x);
  memcpy(p, all, static_cast<size_t>(lanes.count) * sizeof(float));
}
TRITIUM_INLINE void store(uint16_t* p, AllLanes, uint16x4_t x) { vst1_u16(p, x); }
TRITIUM_INLINE void store(uint16_t* p, FirstLanes lanes, uint16x4_t x) {
  uint16_t all[kWidth];
  vst1_u16(all, x);
  memcpy(p, all, static_cast<size_t>(lanes.count) * sizeof(uint16_t));
}

// The first n lanes; none for n <= 0, all for n >= 4.
TRITIUM_INLINE uint32x4_t lane_mask(int64_t n) {
  static const uint32_t kMask[2 * kWidth] = {~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0};
  return vld1q_u32(kMask + kWidth - (n < 0 ? 0 : n < kWidth ? n : kWidth));
}

TRITIUM_INLINE float32x4_t float_of(uint32_t bits) { return vreinterpretq_f32_u32(vdupq_n_u32(bits)); }
TRITIUM_INLINE float32x4_t masked(float32x4_t x, uint32x4_t lanes) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), lanes));
}

// a > b ? a : b, so that a NaN in `a` gives b; the instructions for a maximum do something else.
TRITIUM_INLINE float32x4_t greater(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

TRITIUM_INLINE float32x4_t exponential(float32x4_t x) {
  const float32x4_t shift = vdupq_n_f32(12582912.0f);
  const float32x4_t t = vfmaq_f32(shift, x, vdupq_n_f32(0x1.715476p+0f));
  const float32x4_t n = vsubq_f32(t, shift);
  const float32x4_t r = vfmaq_f32(vfmaq_f32(x, n, vdupq_n_f32(-0x1.62e430p-1f)), n, vdupq_n_f32(0x1.05c610p-29f));
  float32x4_t p = vdupq_n_f32(0x1.6d113cp-10f);
  p = vfmaq_f32(vdupq_n_f32(0x1.120ba2p-7f), p, r);
  p = vfmaq_f32(vdupq_n_f32(0x1.55551ap-5f), p, r);
  p = vfmaq_f32(vdupq_n_f32(0x1.5554dcp-3f), p, r);
  p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
  float32x4_t y = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), exponent));
  y = vbslq_f32(vcltq_f32(x, float_of(0xC2AEAC4Fu)), vdupq_n_f32(0.0f), y);
  y = vbslq_f32(vcgtq_f32(x, float_of(0x42B17217u)), float_of(0x7F800000u), y);
  return vbslq_f32(vceqq_f32(x, x), y, x);
}

TRITIUM_INLINE float fold_lanes(const float32x4_t (&lanes)[kLaneRegisters]) {
  const float32x4_t four = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

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
