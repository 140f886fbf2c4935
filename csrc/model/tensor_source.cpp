#include "model/tensor_source.h"

#include "base/error.h"

namespace tritium {
namespace {

uint64_t encoded_bytes(const StoredTensor& tensor) {
  const int64_t count = element_count(tensor.shape);
  if (count > INT64_MAX / 8) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, ": shape ", shape_text(tensor.shape), " is too large"));
  }
  if (tensor.encoding == Encoding::kTernaryStripes && (tensor.shape.size() != 2 || tensor.dtype != DType::kU8)) {
    throw ModelLoadError(concat("[tensor] ", tensor.name,
                                ": packed ternary weights must be uint8 with 2 dimensions, got ",
                                dtype_name(tensor.dtype), " ", shape_text(tensor.shape)));
  }
  if (tensor.encoding == Encoding::kTernaryTrits && (tensor.shape.size() != 2 || tensor.dtype != DType::kI8)) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, ": trits must be int8 with 2 dimensions, got ",
                                dtype_name(tensor.dtype), " ", shape_text(tensor.shape)));
  }
  return static_cast<uint64_t>(count) * dtype_size(tensor.dtype);
}

}  // namespace

std::string StoredTensor::label() const { return concat(name, " (", file->path().string(), ")"); }

void TensorSource::add(StoredTensor tensor) {
  if (!tensor.file) throw ModelLoadError(concat("[tensor] ", tensor.name, ": no file given"));
  const uint64_t expected = encoded_bytes(tensor);
  if (tensor.bytes != expected) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, ": ", tensor.bytes, " bytes stored, ",
                                dtype_name(tensor.dtype), " ", shape_text(tensor.shape), " needs ", expected));
  }
  const uint64_t available = tensor.file->bytes().size();
  if (tensor.offset > available || tensor.bytes > available - tensor.offset) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, ": bytes [", tensor.offset, ", ", tensor.offset, " + ",
                                tensor.bytes, ") leave the file ", tensor.file->path().string(), " of ", available,
                                " bytes"));
  }
  if (contains(tensor.name)) throw ModelLoadError(concat("[tensor] ", tensor.label(), " is given twice"));
  const std::string name = tensor.name;
  tensors_.emplace(name, std::move(tensor));
}

const StoredTensor& TensorSource::get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw ModelLoadError(concat("[tensor] ", name, " is missing; the source has ", tensors_.size(), " tensors"));
  }
  return found->second;
}

std::vector<std::string> TensorSource::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

}  // namespace tritium
