// ModelMetadata: what can be said of a model without its weights.
#pragma once

#include <cstdint>
#include <string>

#include "base/tensor.h"
#include "model/gguf.h"
#include "model/model.h"

namespace tritium {

inline constexpr const char* kNetworkArchitecture = "network";

struct ModelMetadata {
  std::string name;
  std::string version;       // of the model, as whoever saved it calls it; may be empty
  std::string architecture;  // "network", or the family of a language model
  int64_t parameter_count = 0;
  int64_t quantization_bits = 0;  // that a ternary weight takes when an engine has packed it, 2; 32 without any
  Shape input_shape;              // of one sample; of a language model [], a token id
  Shape output_shape;

  bool operator==(const ModelMetadata&) const = default;
};

ModelMetadata describe_model(const Model& model, std::string name, std::string version);

void write_metadata(const ModelMetadata& metadata, GgufMetadata& to);

// ModelLoadError for a file that Tritium did not save, one of a newer format version, and a field that is missing or
// cannot be.
ModelMetadata read_metadata(GgufFields& fields);

}  // namespace tritium
