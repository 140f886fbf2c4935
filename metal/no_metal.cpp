// The Metal backend where there is no Metal.
#include "base/error.h"
#include "metal/metal_backend.h"

namespace tritium {

std::string metal_missing() { return "not in this build"; }

std::string metal_names() { return {}; }

std::unique_ptr<InferenceBackend> make_metal_backend(MetalOptions, std::shared_ptr<MemoryPool>, CustomOperators) {
  throw DeviceError(concat("[device] metal is ", metal_missing()));
}

}  // namespace tritium
