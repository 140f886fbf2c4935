// The list of the loops. CMake defines TRITIUM_PEAK_<PROCESSOR>.
#include "kernels/multiply_peak.h"

#include <string.h>

namespace tritium::kernels {

#if defined(TRITIUM_PEAK_X86)
extern const MultiplyPeak kAvx2Peak;
extern const MultiplyPeak kAvxVnniPeak;
extern const MultiplyPeak kAvx512Vnni256Peak;
extern const MultiplyPeak kAvx512VnniPeak;
extern const MultiplyPeak kAvx512VbmiPeak;
#elif defined(TRITIUM_PEAK_ARM)
extern const MultiplyPeak kNeonPeak;
extern const MultiplyPeak kNeonDotprodPeak;
extern const MultiplyPeak kNeonI8mmPeak;
#endif
extern const MultiplyPeak kScalarPeak;

const MultiplyPeak* find_multiply_peak(const char* kernel_set) {
  static const MultiplyPeak* const kPeaks[] = {
#if defined(TRITIUM_PEAK_X86)
      &kAvx512VbmiPeak, &kAvx512VnniPeak, &kAvxVnniPeak, &kAvx512Vnni256Peak, &kAvx2Peak,
#elif defined(TRITIUM_PEAK_ARM)
      &kNeonI8mmPeak,
      &kNeonDotprodPeak,
      &kNeonPeak,
#endif
      &kScalarPeak,
  };
  for (const MultiplyPeak* peak : kPeaks) {
    if (strcmp(peak->kernel_set, kernel_set) == 0) return peak;
  }
  return nullptr;
}

}  // namespace tritium::kernels
