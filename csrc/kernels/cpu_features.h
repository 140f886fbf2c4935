// What this CPU and its operating system can run.
#pragma once

#include <cstdint>

namespace tritium::kernels {

enum CpuFeature : uint32_t {
  kAvx2 = 1u << 0,
  kFma = 1u << 1,
  kF16c = 1u << 2,
};

// Bits of the features that the CPU has and whose registers the operating system saves.
uint32_t cpu_features();

// Name of one feature bit: "avx2".
const char* cpu_feature_name(CpuFeature feature);

}  // namespace tritium::kernels
