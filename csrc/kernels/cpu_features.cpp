// Asks the processor, and for x86 also which registers the operating system saves. On ARM only the operating system
// knows.
#include "kernels/cpu_features.h"

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#define TRITIUM_HAS_CPUID 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif
#define TRITIUM_IS_ARM 1
#endif

namespace tritium::kernels {

namespace {

#if defined(TRITIUM_HAS_CPUID)

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult result;
#if defined(_MSC_VER)
  int regs[4];
  __cpuid(regs, 0);
  if (static_cast<uint32_t>(regs[0]) < leaf) return result;
  __cpuidex(regs, static_cast<int>(leaf), static_cast<int>(subleaf));
  result = {static_cast<uint32_t>(regs[0]), static_cast<uint32_t>(regs[1]), static_cast<uint32_t>(regs[2]),
            static_cast<uint32_t>(regs[3])};
#else
  __get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx);
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
  constexpr uint32_t kOsxsave = 1u << 27;
  const CpuidResult basic = cpuid(1), extended = cpuid(7);
  const CpuidResult extended1 = extended.eax >= 1 ? cpuid(7, 1) : CpuidResult{};
  const uint64_t saved = basic.ecx & kOsxsave ? saved_states() : 0;
  return x86_features({basic.ecx, extended.ebx, extended.ecx, extended1.eax, saved});
}

#elif defined(TRITIUM_IS_ARM) && defined(__linux__)

uint32_t detect() { return arm_features(getauxval(AT_HWCAP), getauxval(AT_HWCAP2)); }

#elif defined(TRITIUM_IS_ARM) && defined(__APPLE__)

bool has(const char* name) {
  int32_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

uint32_t detect() {
  uint32_t features = kNeon;
  if (has("hw.optional.arm.FEAT_DotProd")) features |= kDotprod;
  if (has("hw.optional.arm.FEAT_I8MM")) features |= kI8mm;
  return features;
}

#elif defined(TRITIUM_IS_ARM) && defined(_WIN32)

uint32_t detect() {
  constexpr DWORD kDotprodAvailable = 43, kI8mmAvailable = 66;  // PF_ARM_V82_…; older headers lack the second
  uint32_t features = kNeon;
  if (IsProcessorFeaturePresent(kDotprodAvailable)) features |= kDotprod;
  if (IsProcessorFeaturePresent(kI8mmAvailable)) features |= kI8mm;
  return features;
}

#elif defined(TRITIUM_IS_ARM)

uint32_t detect() { return kNeon; }

#else

uint32_t detect() { return 0; }

#endif

}  // namespace

uint32_t x86_features(const X86Report& report) {
  constexpr uint64_t kXmmAndYmm = 0x6, kOpmaskAndZmm = 0xE0;
  constexpr uint32_t kAvx = 1u << 28;
  if (!(report.basic_ecx & kAvx) || (report.saved_states & kXmmAndYmm) != kXmmAndYmm) return 0;
  uint32_t features = 0;
  if (report.basic_ecx & (1u << 12)) features |= kFma;
  if (report.basic_ecx & (1u << 29)) features |= kF16c;
  if (report.extended_ebx & (1u << 5)) features |= kAvx2;
  if (report.extended1_eax & (1u << 4)) features |= kAvxVnni;
  if ((report.saved_states & kOpmaskAndZmm) != kOpmaskAndZmm) return features;
  if (report.extended_ebx & (1u << 16)) features |= kAvx512f;
  if (report.extended_ebx & (1u << 30)) features |= kAvx512bw;
  if (report.extended_ebx & (1u << 31)) features |= kAvx512vl;
  if (report.extended_ebx & (1u << 17)) features |= kAvx512dq;
  if (report.extended_ecx & (1u << 11)) features |= kAvx512Vnni;
  if (report.extended_ecx & (1u << 1)) features |= kAvx512Vbmi;
  return features;
}

uint32_t arm_features(uint64_t hwcap, uint64_t hwcap2) {
  if (!(hwcap & (1u << 1))) return 0;
  uint32_t features = kNeon;
  if (hwcap & (1u << 20)) features |= kDotprod;
  if (hwcap2 & (1u << 13)) features |= kI8mm;
  return features;
}

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
    case kAvx512f:
      return "avx512f";
    case kAvx512bw:
      return "avx512bw";
    case kAvx512vl:
      return "avx512vl";
    case kAvx512dq:
      return "avx512dq";
    case kAvx512Vnni:
      return "avx512_vnni";
    case kNeon:
      return "asimd";
    case kDotprod:
      return "asimddp";
    case kI8mm:
      return "i8mm";
    case kAvx512Vbmi:
      return "avx512vbmi";
    case kAvxVnni:
      return "avx_vnni";
  }
  return "unknown";
}

}  // namespace tritium::kernels
