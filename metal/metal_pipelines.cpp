#include "metal/metal_pipelines.h"

#include <string>

#include "base/error.h"

namespace tritium {
namespace {

constexpr NS::UInteger kSimdgroup = 32;  // threads; the kernels are written for it

[[noreturn]] void fail(const MetalKernel& kernel, const MetalDevice& device, const std::string& why) {
  throw DeviceError(concat("[metal] kernel ", kernel.name, " on ", device.name(), ": ", why));
}

}  // namespace

MetalPipelines::MetalPipelines(std::shared_ptr<MetalDevice> device) : device_(std::move(device)), library_(device_) {}

const MetalPipelines::Pipeline& MetalPipelines::get(const MetalKernel& kernel, uint32_t threads) {
  auto found = pipelines_.find(kernel);
  if (found == pipelines_.end()) found = pipelines_.emplace(kernel, make(kernel)).first;
  if (threads > found->second.max_threads) {
    fail(kernel, *device_,
         concat("a threadgroup has at most ", found->second.max_threads, " threads, ", threads, " are needed"));
  }
  return found->second;
}

MetalPipelines::Pipeline MetalPipelines::make(const MetalKernel& kernel) {
  const AutoreleaseScope scope;
  device_->check();
  const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  for (size_t i = 0; i < kernel.constants.size(); ++i) {
    const int value = kernel.constants[i];
    if (value == MetalKernel::kNotTaken) continue;
    if (static_cast<MetalConstant>(i) == MetalConstant::kActivation) {
      constants->setConstantValue(&value, MTL::DataTypeInt, i);
    } else {
      const bool is_set = value != 0;
      constants->setConstantValue(&is_set, MTL::DataTypeBool, i);
    }
  }
  NS::Error* error = nullptr;
  NS::String* name = ns_string(std::string(kernel.name));
  const auto function = NS::TransferPtr(library_.with(kernel.name)->newFunction(name, constants.get(), &error));
  if (!function) fail(kernel, *device_, text_of(error));
  auto state = NS::TransferPtr(device_->get()->newComputePipelineState(function.get(), &error));
  if (!state) fail(kernel, *device_, text_of(error));
  if (state->threadExecutionWidth() != kSimdgroup) {
    fail(kernel, *device_,
         concat("a simdgroup has ", state->threadExecutionWidth(), " threads, ", kSimdgroup, " are needed"));
  }
  const auto max_threads = static_cast<uint32_t>(state->maxTotalThreadsPerThreadgroup());
  return {std::move(state), NS::RetainPtr(name), max_threads};
}

}  // namespace tritium
