#include "model/model_metadata.h"

#include "base/error.h"

namespace tritium {
namespace {

constexpr uint32_t kFormatVersion = 1;  // raised where an older program would read a file wrongly or not at all
constexpr const char* kProgram = "tritium";

std::vector<uint64_t> stored(const Shape& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

ModelMetadata describe_model(const Model& model, std::string name, std::string version) {
  return {.name = std::move(name),
          .version = std::move(version),
          .architecture = model.is_language_model() ? model.config().architecture : kNetworkArchitecture,
          .parameter_count = model.parameter_count(),
          .quantization_bits = model.ternary_weights().empty() ? 32 : 2,
          .input_shape = model.input_shape(),
          .output_shape = model.output_shape()};
}

void write_metadata(const ModelMetadata& metadata, GgufMetadata& to) {
  to["general.architecture"] = std::string(kProgram);
  to["general.name"] = metadata.name;
  if (!metadata.version.empty()) to["general.version"] = metadata.version;
  to["tritium.format_version"] = kFormatVersion;
  to["tritium.architecture"] = metadata.architecture;
  to["tritium.parameter_count"] = static_cast<uint64_t>(metadata.parameter_count);
  to["tritium.quantization_bits"] = static_cast<uint64_t>(metadata.quantization_bits);
  to["tritium.input_shape"] = stored(metadata.input_shape);
  to["tritium.output_shape"] = stored(metadata.output_shape);
}

ModelMetadata read_metadata(GgufFields& fields) {
  const std::string& program = fields.get<std::string>("general.architecture");
  if (program != kProgram) {
    throw fields.error(
        concat("general.architecture is '", program, "'; only files that Tritium saved ('", kProgram, "') are read"));
  }
  const uint32_t version = fields.get<uint32_t>("tritium.format_version");
  if (version < 1 || version > kFormatVersion) {
    throw fields.error(concat("tritium.format_version is ", version, "; this version of Tritium reads 1 to ",
                              kFormatVersion, version < 1 ? "" : ", a newer one wrote the file"));
  }
  ModelMetadata metadata;
  metadata.name = fields.get<std::string>("general.name");
  if (fields.contains("general.version")) metadata.version = fields.get<std::string>("general.version");
  metadata.architecture = fields.get<std::string>("tritium.architecture");
  metadata.parameter_count = fields.size("tritium.parameter_count");
  metadata.quantization_bits = fields.size("tritium.quantization_bits");
  if (metadata.quantization_bits < 1 || metadata.quantization_bits > 32) {
    throw fields.error(concat("tritium.quantization_bits is ", metadata.quantization_bits, "; it must be 1 to 32"));
  }
  metadata.input_shape = fields.sizes("tritium.input_shape");
  metadata.output_shape = fields.sizes("tritium.output_shape");
  return metadata;
}

}  // namespace tritium
