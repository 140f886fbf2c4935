// Asks the processor, and for x86 also which registers the operating system saves.
#include "kernels/cpu_features.h"

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#define TRITIUM_HAS_CPUID 1
#endif

namespace tritium::kernels {

namespace {

#if defined(TRITIUM_HAS_CPUID)

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidResult cpuid(uint32_t leaf) {
  CpuidResult result;
#if defined(_MSC_VER)
  int regs[4];
  __cpuid(regs, 0);
  if (static_cast<uint32_t>(regs[0]) < leaf) return result;
  __cpuidex(regs, static_cast<int>(leaf), 0);
  result = {static_cast<uint32_t>(regs[0]), static_cast<uint32_t>(regs[1]), static_cast<uint32_t>(regs[2]),
            static_cast<uint32_t>(regs[3])};
#else
  __get_cpuid_count(leaf, 0, &result.eax, &result.ebx, &result.ecx, &result.edx);
#endif
  return result;
}

// Which register states the operating system saves.
uint64_t saved_states() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
#endif
}

uint32_t detect() {
  constexpr uint32_t kOsxsave = 1u << 27, kAvx = 1u << 28;
  constexpr uint64_t kXmmAndYmm = 0x6;
  const CpuidResult basic = cpuid(1);
  if (!(basic.ecx & kOsxsave) || !(basic.ecx & kAvx) || (saved_states() & kXmmAndYmm) != kXmmAndYmm) return 0;
  const CpuidResult extended = cpuid(7);
  uint32_t features = 0;
  if (basic.ecx & (1u << 12)) features |= kFma;
  if (basic.ecx & (1u << 29)) features |= kF16c;
  if (extended.ebx & (1u << 5)) features |= kAvx2;
  return features;
}

#else

uint32_t detect() { return 0; }

#endif

}  // namespace

uint32_t cpu_features() {
  static const uint32_t features = detect();
  return features;
}

const char* cpu_feature_name(CpuFeature feature) {
  switch (feature) {
    case kAvx2:
      return "avx2";
    case kFma:
      return "fma";
    case kF16c:
      return "f16c";
  }
  return "unknown";
}

}  // namespace tritium::kernels
