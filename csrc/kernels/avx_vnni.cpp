// AVX-VNNI: vpdpbusd of AVX2 processors without AVX-512.
#include <immintrin.h>

#define TRITIUM_DPBUSD _mm256_dpbusd_avx_epi32
#include "kernels/vnni256.h"

namespace tritium::kernels {

extern const KernelSet kAvxVnniKernels;

// CpuFeature bits, written out: kernel files include no header of the processor's features.
constexpr uint32_t kFeatures = avx2::kFeatures | 1u << 12;

const KernelSet kAvxVnniKernels =
    avx2::kernel_set("avx_vnni", kFeatures, {k2BitLayout, avx2::pack_2bit, avx2::gemv_2bit, avx2::gemm_2bit});

}  // namespace tritium::kernels
