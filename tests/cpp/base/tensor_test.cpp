#include "base/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "base/error.h"
#include "error_text.h"

namespace tritium {
namespace {

constexpr int64_t kLargest = INT64_MAX;

TEST(DType, HasASizeAndAName) {
  for (const auto& [dtype, size, name] : {std::tuple{DType::kF32, 4, "float32"}, std::tuple{DType::kF16, 2, "float16"},
                                          std::tuple{DType::kBF16, 2, "bfloat16"}, std::tuple{DType::kU8, 1, "uint8"},
                                          std::tuple{DType::kI8, 1, "int8"}, std::tuple{DType::kI32, 4, "int32"}}) {
    EXPECT_EQ(dtype_size(dtype), static_cast<size_t>(size));
    EXPECT_EQ(dtype_name(dtype), name);
  }
}

TEST(Shape, IsWrittenInBrackets) {
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text({640, 2560}), "[640, 2560]");
}

TEST(ElementCount, IsTheProductOfTheDimensions) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({7}), 7);
  EXPECT_EQ(element_count({640, 2560}), 1638400);
  EXPECT_EQ(element_count({640, 0, 3}), 0);
  EXPECT_EQ(element_count({kLargest}), kLargest);
  EXPECT_EQ(element_count({kLargest, 1, 0}), 0);
}

TEST(ElementCount, RefusesAProductThatOverflows) {
  EXPECT_THROW(element_count({kLargest, 2}), ModelLoadError);
  EXPECT_THROW(element_count({int64_t{1} << 32, int64_t{1} << 31}), ModelLoadError);
  EXPECT_THROW(element_count({int64_t{1} << 32, int64_t{1} << 32, 0}), ModelLoadError);
}

TEST(ElementCount, RefusesANegativeDimensionAndShowsTheShape) {
  EXPECT_EQ(error_text<ModelLoadError>([] { element_count({4, -1}); }),
            "[tensor] shape [4, -1] has a negative dimension");
}

TEST(TensorView, SeesRowsAndColumnsOfItsData) {
  const float data[6] = {0, 1, 2, 3, 4, 5};
  const TensorView view{data, DType::kF32, {2, 3}};
  EXPECT_EQ(view.rows(), 2);
  EXPECT_EQ(view.columns(), 3);
  EXPECT_EQ(view.as<float>()[5], 5.0f);
  EXPECT_EQ(TensorView{}.rows(), 1);
  EXPECT_EQ(TensorView{}.columns(), 1);
}

}  // namespace
}  // namespace tritium
