// How the graph of a network lies in the metadata of a file. A new kind of operator is a line in each of the two
// functions at the top of saved_network.cpp.
#pragma once

#include <memory>
#include <string>

#include "model/gguf.h"
#include "model/model.h"

namespace tritium {

// ModelLoadError for operators that only language models have.
void write_network(const Model& model, GgufMetadata& metadata);

// Builds the network again by the calls of a NetworkBuilder, with the tensors of `source`. ModelLoadError names the
// operator: its kind is unknown, it reads a value that is not made before it, or a shape disagrees.
std::shared_ptr<const Model> read_network(GgufFields& fields, const std::string& name, Shape input_shape,
                                          const Shape& output_shape, const TensorSource& source);

}  // namespace tritium
