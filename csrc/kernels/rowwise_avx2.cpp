// Rowwise kernels with AVX2: 8 floats a register.
#include "kernels/avx2.h"
#include "kernels/rowwise_body.h"

namespace tritium::kernels {

struct Avx2Vectors {
  using Register = __m256;
  static constexpr int kWidth = 8;

  TRITIUM_INLINE Register load(const float* p, AllOfThem) { return _mm256_loadu_ps(p); }
  TRITIUM_INLINE Register load(const float* p, FirstOfThem lanes) {
    return _mm256_maskload_ps(p, avx2::lane_mask(lanes.count));
  }
  TRITIUM_INLINE void store(float* p, AllOfThem, Register x) { _mm256_storeu_ps(p, x); }
  TRITIUM_INLINE void store(float* p, FirstOfThem lanes, Register x) {
    _mm256_maskstore_ps(p, avx2::lane_mask(lanes.count), x);
  }
  TRITIUM_INLINE Register load_integers(const int32_t* p, AllOfThem) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TRITIUM_INLINE Register load_integers(const int32_t* p, FirstOfThem lanes) {
    return _mm256_cvtepi32_ps(_mm256_maskload_epi32(p, avx2::lane_mask(lanes.count)));
  }

  TRITIUM_INLINE Register set(float x) { return _mm256_set1_ps(x); }
  TRITIUM_INLINE Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  TRITIUM_INLINE Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  TRITIUM_INLINE Register mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
  TRITIUM_INLINE Register div(Register a, Register b) { return _mm256_div_ps(a, b); }
  TRITIUM_INLINE Register fma(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  TRITIUM_INLINE Register greater(Register a, Register b) { return _mm256_max_ps(a, b); }
  TRITIUM_INLINE Register magnitude(Register x) { return _mm256_andnot_ps(set(-0.0f), x); }
  TRITIUM_INLINE Register negate(Register x) { return _mm256_xor_ps(set(-0.0f), x); }

  TRITIUM_INLINE Register is_greater(Register a, Register b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
  TRITIUM_INLINE Register is_nan(Register x) { return _mm256_cmp_ps(x, x, _CMP_UNORD_Q); }
  TRITIUM_INLINE Register select(Register mask, Register yes, Register no) { return _mm256_blendv_ps(no, yes, mask); }
  TRITIUM_INLINE Register first(Register x, int64_t n, Register other) {
    return select(_mm256_castsi256_ps(avx2::lane_mask(n)), x, other);
  }

  TRITIUM_INLINE Register exponential(Register x) { return avx2::exponential(x); }
  TRITIUM_INLINE float fold(const Register (&lanes)[2]) { return avx2::fold_lanes(lanes[0], lanes[1]); }
  TRITIUM_INLINE float inverse_root(float x) { return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

template struct RowwiseKernels<Avx2Vectors>;

}  // namespace tritium::kernels
