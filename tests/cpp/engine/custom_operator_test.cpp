// Custom operators through the engine.
#include <gtest/gtest.h>

#include <thread>

#include "engine/engine_builder.h"
#include "error_text.h"
#include "tiny_network.h"
#include "tiny_operators.h"

namespace tritium {
namespace {

std::shared_ptr<InferenceEngine> engine_with(std::vector<CustomOperator> operators) {
  EngineOptions options;
  options.threads = 2;
  options.custom_operators = std::move(operators);
  return build_engine(options);
}

std::shared_ptr<const Model> network_of(const CustomOperator& op, int64_t width = 6) {
  static const TensorSource source;
  NetworkBuilder builder("network", {width}, source);
  return builder.build(builder.custom({builder.input()}, op));
}

std::vector<float> infer(InferenceEngine& engine, const std::shared_ptr<const Model>& model,
                         const std::vector<float>& x) {
  std::vector<float> y(x.size());
  engine.infer(model, x, y);
  return y;
}

TEST(CustomOperatorEngine, RunsWhatWasRegisteredAndRefusesTwoOfOneName) {
  const auto x = random_samples(50, 6);
  std::vector<float> expected = x;
  for (float& value : expected) value = squash(value);
  EXPECT_EQ(infer(*engine_with({squash_operator()}), network_of(squash_operator()), x), expected);
  EXPECT_TRUE(contains(error_text<OptimizationError>([] { engine_with({squash_operator(), squash_operator()}); }),
                       "'squash' is registered twice"));
}

TEST(CustomOperatorEngine, GoesOnAfterAModelWhoseOperatorItDoesNotHave) {
  const auto engine = engine_with({squash_operator()});
  const auto known = network_of(squash_operator()), unknown = network_of(operator_that("other", [](auto, auto) {}));
  const auto x = random_samples(3, 6);
  const auto expected = infer(*engine, known, x);
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { infer(*engine, unknown, x); }),
                       "'other', which is not registered with this engine; registered: 'squash'"));
  EXPECT_EQ(infer(*engine, known, x), expected);
}

TEST(CustomOperatorEngine, ACallFromWithinACallIsAnErrorAndOneOfAnotherEngineIsNot) {
  const auto inner = engine_with({squash_operator()});
  std::weak_ptr<InferenceEngine> used = inner;
  const auto model = network_of(squash_operator());
  const CustomOperator op = operator_that("calls", [&](std::span<const TensorView> inputs, const auto& output) {
    const auto size = static_cast<size_t>(element_count(output.shape));
    used.lock()->infer(model, std::span(inputs[0].as<float>(), size), std::span(output.template as<float>(), size));
  });
  const auto outer = engine_with({op, squash_operator()});
  const auto x = random_samples(40, 6);
  const auto expected = infer(*inner, model, x);
  EXPECT_EQ(infer(*outer, network_of(op), x), expected);
  used = outer;
  EXPECT_TRUE(
      contains(error_text<BatchProcessingError>([&] { infer(*outer, network_of(op), x); }),
               "[operator] 'calls' failed at layer 'samples.calls': [engine] this call comes from within a call "
               "of the same engine"));
  used = inner;
  EXPECT_EQ(infer(*outer, network_of(op), x), expected);
}

TEST(CustomOperatorEngine, CallsFromSeveralThreadsRunTheOperatorOneByOne) {
  std::atomic<int> inside{0}, most{0}, different{0};
  const CustomOperator op = operator_that("alone", [&](std::span<const TensorView> inputs, const auto& output) {
    most = std::max(most.load(), ++inside);
    squash_operator().run(inputs, output);
    std::this_thread::yield();
    --inside;
  });
  const auto engine = engine_with({op});
  const auto model = network_of(op);
  const auto x = random_samples(70, 6);
  const auto expected = infer(*engine, model, x);
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) different += infer(*engine, model, x) != expected;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(different, 0);
  EXPECT_EQ(most, 1);
}

}  // namespace
}  // namespace tritium
