#include "model/network_builder.h"

#include <gtest/gtest.h>

#include "error_text.h"
#include "tiny_network.h"

namespace tritium {
namespace {

std::string load_error(const auto& action) { return error_text<ModelLoadError>(action); }

TEST(NetworkBuilder, MakesAModelOfItsLayers) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  EXPECT_EQ(model->name(), "tiny");
  EXPECT_EQ(model->input_shape(), (Shape{4, 5}));
  EXPECT_EQ(model->output_shape(), (Shape{7}));
  EXPECT_FALSE(model->is_language_model());
  EXPECT_EQ(model->ternary_parameter_count(), 40 * 20 + 20 * 40 + 30 * 20);
  EXPECT_EQ(model->parameter_count(), model->ternary_parameter_count() + 40 + 40 + 20 + 20 + 30 * 7 + 7);
  EXPECT_EQ(model->graph().describe(),
            "up: ternary_linear(samples) -> up [samples, 40]\n"
            "up.gelu: gelu(up) -> up.gelu [samples, 40]\n"
            "down.rms_norm: rms_norm(up.gelu) -> down.rms_norm [samples, 40]\n"
            "down: ternary_linear(down.rms_norm) -> down [samples, 20]\n"
            "samples.add: add(samples, down) -> samples.add [samples, 20]\n"
            "norm: layer_norm(samples.add) -> norm [samples, 20]\n"
            "last: ternary_linear(norm) -> last [samples, 30]\n"
            "last.relu2: relu2(last) -> last.relu2 [samples, 30]\n"
            "scores: dense_linear(last.relu2) -> scores.output [samples, 7]\n"
            "scores.output.softmax: softmax(scores.output) -> scores.output.softmax [samples, 7]\n");
}

TEST(NetworkBuilder, AConfigurationOfANetworkIsAnErrorThatSaysWhatItTakes) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { model->config(); }),
                       "'tiny' is a network that takes float32 samples of shape [4, 5], not a language model"));
}

TEST(NetworkBuilder, TakesScalesOfRowsAndOfTheMatrix) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 6, 4, 0.5f);
  tensors.trits("b.weight", 6, 6);
  tensors.add_floats("b.weight_scale", {6}, {1, 2, 3, 4, 5, 6});
  NetworkBuilder builder("scales", {4}, tensors.source);
  const auto a = builder.ternary_linear(builder.input(), "a", 6);
  const auto model = builder.build(builder.ternary_linear(a, "b", 6, ScaleDirection::kDivide));
  EXPECT_EQ(model->ternary_weights()[0].stored_scale, 0.5f);
  EXPECT_TRUE(model->ternary_weights()[0].row_scales.empty());
  EXPECT_EQ(model->ternary_weights()[1].row_scales, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(model->ternary_weights()[1].direction, ScaleDirection::kDivide);
}

TEST(NetworkBuilder, RefusesTensorsOfAnotherShapeOrKind) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 6, 4);
  tensors.trits("b.weight", 6, 4);
  tensors.add_floats("b.weight_scale", {2}, {1, 2});
  tensors.floats("c.weight", {6, 4});
  tensors.trits("d.weight", 6, 4);
  tensors.floats("d.weight_scale", {6, 3}, 10);
  tensors.floats("norm.weight", {5});
  NetworkBuilder builder("wrong", {4}, tensors.source);
  const auto x = builder.input();
  EXPECT_TRUE(contains(load_error([&] { builder.ternary_linear(x, "a", 7); }),
                       "a.weight (memory) has shape [6, 4], the model needs [7, 4]"));
  EXPECT_TRUE(contains(load_error([&] { builder.ternary_linear(x, "b", 6); }),
                       "b.weight_scale (memory) has shape [2], the model needs [1], [6] or [6, groups]"));
  EXPECT_TRUE(contains(load_error([&] { builder.ternary_linear(x, "d", 6); }),
                       "d.weight_scale (memory) has shape [6, 3], the model needs [1], [6] or [6, groups], groups a "
                       "divisor of 4"));
  EXPECT_TRUE(contains(load_error([&] { builder.ternary_linear(x, "c", 6); }), "must be ternary, got plain float32"));
  EXPECT_TRUE(contains(load_error([&] { builder.dense_linear(x, "a", 6); }), "must hold float32, float16 or bfloat16"));
  EXPECT_TRUE(contains(load_error([&] { builder.rms_norm(x, "norm", 1e-5); }), "has shape [5], the model needs [4]"));
  EXPECT_TRUE(contains(load_error([&] { builder.layer_norm(x, "norm", 0); }), "norm: eps must lie in (0, 1), got 0"));
  EXPECT_TRUE(
      contains(load_error([&] { builder.dense_linear(x, "c", 0); }), "outputs must lie in [1, 4194304], got 0"));
  EXPECT_TRUE(contains(load_error([&] { builder.add(x, builder.dense_linear(x, "c", 6)); }),
                       "samples.add adds samples of shape [4] and [6]"));
}

TEST(NetworkBuilder, NeedsFlatSamplesForLinearsNormsAndSoftmax) {
  MemoryTensors tensors;
  NetworkBuilder builder("image", {2, 3}, tensors.source);
  const auto x = builder.input();
  const std::string expected = "needs samples with 1 dimension, got 2 with shape [2, 3]; flatten them";
  EXPECT_TRUE(contains(load_error([&] { builder.ternary_linear(x, "a", 7); }), expected));
  EXPECT_TRUE(contains(load_error([&] { builder.dense_linear(x, "a", 7); }), expected));
  EXPECT_TRUE(contains(load_error([&] { builder.rms_norm(x, "a", 1e-5); }), expected));
  EXPECT_TRUE(contains(load_error([&] { builder.layer_norm(x, "a", 1e-5); }), expected));
  EXPECT_TRUE(contains(load_error([&] { builder.softmax(x); }), expected));
  EXPECT_EQ(builder.flatten(x).shape, (Shape{6}));
  EXPECT_EQ(builder.activation(x, ActivationKind::kRelu).shape, (Shape{2, 3}));
}

TEST(NetworkBuilder, NamesWhatIsMissingAndWhatIsLeftOver) {
  MemoryTensors tensors;
  tensors.trits("a.weight", 6, 4);
  tensors.floats("a.biass", {6});
  {
    NetworkBuilder builder("missing", {4}, tensors.source);
    const auto y = builder.ternary_linear(builder.input(), "a", 6);
    EXPECT_TRUE(contains(load_error([&] { builder.build(y); }),
                         "1 tensors that the model asks for are missing: a.weight_scale"));
  }
  tensors.add_floats("a.weight_scale", {1}, {1});
  NetworkBuilder builder("left over", {4}, tensors.source);
  const auto y = builder.ternary_linear(builder.input(), "a", 6);
  EXPECT_TRUE(contains(load_error([&] { builder.build(y); }), "1 of 3 tensors have no place in the model: a.biass"));
}

TEST(NetworkBuilder, RefusesImpossibleInputsAndEmptyNetworks) {
  MemoryTensors tensors;
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, -1}, Shape{1 << 20, 1 << 20}}) {
    EXPECT_TRUE(contains(load_error([&] { NetworkBuilder("n", shape, tensors.source); }), "got " + shape_text(shape)));
  }
  NetworkBuilder builder("empty", {4}, tensors.source);
  EXPECT_TRUE(contains(load_error([&] { builder.build(builder.input()); }), "'empty' has 0 layers"));
}

TEST(TensorSource, TakesTritsAsInt8MatricesOnly) {
  MemoryTensors tensors;
  EXPECT_TRUE(contains(
      load_error([&] { tensors.add("w", DType::kI8, Encoding::kTernaryTrits, {4}, std::vector<std::byte>(4)); }),
      "trits must be int8 with 2 dimensions, got int8 [4]"));
  EXPECT_TRUE(contains(
      load_error([&] { tensors.add("w", DType::kU8, Encoding::kTernaryTrits, {2, 2}, std::vector<std::byte>(4)); }),
      "got uint8 [2, 2]"));
}

}  // namespace
}  // namespace tritium
