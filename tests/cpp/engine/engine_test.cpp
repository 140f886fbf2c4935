// Engines: how they are built, what they keep of several models, and that they go on after every error.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/engine_builder.h"
#include "engine/session.h"
#include "error_text.h"
#include "tiny_model.h"
#include "tiny_network.h"

namespace tritium {
namespace {

constexpr size_t kInputs = 20, kOutputs = 7;

std::vector<float> infer(InferenceEngine& engine, const std::shared_ptr<const Model>& model,
                         const std::vector<float>& x) {
  std::vector<float> y(x.size() / kInputs * kOutputs);
  engine.infer(model, x, y);
  return y;
}

// A network with weights of its own, which die with it.
struct OwnedNetwork {
  std::unique_ptr<MemoryTensors> tensors;
  std::shared_ptr<const Model> model;

  explicit OwnedNetwork(uint32_t seed)
      : tensors(std::make_unique<MemoryTensors>(seed)), model(tiny_network(*tensors)) {}
};

TEST(EngineBuilder, CollectsTheOptions) {
  const EngineOptions defaults;
  EXPECT_FALSE(defaults.batch_size);
  EXPECT_EQ(defaults.memory_pool_size, 512'000'000u);
  EXPECT_EQ(defaults.level, OptimizationLevel::kBasic);
  const EngineBuilder builder = InferenceEngine::builder()
                                    .device("cpu")
                                    .enable_gpu_acceleration(false)
                                    .fallback()
                                    .threads(3)
                                    .batch_size(5)
                                    .memory_pool_size("1.5MiB")
                                    .memory_limit(size_t{3} << 20)
                                    .optimization_level("none")
                                    .ternary_format("2bit")
                                    .cache(std::nullopt);
  EXPECT_EQ(builder.options().gpu_acceleration, std::optional(false));
  EXPECT_FALSE(builder.options().cache);
  EXPECT_TRUE(builder.options().fallback);
  const auto engine = builder.build();
  EXPECT_EQ(engine->device(), DeviceKind::kCpu);
  EXPECT_EQ(engine->threads(), 3);
  EXPECT_EQ(engine->batch_size(), 5);
  EXPECT_EQ(engine->optimization_level(), OptimizationLevel::kNone);
  EXPECT_EQ(engine->memory_usage().pool.limit, (size_t{3} << 20) / 2);
  EXPECT_EQ(engine->memory_usage().total.limit, size_t{3} << 20);
  EXPECT_EQ(build_engine({.device = "cpu"})->batch_size(), 16);
  const OwnedNetwork network(1);
  EXPECT_EQ(engine->plan(*network.model, engine->plan_options(*network.model, {})).options.max_tokens, 5);
}

TEST(EngineBuilder, RefusesWhatCannotBe) {
  const auto builder = [] { return InferenceEngine::builder(); };
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { builder().batch_size(0).build(); }),
                       "batch_size must lie in [1, 65536] samples, got 0"));
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { builder().batch_size(70000).build(); }), "got 70000"));
  EXPECT_TRUE(contains(error_text<MemoryLimitError>([&] { builder().memory_pool_size("much"); }), "'much' is no size"));
  EXPECT_TRUE(
      contains(error_text<MemoryLimitError>([&] { builder().memory_pool_size(0).build(); }), "at least 1 byte"));
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { builder().optimization_level("fast"); }), "'fast'"));
  EXPECT_TRUE(contains(error_text<DeviceError>([&] { builder().threads(5000).build(); }), "5000 threads"));
  EXPECT_TRUE(contains(error_text<DeviceError>([&] { builder().device("cpu").enable_gpu_acceleration().build(); }),
                       "cpu is no GPU, and one is asked for"));
}

TEST(InferenceEngine, ResultsDoNotDependOnTheBatchSize) {
  const OwnedNetwork network(1);
  const auto x = random_samples(70, kInputs);
  const auto expected = infer(*InferenceEngine::builder().threads(1).build(), network.model, x);
  for (int64_t batch_size : {1, 7, 64, 1000}) {
    for (int threads : {1, 3}) {
      const auto engine = InferenceEngine::builder().threads(threads).batch_size(batch_size).build();
      EXPECT_EQ(infer(*engine, network.model, x), expected) << batch_size << " samples, " << threads << " threads";
    }
  }
}

TEST(InferenceEngine, KeepsEachModelPreparedUntilItIsGone) {
  const auto engine = InferenceEngine::builder().threads(2).build();
  const auto x = random_samples(20, kInputs);
  OwnedNetwork first(1), second(2);
  const auto a = infer(*engine, first.model, x), b = infer(*engine, second.model, x);
  const MemoryUsage both = engine->memory_usage();
  ASSERT_EQ(both.models.size(), 2u);
  EXPECT_EQ(both.weights, both.models[0].weights + both.models[1].weights);
  EXPECT_EQ(both.total.active, both.weights + both.pool.active);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(infer(*engine, first.model, x), a);
    EXPECT_EQ(infer(*engine, second.model, x), b);
  }
  EXPECT_EQ(engine->memory_usage().total.peak, both.total.peak) << "nothing was packed again";
  const std::weak_ptr<const Model> gone = first.model;
  first.model.reset();
  EXPECT_TRUE(gone.expired()) << "the engine does not keep it alive";
  EXPECT_EQ(infer(*engine, second.model, x), b);
  const MemoryUsage one = engine->memory_usage();
  ASSERT_EQ(one.models.size(), 1u);
  EXPECT_EQ(one.weights, both.models[0].weights);
  EXPECT_EQ(one.total.active, one.weights + one.pool.active);
}

TEST(InferenceEngine, ForgetsAModelWhenAsked) {
  const auto engine = InferenceEngine::builder().threads(1).build();
  const auto x = random_samples(3, kInputs);
  const OwnedNetwork first(1), second(2);
  const auto expected = infer(*engine, first.model, x);
  infer(*engine, second.model, x);
  engine->release(*first.model);
  engine->release(*first.model);
  EXPECT_EQ(engine->memory_usage().models.size(), 1u);
  EXPECT_GT(engine->memory_usage().pool.active, 0u);
  engine->release_all();
  const MemoryUsage usage = engine->memory_usage();
  EXPECT_TRUE(usage.models.empty());
  EXPECT_EQ(usage.total.active, 0u);
  EXPECT_EQ(usage.total.cached, 0u);
  EXPECT_EQ(infer(*engine, first.model, x), expected);
}

TEST(InferenceEngine, WhatASessionUsesStaysWithIt) {
  const auto engine = InferenceEngine::builder().threads(1).build();
  auto model = tiny_model();
  const auto tokens = random_tokens(9);
  const FloatMatrix expected = engine->infer(model, tokens);
  auto session = std::make_unique<Session>(engine, model, SessionOptions{.context_size = 20});
  ASSERT_EQ(engine->memory_usage().models.size(), 1u);
  const size_t weights = engine->memory_usage().weights;
  model.reset();
  engine->release_all();
  EXPECT_EQ(engine->memory_usage().weights, weights) << "they are shared";
  const FloatMatrix got = session->logits(session->open({}), tokens);
  EXPECT_TRUE(std::equal(got.data.get(), got.data.get() + got.rows * got.columns, expected.data.get()));
  EXPECT_GT(engine->memory_usage().kv_cache, 0u);
  session.reset();
  EXPECT_EQ(engine->memory_usage().total.active, 0u);
}

TEST(InferenceEngine, IdleModelsMakeRoomWhereMemoryIsShort) {
  const OwnedNetwork first(1), second(2);
  const auto x = random_samples(3, kInputs);
  const auto probe = InferenceEngine::builder().threads(1).build();
  const auto a = infer(*probe, first.model, x), b = infer(*probe, second.model, x);
  const ExecutionPlan plan = probe->plan(*first.model, probe->plan_options(*first.model, {}));
  // Enough for one of them at a time.
  const auto limit = static_cast<size_t>(plan.estimated_memory()) + 64;
  const auto engine = InferenceEngine::builder().threads(1).memory_limit(limit).build();
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(infer(*engine, first.model, x), a);
    EXPECT_EQ(infer(*engine, second.model, x), b);
    EXPECT_EQ(engine->memory_usage().models.size(), 1u);
  }
}

TEST(InferenceEngine, AModelThatNeverFitsDrivesNoOtherOut) {
  const OwnedNetwork network(1);
  MemoryTensors tensors;
  tensors.bit_linear("a", 3000, 30);
  tensors.bit_linear("b", 30, 3000);
  NetworkBuilder builder("wide", {30}, tensors.source);
  const auto wide = builder.build(builder.ternary_linear(builder.ternary_linear(builder.input(), "a", 3000), "b", 30));
  const auto engine = InferenceEngine::builder().threads(1).memory_limit("60kB").build();
  infer(*engine, network.model, random_samples(3, kInputs));
  EXPECT_TRUE(
      contains(error_text<MemoryLimitError>([&] { engine->infer(wide, std::vector<float>(30)); }), "'wide' needs "));
  EXPECT_EQ(engine->memory_usage().models.size(), 1u);
}

TEST(InferenceEngine, AnswersAndForgetsWhileOthersInfer) {
  const auto engine = InferenceEngine::builder().threads(2).build();
  const OwnedNetwork networks[] = {OwnedNetwork(1), OwnedNetwork(2)};
  const auto x = random_samples(40, kInputs);
  const std::vector<float> expected[] = {infer(*engine, networks[0].model, x), infer(*engine, networks[1].model, x)};
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (size_t i = 0; i < 2; ++i) {
    callers.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) wrong += infer(*engine, networks[i].model, x) != expected[i];
    });
    callers.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const MemoryUsage usage = engine->memory_usage();
        wrong += usage.models.size() > 2 || usage.total.active < usage.pool.active;
        if (round % 10 == 0) engine->release(*networks[i].model);
        if (round % 20 == 0) engine->release_all();
      }
    });
    callers.emplace_back([&] {
      for (uint32_t round = 0; round < 20; ++round) infer(*engine, OwnedNetwork(round).model, x);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(InferenceEngine, GoesOnAfterEveryKindOfError) {
  const auto engine = InferenceEngine::builder().threads(2).memory_pool_size("64kB").build();
  const OwnedNetwork network(1);
  const auto x = random_samples(5, kInputs);
  const auto expected = infer(*engine, network.model, x);
  const size_t before = engine->memory_usage().total.active;
  const auto goes_on = [&] {
    EXPECT_EQ(infer(*engine, network.model, x), expected);
    EXPECT_EQ(engine->memory_usage().total.active, before);
  };

  MemoryTensors wrong, large;
  wrong.add("a.weight", DType::kI8, Encoding::kTernaryTrits, {4, 5}, std::vector<std::byte>(20, std::byte{2}));
  wrong.add_floats("a.weight_scale", {1}, {1});
  NetworkBuilder no_trits("wrong", {5}, wrong.source);
  const auto wrong_model = no_trits.build(no_trits.ternary_linear(no_trits.input(), "a", 4));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { engine->infer(wrong_model, std::vector<float>(5)); }),
                       "2 at row 0, column 0"));
  goes_on();

  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { engine->infer(network.model, std::vector<float>(19)); }),
                       "19 numbers given"));
  goes_on();

  large.bit_linear("a", 3000, 30);
  large.bit_linear("b", 30, 3000);
  NetworkBuilder wide("wide", {30}, large.source);
  const auto wide_model = wide.build(wide.ternary_linear(wide.ternary_linear(wide.input(), "a", 3000), "b", 30));
  const std::string text = error_text<MemoryLimitError>([&] { engine->infer(wide_model, std::vector<float>(30)); });
  EXPECT_TRUE(contains(text, "a pass of 'wide' needs "));
  EXPECT_TRUE(contains(text, " of 64000 are free; a smaller batch_size needs less, a larger memory_pool_size"));
  goes_on();
  EXPECT_EQ(InferenceEngine::builder()
                .memory_pool_size("64kB")
                .batch_size(1)
                .threads(1)
                .build()
                ->infer(wide_model, std::vector<float>(30))
                .rows,
            1);

  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { engine->plan(*network.model, {.ternary_format = "3bit"}); }),
                       "'3bit'"));
  const auto other = InferenceEngine::builder().ternary_format("3bit").build();
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { infer(*other, network.model, x); }), "'3bit'"));
  goes_on();

  EXPECT_TRUE(contains(error_text<DeviceError>([&] { InferenceEngine::builder().device("mlx").build(); }),
                       "mlx is not in this build"));
  goes_on();
}

}  // namespace
}  // namespace tritium
