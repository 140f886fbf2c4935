#include "model/tensor_source.h"

#include <gtest/gtest.h>

#include "error_text.h"
#include "tiny_model.h"

namespace tritium {
namespace {

class TensorSourceTest : public testing::Test {
 protected:
  // A file of 64 bytes, as a tensor source of one.
  TensorSourceTest() { writer_.add_floats("a", {4, 4}, std::vector<float>(16, 1.5f)); }
  TensorWriter writer_;
};

TEST_F(TensorSourceTest, GivesBackWhatWasAdded) {
  const TensorSource source = writer_.source();
  EXPECT_EQ(source.size(), 1u);
  EXPECT_TRUE(source.contains("a"));
  EXPECT_EQ(source.get("a").shape, (Shape{4, 4}));
  float value;
  std::memcpy(&value, source.get("a").data(), 4);
  EXPECT_EQ(value, 1.5f);
}

TEST_F(TensorSourceTest, NamesAMissingTensor) {
  const TensorSource source = writer_.source();
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.get("b"); }), "b is missing"));
}

TEST_F(TensorSourceTest, RefusesANameTwice) {
  TensorSource source = writer_.source();
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(source.get("a")); }), ") is given twice"));
}

TEST_F(TensorSourceTest, RefusesASpanThatLeavesTheFile) {
  TensorSource source = writer_.source();
  StoredTensor tensor = source.get("a");
  tensor.name = "b";
  tensor.offset = 1;
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "of 64 bytes"));
  tensor.offset = UINT64_MAX - 10;
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "leave the file"));
}

TEST_F(TensorSourceTest, RefusesALengthThatDoesNotFitTheShape) {
  TensorSource source = writer_.source();
  StoredTensor tensor = source.get("a");
  tensor.name = "b";
  tensor.shape = {4, 3};
  EXPECT_TRUE(
      contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "64 bytes stored, float32 [4, 3] needs 48"));
  tensor.shape = {INT64_MAX, INT64_MAX};
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "2^63"));
  tensor.shape = {-4, -4};
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "negative"));
}

TEST_F(TensorSourceTest, RefusesTernaryStripesThatAreNotAMatrixOfBytes) {
  TensorSource source = writer_.source();
  StoredTensor tensor = source.get("a");
  tensor.name = "b";
  tensor.encoding = Encoding::kTernaryStripes;
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { source.add(tensor); }), "must be uint8"));
}

}  // namespace
}  // namespace tritium
