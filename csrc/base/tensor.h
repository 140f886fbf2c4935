// TensorView: a pointer with a type and a shape. It never owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace tritium {

enum class DType { kF32, kF16, kBF16, kU8, kI8, kI32 };

// Bytes of one element.
size_t dtype_size(DType dtype);

// "float32", "float16", "bfloat16", "uint8", "int8", "int32".
std::string_view dtype_name(DType dtype);

using Shape = std::vector<int64_t>;

// "[640, 2560]".
std::string shape_text(const Shape& shape);

// Number of elements; ModelLoadError if a dimension is negative or the product overflows.
int64_t element_count(const Shape& shape);

struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;  // row-major, contiguous

  int64_t rows() const { return shape.empty() ? 1 : shape.front(); }
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// The same over memory to be written.
struct MutableTensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;  // row-major, contiguous

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

}  // namespace tritium
