#include "base/tensor.h"

#include "base/error.h"

namespace tritium {

size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
    case DType::kI8:
      return 1;
  }
  return 0;
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    case DType::kU8:
      return "uint8";
    case DType::kI8:
      return "int8";
    case DType::kI32:
      return "int32";
  }
  return "unknown";
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t dimension : shape) {
    if (dimension < 0) {
      throw ModelLoadError(concat("[tensor] shape ", shape_text(shape), " has a negative dimension"));
    }
    if (dimension != 0 && count > INT64_MAX / dimension) {
      throw ModelLoadError(concat("[tensor] shape ", shape_text(shape), " has more than 2^63 elements"));
    }
    count *= dimension;
  }
  return count;
}

}  // namespace tritium
