// Rowwise kernels with AVX-512: 16 floats a register.
#include "kernels/avx512.h"
#include "kernels/rowwise_body.h"

namespace tritium::kernels {

struct Avx512Vectors {
  using Register = __m512;
  static constexpr int kWidth = 16;

  TRITIUM_INLINE Register load(const float* p, AllOfThem) { return _mm512_loadu_ps(p); }
  TRITIUM_INLINE Register load(const float* p, FirstOfThem lanes) {
    return avx512::load(p, avx512::first_lanes(lanes.count));
  }
  TRITIUM_INLINE void store(float* p, AllOfThem, Register x) { _mm512_storeu_ps(p, x); }
  TRITIUM_INLINE void store(float* p, FirstOfThem lanes, Register x) {
    avx512::store(p, avx512::first_lanes(lanes.count), x);
  }
  TRITIUM_INLINE Register load_integers(const int32_t* p, AllOfThem) {
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
  }
  TRITIUM_INLINE Register load_integers(const int32_t* p, FirstOfThem lanes) {
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(avx512::first_lanes(lanes.count), p));
  }

  TRITIUM_INLINE Register set(float x) { return _mm512_set1_ps(x); }
  TRITIUM_INLINE Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
  TRITIUM_INLINE Register sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  TRITIUM_INLINE Register mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
  TRITIUM_INLINE Register div(Register a, Register b) { return _mm512_div_ps(a, b); }
  TRITIUM_INLINE Register fma(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  TRITIUM_INLINE Register greater(Register a, Register b) { return _mm512_max_ps(a, b); }
  TRITIUM_INLINE Register magnitude(Register x) { return _mm512_abs_ps(x); }
  TRITIUM_INLINE Register negate(Register x) { return _mm512_xor_ps(set(-0.0f), x); }

  TRITIUM_INLINE __mmask16 is_greater(Register a, Register b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  TRITIUM_INLINE __mmask16 is_nan(Register x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
  TRITIUM_INLINE Register select(__mmask16 mask, Register yes, Register no) {
    return _mm512_mask_blend_ps(mask, no, yes);
  }
  TRITIUM_INLINE Register first(Register x, int64_t n, Register other) {
    return select(avx512::first_lanes(n), x, other);
  }

  TRITIUM_INLINE Register exponential(Register x) { return avx512::exponential(x); }
  TRITIUM_INLINE float fold(const Register (&lanes)[1]) { return avx512::fold_lanes(lanes[0]); }
  TRITIUM_INLINE float inverse_root(float x) { return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

template struct RowwiseKernels<Avx512Vectors>;

}  // namespace tritium::kernels
