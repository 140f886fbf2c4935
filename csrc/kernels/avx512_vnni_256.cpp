// AVX-512 VNNI in registers of 32 bytes: the products of avx_vnni.cpp where only AVX-512 has the instruction.
#include <immintrin.h>

#define TRITIUM_DPBUSD _mm256_dpbusd_epi32
#include "kernels/head.h"
#include "kernels/vnni256.h"

namespace tritium::kernels {

extern const KernelSet kAvx512Vnni256Kernels;

// CpuFeature bits, written out: kernel files include no header of the processor's features.
constexpr uint32_t kFeatures = avx2::kFeatures | 0b10101000;

const KernelSet kAvx512Vnni256Kernels = {
    "avx512_vnni_256",
    kFeatures,
    {{k2BitLayout, avx2::pack_2bit, avx2::gemv_2bit, avx2::gemm_2bit}},
    avx2::quantize,
    avx2::dequantize,
    avx2::dense_matmul,
    avx2::widen,
    avx2::rms_norm,
    avx2::add,
    avx2::Rowwise::gate,
    avx2::rope,
    avx2::narrow,
    avx2::quantize_query,
    avx2::attend_page_f16,
    avx2::attend_page_int8,
    avx2::merge_attention,
    avx2::finish_attention,
    avx2::Rowwise::dequantize_rows,
    avx2::Rowwise::activate,
    avx2::Rowwise::softmax,
    avx2::Rowwise::layer_norm,
    head::pack_avx2,
    head::scan_avx2,
};

}  // namespace tritium::kernels
