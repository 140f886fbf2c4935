// Rowwise kernels with NEON: 4 floats a register.
#include "kernels/neon.h"
#include "kernels/rowwise_body.h"

namespace tritium::kernels {

struct NeonVectors {
  using Register = float32x4_t;
  static constexpr int kWidth = 4;

  TRITIUM_INLINE Register load(const float* p, AllOfThem) { return vld1q_f32(p); }
  TRITIUM_INLINE Register load(const float* p, FirstOfThem lanes) {
    return neon::load(p, neon::FirstLanes{lanes.count});
  }
  TRITIUM_INLINE void store(float* p, AllOfThem, Register x) { vst1q_f32(p, x); }
  TRITIUM_INLINE void store(float* p, FirstOfThem lanes, Register x) {
    neon::store(p, neon::FirstLanes{lanes.count}, x);
  }
  TRITIUM_INLINE Register load_integers(const int32_t* p, AllOfThem) { return vcvtq_f32_s32(vld1q_s32(p)); }
  TRITIUM_INLINE Register load_integers(const int32_t* p, FirstOfThem lanes) {
    return vcvtq_f32_s32(neon::load(p, neon::FirstLanes{lanes.count}));
  }

  TRITIUM_INLINE Register set(float x) { return vdupq_n_f32(x); }
  TRITIUM_INLINE Register add(Register a, Register b) { return vaddq_f32(a, b); }
  TRITIUM_INLINE Register sub(Register a, Register b) { return vsubq_f32(a, b); }
  TRITIUM_INLINE Register mul(Register a, Register b) { return vmulq_f32(a, b); }
  TRITIUM_INLINE Register div(Register a, Register b) { return vdivq_f32(a, b); }
  TRITIUM_INLINE Register fma(Register a, Register b, Register c) { return vfmaq_f32(c, a, b); }
  TRITIUM_INLINE Register greater(Register a, Register b) { return neon::greater(a, b); }
  TRITIUM_INLINE Register magnitude(Register x) { return vabsq_f32(x); }
  TRITIUM_INLINE Register negate(Register x) { return vnegq_f32(x); }

  TRITIUM_INLINE uint32x4_t is_greater(Register a, Register b) { return vcgtq_f32(a, b); }
  TRITIUM_INLINE uint32x4_t is_nan(Register x) { return vmvnq_u32(vceqq_f32(x, x)); }
  TRITIUM_INLINE Register select(uint32x4_t mask, Register yes, Register no) { return vbslq_f32(mask, yes, no); }
  TRITIUM_INLINE Register first(Register x, int64_t n, Register other) { return select(neon::lane_mask(n), x, other); }

  TRITIUM_INLINE Register exponential(Register x) { return neon::exponential(x); }
  TRITIUM_INLINE float fold(const Register (&lanes)[4]) { return neon::fold_lanes(lanes); }
  TRITIUM_INLINE float inverse_root(float x) { return vgetq_lane_f32(vdivq_f32(set(1.0f), vsqrtq_f32(set(x))), 0); }
};

template struct RowwiseKernels<NeonVectors>;

}  // namespace tritium::kernels
