#include "model/custom_operator.h"

#include <gtest/gtest.h>

#include "error_text.h"
#include "tiny_network.h"
#include "tiny_operators.h"

namespace tritium {
namespace {

std::string load_error(const auto& action) { return error_text<ModelLoadError>(action); }
std::string plan_error(const auto& action) { return error_text<OptimizationError>(action); }

TEST(CustomOperator, TakesValuesOfAnyNumberAndShapeInANetwork) {
  const TensorSource source;
  NetworkBuilder builder("outer", {2, 3}, source);
  const NetworkValue x = builder.custom({builder.input()}, squash_operator());
  EXPECT_EQ(x.shape, (Shape{2, 3}));
  const NetworkValue flat = builder.flatten(x);
  const NetworkValue y = builder.custom({flat, builder.flatten(builder.input())}, outer_operator(), "all");
  EXPECT_EQ(y.shape, (Shape{6, 6}));
  const auto model = builder.build(builder.activation(y, ActivationKind::kRelu));
  EXPECT_EQ(model->output_shape(), (Shape{6, 6}));
  EXPECT_EQ(model->parameter_count(), 0);
  EXPECT_EQ(model->graph().describe(),
            "samples.squash: custom:squash(samples) -> samples.squash [samples, 6]\n"
            "all: custom:outer(samples.squash, samples) -> all [samples, 36]\n"
            "all.relu: relu(all) -> all.relu [samples, 36]\n");
}

TEST(CustomOperator, GivenByNameMakesTheSameGraph) {
  const TensorSource source;
  const auto graph = [&](const auto& add) {
    NetworkBuilder builder("n", {3}, source);
    return builder.build(add(builder, builder.input()))->graph();
  };
  const Graph whole =
      graph([](NetworkBuilder& b, const NetworkValue& x) { return b.custom({x, x}, outer_operator()); });
  const Graph named = graph([](NetworkBuilder& b, const NetworkValue& x) { return b.custom({x, x}, "outer", {3, 3}); });
  EXPECT_EQ(whole.describe(), named.describe());
  for (const Graph& each : {whole, named}) {
    const auto& op = std::get<CustomOp>(each.operators[0].kind);
    EXPECT_EQ(op.name, "outer");
    EXPECT_EQ(op.input_shapes, (std::vector<Shape>{{3}, {3}}));
    EXPECT_EQ(op.output_shape, (Shape{3, 3}));
  }
}

TEST(CustomOperator, ThatCannotTakeItsInputsIsALoadErrorOfTheBuilder) {
  const TensorSource source;
  NetworkBuilder builder("n", {2, 3}, source);
  const NetworkValue x = builder.input();
  EXPECT_EQ(load_error([&] { builder.custom({x}, outer_operator()); }),
            "[operator] 'outer' cannot take samples of [2, 3]: 2 inputs are needed");
  EXPECT_TRUE(contains(load_error([&] { builder.custom({}, "squash", {3}); }), "squash has 0 inputs"));
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, -1}, Shape{1 << 20, 1 << 20}}) {
    const CustomOperator op{"odd", [&](auto) { return shape; }, squash_operator().run};
    EXPECT_TRUE(contains(load_error([&] { builder.custom({x}, op); }), "elements, got " + shape_text(shape)));
    EXPECT_TRUE(contains(load_error([&] { builder.custom({x}, "odd", shape); }), "got " + shape_text(shape)));
  }
}

TEST(CustomOperators, AreFoundByName) {
  const CustomOperators operators({squash_operator(), outer_operator()});
  EXPECT_EQ(operators.find("outer").name, "outer");
  EXPECT_EQ(
      plan_error([&] { operators.find("oute"); }),
      "[operator] the model uses 'oute', which is not registered with this engine; registered: 'squash', 'outer'");
  EXPECT_TRUE(contains(plan_error([&] { CustomOperators().find("squash"); }), "with this engine; nothing is"));
}

TEST(CustomOperators, HaveNamesOfTheirOwnAndBothFunctions) {
  const auto refused = [](std::vector<CustomOperator> operators) {
    return plan_error([&] { CustomOperators{std::move(operators)}; });
  };
  EXPECT_TRUE(contains(refused({squash_operator(), outer_operator(), squash_operator()}),
                       "'squash' is registered twice; names must differ"));
  CustomOperator nameless = squash_operator(), empty = squash_operator(), shapeless = squash_operator();
  nameless.name.clear();
  empty.run = nullptr;
  shapeless.infer_shape = nullptr;
  EXPECT_TRUE(contains(refused({nameless}), "needs a name"));
  EXPECT_TRUE(contains(refused({empty}), "'squash' needs both functions"));
  EXPECT_TRUE(contains(refused({shapeless}), "'squash' needs both functions"));
}

TEST(CustomOperators, MustInferTheShapeThatTheModelWasMadeFor) {
  const CustomOperators operators({squash_operator(), outer_operator()});
  operators.check({"outer", {{2}, {3}}, {2, 3}});
  EXPECT_EQ(plan_error([&] { operators.check({"outer", {{2}, {3}}, {6}}); }),
            "[operator] 'outer' makes samples of [2, 3] from [2] and [3], the model was made for [6]");
  EXPECT_EQ(plan_error([&] { operators.check({"outer", {{2}}, {6}}); }),
            "[operator] 'outer' cannot take samples of [2]: 2 inputs are needed");
  EXPECT_TRUE(contains(plan_error([&] { operators.check({"pool", {{2}}, {1}}); }), "'pool', which is not registered"));
}

}  // namespace
}  // namespace tritium
