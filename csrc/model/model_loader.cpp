#include "model/model_loader.h"

namespace tritium {

ModelMetadata ModelLoader::metadata(const std::filesystem::path& path) const {
  return read_model_metadata(MappedFile::open(path, options_.mmap_threshold));
}

std::shared_ptr<const Model> ModelLoader::load(const std::filesystem::path& path) const {
  std::shared_ptr<const Model> model = open_model_file(MappedFile::open(path, options_.mmap_threshold)).model;
  return options_.cache ? model->with_cache(*options_.cache) : model;
}

}  // namespace tritium
