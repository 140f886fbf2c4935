// Custom operators on the CPU backend: between operators of ours, and against the same computed by hand.
#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <thread>

#include "backend/cpu_backend.h"
#include "error_text.h"
#include "kernels/dispatch.h"
#include "tiny_network.h"
#include "tiny_operators.h"

namespace tritium {
namespace {

struct Runner {
  CpuBackend backend;
  std::shared_ptr<PreparedModel> prepared;

  Runner(std::shared_ptr<const Model> model, std::vector<CustomOperator> operators, int threads = 1,
         const kernels::KernelSet& kernels = kernels::best_kernel_set(),
         OptimizationLevel level = OptimizationLevel::kBasic, int64_t max_samples = 32)
      : backend(threads, kernels, std::make_shared<MemoryPool>(SIZE_MAX), std::nullopt,
                CustomOperators(std::move(operators))),
        prepared(backend.optimize_model(std::move(model), {level, max_samples, 1, 1})) {}

  std::vector<float> run(const std::vector<float>& x) {
    const Model& model = prepared->model();
    const int64_t samples = static_cast<int64_t>(x.size()) / element_count(model.input_shape());
    std::vector<float> y(static_cast<size_t>(samples * element_count(model.output_shape())), -1);
    backend.execute_samples(*prepared, x.data(), samples, y.data());
    return y;
  }
};

// 20 -> 12, squashed, -> 5.
std::shared_ptr<const Model> squashed_network(const TensorSource& source) {
  NetworkBuilder builder("squashed", {20}, source);
  const auto x = builder.custom({builder.ternary_linear(builder.input(), "a", 12)}, squash_operator());
  return builder.build(builder.ternary_linear(x, "b", 5));
}

// One linear layer of it alone.
std::shared_ptr<const Model> part(const MemoryTensors& tensors, const std::string& name, int64_t in, int64_t out) {
  TensorSource source;
  for (const char* tensor : {".weight", ".weight_scale"}) source.add(tensors.source.get(name + tensor));
  NetworkBuilder builder(name, {in}, source);
  return builder.build(builder.ternary_linear(builder.input(), name, out));
}

TEST(CustomOperator, GivesWhatItsFunctionGivesForEveryKernelSetThreadCountLevelAndPass) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 12, 20);
  tensors.bit_linear("b", 5, 12);
  const auto model = squashed_network(tensors.source);
  const auto x = random_samples(70, 20);
  std::vector<float> hidden = Runner(part(tensors, "a", 20, 12), {}).run(x);
  for (float& value : hidden) value = squash(value);
  const std::vector<float> expected = Runner(part(tensors, "b", 12, 5), {}).run(hidden);
  for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
    if (!kernels::is_supported(**set)) continue;
    for (int threads : {1, 2, 3, 4}) {
      for (OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
        for (int64_t max_samples : {1, 7, 32, 100}) {
          Runner runner(model, {squash_operator()}, threads, **set, level, max_samples);
          EXPECT_EQ(runner.run(x), expected)
              << (*set)->name << ", " << threads << " threads, " << max_samples << " samples a pass";
        }
      }
    }
  }
}

TEST(CustomOperator, ReadsSeveralInputsInOrderAndMakesAnotherShape) {
  const TensorSource source;
  NetworkBuilder builder("outer", {3}, source);
  const auto y = builder.custom({builder.input()}, squash_operator());
  const auto model = builder.build(builder.custom({builder.input(), y}, outer_operator()));
  const auto x = random_samples(5, 3);
  const auto result = Runner(model, {outer_operator(), squash_operator()}, 2).run(x);
  ASSERT_EQ(result.size(), 5u * 9);
  for (size_t i = 0; i < result.size(); ++i) {
    const float* sample = &x[i / 9 * 3];
    EXPECT_EQ(result[i], sample[i % 9 / 3] * squash(sample[i % 3])) << i;
  }
}

// Two operators that write from the last element to the first would see their inputs change if they shared bytes.
TEST(CustomOperator, WritesOverNoneOfItsInputs) {
  const auto overlap = [](std::span<const TensorView> inputs, const MutableTensorView& output) {
    const auto* first = output.as<float>();
    const auto* end = first + element_count(output.shape);
    for (const TensorView& input : inputs) {
      EXPECT_TRUE(input.as<float>() + element_count(input.shape) <= first || end <= input.as<float>());
    }
    std::fill_n(output.as<float>(), element_count(output.shape), 1.0f);
  };
  const CustomOperator op = operator_that("overlap", overlap);
  const TensorSource source;
  NetworkBuilder builder("chain", {6}, source);
  auto x = builder.custom({builder.input()}, op, "0");
  for (const char* name : {"1", "2", "3"}) x = builder.custom({x, x}, op, name);
  EXPECT_EQ(Runner(builder.build(x), {op}).run(random_samples(40, 6)), std::vector<float>(40 * 6, 1));
}

TEST(CustomOperator, IsCalledByTheCallersThreadWithTheSamplesOfAPass) {
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<Shape> shapes;
  const CustomOperator op = operator_that("watch", [&](std::span<const TensorView> inputs, const auto& output) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(inputs.size(), 1u);
    EXPECT_EQ(inputs[0].dtype, DType::kF32);
    EXPECT_EQ(output.dtype, DType::kF32);
    EXPECT_EQ(inputs[0].shape, output.shape);
    shapes.push_back(output.shape);
    std::fill_n(output.template as<float>(), element_count(output.shape), 0.0f);
  });
  const TensorSource source;
  NetworkBuilder builder("watched", {2, 3}, source);
  Runner runner(builder.build(builder.custom({builder.input()}, op)), {op}, 4);
  runner.run(random_samples(70, 6));
  runner.run(random_samples(1, 6));
  EXPECT_EQ(shapes, (std::vector<Shape>{{32, 2, 3}, {32, 2, 3}, {6, 2, 3}, {1, 2, 3}}));
}

TEST(CustomOperator, IsAStepOfThePlanByItsName) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 12, 20);
  tensors.bit_linear("b", 5, 12);
  const Runner runner(squashed_network(tensors.source), {squash_operator()});
  const ExecutionPlan& plan = runner.prepared->plan();
  ASSERT_EQ(plan.steps.size(), 5u);
  EXPECT_EQ(step_name(plan.steps[2].kind), "custom:squash");
  EXPECT_EQ(plan.steps[2].name, "a.squash");
  const PlanValue& in = plan.values[plan.steps[2].inputs[0]];
  const PlanValue& out = plan.values[plan.steps[2].outputs[0]];
  EXPECT_EQ(out.width, 12);
  EXPECT_TRUE(contains(plan.describe(), concat("custom:squash        (a@", in.offset, ") -> (a.squash@", out.offset)));
  const int64_t bytes = 32 * 12 * 4;  // of 32 samples
  EXPECT_TRUE(in.offset + bytes <= out.offset || out.offset + bytes <= in.offset);
  EXPECT_LE(std::max(in.offset, out.offset) + bytes, plan.memory.arena);
}

TEST(CustomOperator, ThatIsNotRegisteredOrInfersAnotherShapeStopsThePlan) {
  const TensorSource source;
  NetworkBuilder builder("named", {4}, source);
  const auto model = builder.build(builder.custom({builder.input()}, "squash", {3}));
  const auto refused = [&](std::vector<CustomOperator> operators) {
    return error_text<OptimizationError>([&] { Runner(model, std::move(operators)); });
  };
  EXPECT_TRUE(contains(refused({outer_operator()}),
                       "'squash', which is not registered with this engine; registered: "
                       "'outer'"));
  EXPECT_TRUE(
      contains(refused({squash_operator()}), "'squash' makes samples of [4] from [4], the model was made for [3]"));
  CpuBackend backend(1, kernels::best_kernel_set(), std::make_shared<MemoryPool>(SIZE_MAX));
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { backend.plan(*model, {.context_size = 1}); }),
                       "registered with this engine; nothing is"));
}

TEST(CustomOperator, ThatThrowsIsNamedAndTheNextCallGivesRightResults) {
  bool fails = false;
  const CustomOperator op = operator_that("moody", [&](std::span<const TensorView> inputs, const auto& output) {
    if (fails) throw std::out_of_range("not today");
    squash_operator().run(inputs, output);
  });
  MemoryTensors tensors;
  tensors.bit_linear("a", 12, 20);
  NetworkBuilder builder("moody", {20}, tensors.source);
  const auto x = builder.ternary_linear(builder.input(), "a", 12);
  Runner runner(builder.build(builder.custom({x}, op, "mood")), {op}, 2);
  const auto samples = random_samples(40, 20);
  const auto expected = runner.run(samples);
  for (int round = 0; round < 3; ++round) {
    fails = true;
    EXPECT_EQ(error_text<BatchProcessingError>([&] { runner.run(samples); }),
              "[operator] 'moody' failed at layer 'mood': not today");
    fails = false;
    EXPECT_EQ(runner.run(samples), expected);
  }
  fails = true;
  try {
    runner.run(samples);
    FAIL();
  } catch (const std::nested_exception& error) {
    EXPECT_THROW(error.rethrow_nested(), std::out_of_range);
  }
}

TEST(CustomOperator, CannotChangeTheFloatEnvironmentOfWhatFollows) {
  const auto turned = [](bool turns) {
    return operator_that("turn", [turns](std::span<const TensorView> inputs, const auto& output) {
      squash_operator().run(inputs, output);
      if (turns) std::fesetround(FE_UPWARD);
    });
  };
  const TensorSource source;
  NetworkBuilder builder("turn", {6}, source);
  const auto model = builder.build(builder.softmax(builder.custom({builder.input()}, turned(false))));
  const auto x = random_samples(9, 6);
  const auto expected = Runner(model, {turned(false)}).run(x);
  EXPECT_EQ(Runner(model, {turned(true)}).run(x), expected);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

}  // namespace
}  // namespace tritium
