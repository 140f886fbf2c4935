// The Metal backend: runs plans on the GPUs of Apple's machines. docs/metal.md says how.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/inference_backend.h"
#include "memory/memory_pool.h"
#include "model/cache_options.h"
#include "model/custom_operator.h"

namespace tritium {

struct MetalOptions {
  int threads = 1;                    // of the CPU, to pack weights
  std::optional<CacheOptions> cache;  // where packed weights are kept, if anywhere
};

// Why there is no Metal here: "not in this build"; empty if there is.
std::string metal_missing();

// Names of the devices: "Apple M2"; empty if there is none.
std::string metal_names();

// Everything that it allocates, on devices too, comes from `pool`. `operators` are those that networks may name; no
// network with one of them runs on Metal. DeviceError if there is no Metal here, or its kernels do not compile.
std::unique_ptr<InferenceBackend> make_metal_backend(MetalOptions options, std::shared_ptr<MemoryPool> pool,
                                                     CustomOperators operators);

}  // namespace tritium
