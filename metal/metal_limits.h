// What a Metal device can do at most, measured with its kernels.
#pragma once

#include <cstddef>

#include "backend/inference_backend.h"
#include "metal/metal_model.h"

namespace tritium {

// Reads `bytes` of the device's memory with top_k, which looks at every float once, and multiplies a matrix that fits
// its caches with ternary_gemm_32. Medians of the times that the device gives. MemoryLimitError, DeviceError.
DeviceLimits measure_metal_limits(const MetalContext& context, size_t bytes);

}  // namespace tritium
