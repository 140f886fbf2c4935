// The ranked list. CMake defines TRITIUM_KERNELS_<SET> for each set that it compiles.
#include "kernels/dispatch.h"

#include <string.h>

#include "kernels/cpu_features.h"

namespace tritium::kernels {

#if defined(TRITIUM_KERNELS_AVX512_VBMI)
extern const KernelSet kAvx512VbmiKernels;
#endif
#if defined(TRITIUM_KERNELS_AVX512_VNNI)
extern const KernelSet kAvx512VnniKernels;
#endif
#if defined(TRITIUM_KERNELS_AVX_VNNI)
extern const KernelSet kAvxVnniKernels;
#endif
#if defined(TRITIUM_KERNELS_AVX512_VNNI_256)
extern const KernelSet kAvx512Vnni256Kernels;
#endif
#if defined(TRITIUM_KERNELS_AVX2)
extern const KernelSet kAvx2Kernels;
#endif
#if defined(TRITIUM_KERNELS_NEON_I8MM)
extern const KernelSet kNeonI8mmKernels;
#endif
#if defined(TRITIUM_KERNELS_NEON_DOTPROD)
extern const KernelSet kNeonDotprodKernels;
#endif
#if defined(TRITIUM_KERNELS_NEON)
extern const KernelSet kNeonKernels;
#endif
extern const KernelSet kScalarKernels;

namespace {

const KernelSet* const kCompiled[] = {
#if defined(TRITIUM_KERNELS_AVX512_VBMI)
    &kAvx512VbmiKernels,
#endif
#if defined(TRITIUM_KERNELS_AVX512_VNNI)
    &kAvx512VnniKernels,
#endif
#if defined(TRITIUM_KERNELS_AVX_VNNI)
    &kAvxVnniKernels,
#endif
#if defined(TRITIUM_KERNELS_AVX512_VNNI_256)
    &kAvx512Vnni256Kernels,
#endif
#if defined(TRITIUM_KERNELS_AVX2)
    &kAvx2Kernels,
#endif
#if defined(TRITIUM_KERNELS_NEON_I8MM)
    &kNeonI8mmKernels,
#endif
#if defined(TRITIUM_KERNELS_NEON_DOTPROD)
    &kNeonDotprodKernels,
#endif
#if defined(TRITIUM_KERNELS_NEON)
    &kNeonKernels,
#endif
    &kScalarKernels,        nullptr,
};

}  // namespace

const KernelSet* const* compiled_kernel_sets() { return kCompiled; }

bool is_supported(const KernelSet& set) { return (set.features & ~cpu_features()) == 0; }

const KernelSet& best_kernel_set() {
  const KernelSet* const* set = kCompiled;
  while (!is_supported(**set)) ++set;
  return **set;
}

const KernelSet* find_kernel_set(const char* name) {
  for (const KernelSet* const* set = kCompiled; *set; ++set) {
    if (strcmp((*set)->name, name) == 0) return *set;
  }
  return nullptr;
}

const TernaryFormat* find_ternary_format(const KernelSet& set, const char* name) {
  for (const TernaryFormat& format : set.ternary) {
    if (format.layout.name && strcmp(format.layout.name, name) == 0) return &format;
  }
  return nullptr;
}

}  // namespace tritium::kernels
