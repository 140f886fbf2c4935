// A model in one file: a GGUF container with the graph, or the configuration of a language model, in its metadata, and
// every tensor as it was stored (docs/model_files.md).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "model/model.h"
#include "model/model_metadata.h"

namespace tritium {

struct SaveOptions {
  std::string name = {};                          // empty: the model's own
  std::string version = {};                       // of the model
  std::map<std::string, std::string> files = {};  // what goes with it, by file name, such as tokenizer.json
};

// Writes the file beside `path` and renames it when it is whole, so that no error leaves a part of one.
// ModelLoadError if the system cannot write it or the model has a name that is not UTF-8.
void save_model(const Model& model, const std::filesystem::path& path, const SaveOptions& options = {});

struct ModelFile {
  std::shared_ptr<const Model> model;
  ModelMetadata metadata;
  std::map<std::string, std::string> files;
};

// ModelLoadError names the file and what is wrong there: it is no such file, a newer version of Tritium wrote it, its
// graph cannot be, or tensors are missing, left over or of another shape. No weight is read here but scales; tensors
// are used where they lie in the file.
ModelFile open_model_file(std::shared_ptr<const MappedFile> file);
std::shared_ptr<const Model> load_model(const std::filesystem::path& path, FileAccess access = FileAccess::kMap);

// The metadata alone, checked. Of a mapped file only the beginning is read.
ModelMetadata read_model_metadata(std::shared_ptr<const MappedFile> file);

}  // namespace tritium
