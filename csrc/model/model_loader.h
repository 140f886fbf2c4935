// ModelLoader: loads model files by one set of choices.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "model/cache_options.h"
#include "model/model_file.h"

namespace tritium {

struct LoaderOptions {
  // Where a CPU engine keeps packed weights of these models; nullopt: where the engine's own options say.
  std::optional<CacheOptions> cache = {};
  uint64_t mmap_threshold = uint64_t{1} << 20;  // bytes; larger files are mapped, others read, with the same result
};

class ModelLoader {
 public:
  explicit ModelLoader(LoaderOptions options = {}) : options_(std::move(options)) {}

  // Checked, before any weight is read. Errors as those of open_model_file.
  ModelMetadata metadata(const std::filesystem::path& path) const;
  std::shared_ptr<const Model> load(const std::filesystem::path& path) const;

 private:
  LoaderOptions options_;
};

}  // namespace tritium
