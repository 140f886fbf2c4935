#include "model/model_file.h"

#include <array>

#include "base/error.h"
#include "model/saved_config.h"
#include "model/saved_network.h"

namespace tritium {
namespace {

const std::string kFilePrefix = "tritium.file.";

// Each key lists the names of the tensors of an encoding, in the type of bytes that it is read as.
struct StoredEncoding {
  const char* key;
  Encoding encoding;
};
constexpr std::array<StoredEncoding, 3> kEncodings = {{{"tritium.ternary_masters", Encoding::kTernaryMasters},
                                                       {"tritium.ternary_trits", Encoding::kTernaryTrits},
                                                       {"tritium.ternary_stripes", Encoding::kTernaryStripes}}};

void write_encodings(const std::vector<StoredTensor>& tensors, GgufMetadata& metadata) {
  for (const auto& [key, encoding] : kEncodings) {
    std::vector<std::string> names;
    for (const StoredTensor& tensor : tensors) {
      if (tensor.encoding == encoding) names.push_back(tensor.name);
    }
    metadata[key] = std::move(names);
  }
}

TensorSource read_source(const GgufFile& file, GgufFields& fields) {
  std::map<std::string, Encoding> encodings;
  for (const auto& [key, encoding] : kEncodings) {
    for (const std::string& name : fields.get<std::vector<std::string>>(key)) {
      if (!encodings.emplace(name, encoding).second) {
        throw fields.error(concat(key, " names the tensor '", name, "', which has an encoding already"));
      }
    }
  }
  TensorSource source;
  for (StoredTensor tensor : file.tensors) {
    const auto found = encodings.find(tensor.name);
    if (found != encodings.end()) {
      tensor.encoding = found->second;
      if (tensor.encoding == Encoding::kTernaryStripes && tensor.dtype == DType::kI8) tensor.dtype = DType::kU8;
      encodings.erase(found);
    }
    source.add(std::move(tensor));
  }
  if (!encodings.empty()) {
    throw fields.error(concat("the tensor '", encodings.begin()->first, "' has an encoding and is not in the file"));
  }
  return source;
}

std::map<std::string, std::string> read_files(const GgufFile& file, GgufFields& fields) {
  std::map<std::string, std::string> files;
  for (auto found = file.metadata.lower_bound(kFilePrefix);
       found != file.metadata.end() && found->first.starts_with(kFilePrefix); ++found) {
    const auto& [key, value] = *found;
    std::string& content = files[key.substr(kFilePrefix.size())];
    if (std::holds_alternative<std::vector<uint8_t>>(value)) {
      const auto& bytes = fields.get<std::vector<uint8_t>>(key);
      content.assign(bytes.begin(), bytes.end());
    } else {
      content = fields.get<std::string>(key);
    }
  }
  return files;
}

// The model that the metadata describe, with these tensors.
std::shared_ptr<const Model> read_model(const GgufFile& file, GgufFields& fields, const ModelMetadata& metadata) {
  const TensorSource source = read_source(file, fields);
  if (metadata.architecture == kNetworkArchitecture) {
    return read_network(fields, metadata.name, metadata.input_shape, metadata.output_shape, source);
  }
  const ModelConfig config = read_config(fields, metadata.architecture);
  // Each layer asks for more than one; a graph of layers that cannot be there is not even begun.
  if (config.layers > static_cast<int64_t>(source.size())) {
    throw fields.error(
        concat("tritium.config.layers is ", config.layers, ", the file has ", source.size(), " tensors"));
  }
  return Model::create(config, source);
}

void check_same(const ModelMetadata& stored, const ModelMetadata& actual, const GgufFields& fields) {
  const auto check = [&](const char* field, const auto& said, const auto& is) {
    if (said != is) throw fields.error(concat("tritium.", field, " is ", said, ", the model has ", is));
  };
  check("parameter_count", stored.parameter_count, actual.parameter_count);
  check("quantization_bits", stored.quantization_bits, actual.quantization_bits);
  check("input_shape", shape_text(stored.input_shape), shape_text(actual.input_shape));
  check("output_shape", shape_text(stored.output_shape), shape_text(actual.output_shape));
}

}  // namespace

void save_model(const Model& model, const std::filesystem::path& path, const SaveOptions& options) {
  GgufMetadata metadata;
  write_metadata(describe_model(model, options.name.empty() ? model.name() : options.name, options.version), metadata);
  if (model.is_language_model()) {
    write_config(model.config(), metadata);
  } else {
    write_network(model, metadata);
  }
  const std::vector<StoredTensor> tensors = model.tensors();
  write_encodings(tensors, metadata);
  for (const auto& [name, content] : options.files) {
    if (is_utf8(content)) {
      metadata[kFilePrefix + name] = content;
    } else {
      metadata[kFilePrefix + name] = std::vector<uint8_t>(content.begin(), content.end());
    }
  }
  write_gguf(path, metadata, tensors);
}

ModelFile open_model_file(std::shared_ptr<const MappedFile> mapped) {
  const std::string where = path_text(mapped->path());
  try {
    const GgufFile file = read_gguf(std::move(mapped));
    GgufFields fields(file.metadata, where);
    ModelMetadata metadata = read_metadata(fields);
    std::shared_ptr<const Model> model = read_model(file, fields, metadata);
    std::map<std::string, std::string> files = read_files(file, fields);
    check_same(metadata, describe_model(*model, metadata.name, metadata.version), fields);
    fields.finish("tritium.");
    return {std::move(model), std::move(metadata), std::move(files)};
  } catch (const ModelLoadError& error) {
    // What builds a model knows nothing of the file.
    if (std::string_view(error.what()).find(where) != std::string_view::npos) throw;
    throw ModelLoadError(concat(error.what(), " (in '", where, "')"));
  }
}

std::shared_ptr<const Model> load_model(const std::filesystem::path& path, FileAccess access) {
  return open_model_file(MappedFile::open(path, access)).model;
}

ModelMetadata read_model_metadata(std::shared_ptr<const MappedFile> mapped) {
  const GgufFile file = read_gguf(std::move(mapped));
  GgufFields fields(file.metadata, path_text(file.file->path()));
  return read_metadata(fields);
}

}  // namespace tritium
