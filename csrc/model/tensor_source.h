// TensorSource: named tensors as spans of mapped files. What a loader yields; no byte of a weight is read here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "memory/mapped_file.h"

namespace tritium {

enum class Encoding {
  kPlain,           // elements of the dtype, row-major, used as they are
  kTernaryMasters,  // floats, row-major, that stand for ternary weights: their absmean quantisation is what counts
  kTernaryTrits,    // int8 (rows, columns), row-major: -1, 0 or 1
  kTernaryStripes,  // uint8 (ceil(rows / 4), columns): bits 2i, 2i + 1 of byte [r][k] hold (weight + 1) of row
                    // i * ceil(rows / 4) + r. The packing of Hugging Face transformers' BitNet.
};

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  Encoding encoding = Encoding::kPlain;
  Shape shape;  // as stored
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0;  // bytes from the start of the file
  uint64_t bytes = 0;

  const std::byte* data() const { return file->bytes().data() + offset; }
  std::string label() const;  // "<name> (<file>)", for messages
};

class TensorSource {
 public:
  // ModelLoadError if the span leaves the file, its length does not fit dtype and shape, or the name is taken.
  void add(StoredTensor tensor);

  // ModelLoadError names the tensor if there is none.
  const StoredTensor& get(const std::string& name) const;
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  size_t size() const { return tensors_.size(); }
  std::vector<std::string> names() const;

 private:
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace tritium
