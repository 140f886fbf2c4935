// As peak_avx512_vnni.cpp in registers of 32 bytes.
#include <immintrin.h>

#define TRITIUM_DPBUSD _mm256_dpbusd_avx_epi32
#include "kernels/peak_vnni256.h"

namespace tritium::kernels {

extern const MultiplyPeak kAvxVnniPeak;

const MultiplyPeak kAvxVnniPeak = {"avx_vnni", kChains * 32, run};

}  // namespace tritium::kernels
