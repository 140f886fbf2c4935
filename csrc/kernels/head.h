// Kernels of the small output head, in files of their own.
#pragma once

#include "kernels/kernel_set.h"

namespace tritium::kernels::head {

// head_avx2.cpp, head_avx512_vnni.cpp
void pack_avx2(const HeadPack& pack);
void scan_avx2(const HeadScan& scan);
void pack_avx512_vnni(const HeadPack& pack);
void scan_avx512_vnni(const HeadScan& scan);

// head_neon.cpp, head_neon_dotprod.cpp
void pack_neon(const HeadPack& pack);
void scan_neon(const HeadScan& scan);
void scan_neon_dotprod(const HeadScan& scan);

}  // namespace tritium::kernels::head
