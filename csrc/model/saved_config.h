// How the configuration of a language model lies in the metadata of a file.
#pragma once

#include "model/gguf.h"
#include "model/model_config.h"

namespace tritium {

void write_config(const ModelConfig& config, GgufMetadata& metadata);

// ModelLoadError names a field that is missing or cannot be.
ModelConfig read_config(GgufFields& fields, const std::string& architecture);

}  // namespace tritium
