// Attention with NEON: a register is four keys or four values.
#include "kernels/attention.h"
#include "kernels/neon.h"

namespace tritium::kernels::neon {

namespace {

struct F16 {
  using Sum = float32x4_t;
  using Wide = float32x4_t;
  using Factor = float32x4_t;
  static constexpr int kTokensPerRow = 1;

  TRITIUM_INLINE Wide load(const uint8_t* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) {
    uint8_t elements[kWidth * kElementBytes] = {};
    memcpy(elements, p, static_cast<size_t>(n) * kElementBytes);
    return load(elements);
  }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    float x;
    memcpy(&x, p, sizeof x);
    return vdupq_n_f32(x);
  }
  TRITIUM_INLINE Sum zero() { return vdupq_n_f32(0.0f); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) { return vfmaq_f32(sum, wide, factor); }
  TRITIUM_INLINE float32x4_t floats(Sum sum) { return sum; }
};

struct Int8 {
  struct Pair {  // the first and the second code of each element
    int16x4_t first, second;
  };
  using Sum = int32x4_t;
  using Wide = Pair;
  using Factor = Pair;
  static constexpr int kTokensPerRow = 2;

  TRITIUM_INLINE Wide load(const uint8_t* p) {
    const int16x8_t codes = vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)));
    const int16x4_t low = vget_low_s16(codes), high = vget_high_s16(codes);
    return {vuzp1_s16(low, high), vuzp2_s16(low, high)};
  }
  TRITIUM_INLINE Wide load(const uint8_t* p, int64_t n) {
    uint8_t elements[kWidth * kElementBytes] = {};
    memcpy(elements, p, static_cast<size_t>(n) * kElementBytes);
    return load(elements);
  }
  TRITIUM_INLINE Factor factor(const uint8_t* p) {
    int16_t x[2];
    memcpy(x, p, sizeof x);
    return {vdup_n_s16(x[0]), vdup_n_s16(x[1])};
  }
  TRITIUM_INLINE Sum zero() { return vdupq_n_s32(0); }
  TRITIUM_INLINE Sum add(Sum sum, Wide wide, Factor factor) {
    return vmlal_s16(vmlal_s16(sum, wide.first, factor.first), wide.second, factor.second);
  }
  TRITIUM_INLINE float32x4_t floats(Sum sum) { return vcvtq_f32_s32(sum); }
};

struct Neon {
  using Floats = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr int kStrip = 4;

  TRITIUM_INLINE Floats zero() { return vdupq_n_f32(0.0f); }
  TRITIUM_INLINE Floats set1(float x) { return vdupq_n_f32(x); }
  TRITIUM_INLINE Floats load(const float* p) { return vld1q_f32(p); }
  TRITIUM_INLINE Floats load(const float* p, int64_t n) { return neon::load(p, FirstLanes{n}); }
  TRITIUM_INLINE void store(float* p, Floats x) { vst1q_f32(p, x); }
  TRITIUM_INLINE void store(float* p, int64_t n, Floats x) { neon::store(p, FirstLanes{n}, x); }
  TRITIUM_INLINE Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  TRITIUM_INLINE Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  TRITIUM_INLINE Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
  TRITIUM_INLINE Floats greater(Floats a, Floats b) { return neon::greater(a, b); }
  TRITIUM_INLINE Floats first(int64_t n, Floats a, Floats b) { return vbslq_f32(lane_mask(n), a, b); }
  TRITIUM_INLINE Floats exponential(Floats x) { return neon::exponential(x); }
  TRITIUM_INLINE float low(Floats x) { return vgetq_lane_f32(x, 0); }
  TRITIUM_INLINE float largest(Floats x) { return vmaxvq_f32(x); }
  TRITIUM_INLINE float fold_lanes(const Floats (&lanes)[kLaneRegisters]) { return neon::fold_lanes(lanes); }
  TRITIUM_INLINE void store_codes(int16_t* p, Floats x) { vst1_s16(p, vmovn_s32(vcvtnq_s32_f32(x))); }
  TRITIUM_INLINE void prefetch(const uint8_t* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
#else
    static_cast<void>(p);
#endif
  }
};

}  // namespace

void narrow(const float* x, int64_t count, uint16_t* y) {
  const float32x4_t most = vdupq_n_f32(kLargestF16), least = vdupq_n_f32(-kLargestF16);
  for_each_vector(count, [&](int64_t i, auto lanes) {
    float32x4_t v = load(x + i, lanes);  // a comparison with NaN is false and keeps it
    v = vbslq_f32(vcgtq_f32(v, most), most, v);
    v = vbslq_f32(vcltq_f32(v, least), least, v);
    store(y + i, lanes, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  });
}

void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
  code_query<Neon>(q, head_dim, scale, codes, multiplier);
}

void attend_page_f16(const AttentionPage& page, AttentionPart* parts) { attend_page<Neon, F16>(page, parts); }

void attend_page_int8(const AttentionPage& page, AttentionPart* parts) { attend_page<Neon, Int8>(page, parts); }

void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
  merge_parts<Neon>(part, head_dim, total);
}

void finish_attention(const AttentionPart& total, int64_t head_dim, float* y) {
  divide_by_sum<Neon>(total, head_dim, y);
}

}  // namespace tritium::kernels::neon
