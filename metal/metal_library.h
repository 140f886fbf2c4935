// The libraries of kernels: compiled when the package was made, or here from the embedded sources.
#pragma once

#include <map>
#include <memory>
#include <string_view>

#include "metal/metal_device.h"
#include "metal/metal_sources.h"

namespace tritium {

class MetalLibrary {
 public:
  // Takes tritium.metallib beside this module, if it lies there and the device takes it; else sources are compiled when
  // they are needed.
  explicit MetalLibrary(std::shared_ptr<MetalDevice> device);

  // What has the kernel. DeviceError if nothing has, or with what the compiler says.
  MTL::Library* with(std::string_view kernel);

 private:
  std::shared_ptr<MetalDevice> device_;
  NS::SharedPtr<MTL::Library> packaged_;
  std::map<const MetalSource*, NS::SharedPtr<MTL::Library>> compiled_;
};

}  // namespace tritium
