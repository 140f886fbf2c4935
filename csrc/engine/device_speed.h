// How fast a device is with ternary models, for the choice of "auto".
#pragma once

#include "backend/inference_backend.h"

namespace tritium {

// Seconds for a small network of ternary layers, 50 million weights, as a short prompt and its answer use a model: 32
// samples at once, and then 16 one by one. The best of a few goes, in a fraction of a second. Errors are the backend's.
double measure_device(InferenceBackend& backend);

}  // namespace tritium
