// GGUF version 3: typed metadata and named tensors in one file (docs/model_files.md). What is read is what is written
// here, no more: other types of values or tensors, gaps and bytes left over are errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "model/tensor_source.h"

namespace tritium {

// Texts are UTF-8.
using GgufValue = std::variant<uint32_t, uint64_t, double, bool, std::string, std::vector<uint8_t>,
                               std::vector<uint64_t>, std::vector<std::string>>;
using GgufMetadata = std::map<std::string, GgufValue>;

struct GgufFile {
  std::shared_ptr<const MappedFile> file;
  GgufMetadata metadata;
  std::vector<StoredTensor> tensors;  // plain; float32, float16, bfloat16 or int8; each in its place in `file`
};

// Reads metadata and the places of tensors; no byte of a tensor. ModelLoadError names the file, what is wrong there,
// what was found and what can be.
GgufFile read_gguf(std::shared_ptr<const MappedFile> file);

// Writes a file that appears under `path` only when it is whole. Tensors in uint8 are written as int8, the one type of
// bytes that GGUF has; encodings are the metadata's to tell. ModelLoadError if the system cannot write it, or for names
// that read_gguf would refuse.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<StoredTensor>& tensors);

bool is_utf8(std::string_view text);

// Metadata of a file, asked for by key and type. Every error is a ModelLoadError that names file and key.
class GgufFields {
 public:
  GgufFields(const GgufMetadata& metadata, std::string path) : metadata_(metadata), path_(std::move(path)) {}

  // Missing keys and values of another type are errors.
  template <class T>
  const T& get(const std::string& key);
  bool contains(const std::string& key) const { return metadata_.count(key) != 0; }
  // Of a uint64 and of an array of them: sizes, in the range of int64_t.
  int64_t size(const std::string& key);
  std::vector<int64_t> sizes(const std::string& key);
  // Names the keys with this beginning that nobody asked for, if there are any.
  void finish(std::string_view beginning) const;

  ModelLoadError error(std::string_view what) const;

 private:
  const GgufValue& value(const std::string& key);
  ModelLoadError wrong_type(const std::string& key, size_t found, size_t needed) const;

  const GgufMetadata& metadata_;
  const std::string path_;
  std::set<std::string> used_;
};

template <class T>
const T& GgufFields::get(const std::string& key) {
  const GgufValue& found = value(key);
  if (const T* typed = std::get_if<T>(&found)) return *typed;
  throw wrong_type(key, found.index(), GgufValue(T{}).index());
}

}  // namespace tritium
