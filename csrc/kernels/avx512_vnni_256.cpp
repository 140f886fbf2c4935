// AVX-512 VNNI in registers of 32 bytes: the products of avx_vnni.cpp where only AVX-512 has the instruction.
#include <immintrin.h>

#define TRITIUM_DPBUSD _mm256_dpbusd_epi32
#include "kernels/vnni256.h"

namespace tritium::kernels {

extern const KernelSet kAvx512Vnni256Kernels;

// CpuFeature bits, written out: kernel files include no header of the processor's features.
constexpr uint32_t kFeatures = avx2::kFeatures | 0b10101000;

const KernelSet kAvx512Vnni256Kernels =
    avx2::kernel_set("avx512_vnni_256", kFeatures, {k2BitLayout, avx2::pack_2bit, avx2::gemv_2bit, avx2::gemm_2bit});

}  // namespace tritium::kernels
