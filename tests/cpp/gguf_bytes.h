// GGUF files byte by byte, right or wrong, for tests of what reads them.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "memory/mapped_file.h"

namespace tritium {

class GgufBytes {
 public:
  explicit GgufBytes(uint64_t tensors = 0, uint64_t values = 0, uint32_t version = 3) {
    bytes_ = "GGUF";
    put(version).put(tensors).put(values);
  }

  template <class T>
  GgufBytes& put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufBytes& text(const std::string& text) {
    put(uint64_t{text.size()});
    bytes_ += text;
    return *this;
  }
  GgufBytes& key(const std::string& key, uint32_t type) { return text(key).put(type); }
  GgufBytes& tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
    text(name).put(static_cast<uint32_t>(sizes.size()));
    for (uint64_t size : sizes) put(size);
    return put(type).put(offset);
  }
  // Zeros up to the next multiple, then `more`.
  GgufBytes& pad(size_t alignment, size_t more = 0) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment + more);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// In a buffer of just that size, where a step beyond its end is seen.
inline std::shared_ptr<const MappedFile> lend(const std::string& bytes) {
  const std::shared_ptr<std::byte[]> copy(new std::byte[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return MappedFile::lend({copy.get(), bytes.size()}, copy, "x.gguf");
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace tritium
