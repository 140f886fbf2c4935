// What this CPU and its operating system can run.
#pragma once

#include <cstdint>

namespace tritium::kernels {

enum CpuFeature : uint32_t {
  kAvx2 = 1u << 0,
  kFma = 1u << 1,
  kF16c = 1u << 2,
  kAvx512f = 1u << 3,
  kAvx512bw = 1u << 4,
  kAvx512vl = 1u << 5,
  kAvx512dq = 1u << 6,
  kAvx512Vnni = 1u << 7,
  kNeon = 1u << 8,
  kDotprod = 1u << 9,
  kI8mm = 1u << 10,
  kAvx512Vbmi = 1u << 11,
  kAvxVnni = 1u << 12,
};

// Bits of the features that the CPU has and whose registers the operating system saves.
uint32_t cpu_features();

// Name of one feature bit, as Linux spells it: "avx2", "asimddp".
const char* cpu_feature_name(CpuFeature feature);

// What an x86 processor says of itself.
struct X86Report {
  uint32_t basic_ecx = 0;     // CPUID leaf 1
  uint32_t extended_ebx = 0;  // CPUID leaf 7
  uint32_t extended_ecx = 0;
  uint32_t extended1_eax = 0;  // CPUID leaf 7, subleaf 1
  uint64_t saved_states = 0;   // XCR0, 0 where CPUID tells that it cannot be read
};

// CpuFeature bits of such a processor.
uint32_t x86_features(const X86Report& report);

// CpuFeature bits of a 64-bit ARM processor of which Linux says AT_HWCAP and AT_HWCAP2.
uint32_t arm_features(uint64_t hwcap, uint64_t hwcap2);

}  // namespace tritium::kernels
