// Pipelines: kernels made ready for a device, once for each set of function constants.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <string_view>

#include "metal/metal_device.h"
#include "metal/metal_library.h"

namespace tritium {

// The function constants of metal/kernels, by their index.
enum class MetalConstant { kHasBias, kHasResidual, kActivation, kHasNormBias, kHasDenseBias };

// A kernel with the function constants that it takes.
struct MetalKernel {
  static constexpr int8_t kNotTaken = -1;

  std::string_view name;  // static
  std::array<int8_t, 5> constants = {kNotTaken, kNotTaken, kNotTaken, kNotTaken, kNotTaken};

  MetalKernel(const char* kernel) : name(kernel) {}  // NOLINT: a name is a kernel
  MetalKernel with(MetalConstant constant, int value) const {
    MetalKernel kernel = *this;
    kernel.constants[static_cast<size_t>(constant)] = static_cast<int8_t>(value);
    return kernel;
  }
  auto operator<=>(const MetalKernel&) const = default;
};

class MetalPipelines {
 public:
  explicit MetalPipelines(std::shared_ptr<MetalDevice> device);

  struct Pipeline {
    NS::SharedPtr<MTL::ComputePipelineState> state;
    NS::SharedPtr<NS::String> name;
    uint32_t max_threads = 0;  // of a threadgroup
  };

  // Made at the first call. DeviceError names the kernel if there is none, it does not compile or cannot be made ready,
  // or its threadgroups have fewer than `threads` threads at most.
  const Pipeline& get(const MetalKernel& kernel, uint32_t threads);

  size_t size() const { return pipelines_.size(); }

 private:
  Pipeline make(const MetalKernel& kernel);

  std::shared_ptr<MetalDevice> device_;
  MetalLibrary library_;
  std::map<MetalKernel, Pipeline> pipelines_;
};

}  // namespace tritium
