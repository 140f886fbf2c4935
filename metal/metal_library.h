// The library of kernels: compiled when the package was made, or here from the embedded source.
#pragma once

#include "metal/metal_device.h"

namespace tritium {

// tritium.metallib beside this module, if it lies there and the device takes it, else metal/kernels compiled for the
// device. DeviceError has what the compiler says.
NS::SharedPtr<MTL::Library> load_metal_library(const MetalDevice& device);

// metal/kernels as one source; CMake writes it (embed_kernels.cmake).
extern const char* const kMetalKernels;

}  // namespace tritium
