// Networks through the engine, and what it costs them in memory: the number of allocations is counted by an operator
// new of this program.
#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <new>
#include <thread>

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "engine/engine_builder.h"
#include "engine/session.h"
#include "error_text.h"
#include "tiny_model.h"
#include "tiny_network.h"
#include "tiny_operators.h"

namespace {

std::atomic<int64_t> g_allocations{0};
std::atomic<int64_t> g_frees{0};

void* counted_or_null(size_t bytes) noexcept {
  void* memory = std::malloc(bytes ? bytes : 1);
  if (memory) ++g_allocations;
  return memory;
}

void counted_free(void* memory) noexcept {
  if (memory) ++g_frees;
  std::free(memory);
}

void* counted(size_t bytes) {
  if (void* memory = counted_or_null(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return counted_or_null(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return counted_or_null(bytes); }
void operator delete(void* memory) noexcept { counted_free(memory); }
void operator delete[](void* memory) noexcept { counted_free(memory); }
void operator delete(void* memory, size_t) noexcept { counted_free(memory); }
void operator delete[](void* memory, size_t) noexcept { counted_free(memory); }

namespace tritium {
namespace {

constexpr int64_t kInputs = 20, kOutputs = 7;

std::shared_ptr<InferenceEngine> engine_with(int threads) {
  EngineOptions options;
  options.threads = threads;
  return build_engine(options);
}

std::string refused(const auto& action) { return error_text<BatchProcessingError>(action); }

TEST(NetworkInference, GivesAMatrixOrFillsMemoryOfTheCaller) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  const auto engine = engine_with(2);
  const auto x = random_samples(9, kInputs);
  const FloatMatrix y = engine->infer(model, x);
  EXPECT_EQ(y.rows, 9);
  EXPECT_EQ(y.columns, kOutputs);
  std::vector<float> memory(9 * kOutputs);
  engine->infer(model, x, memory);
  EXPECT_TRUE(std::equal(memory.begin(), memory.end(), y.data.get()));
  for (int64_t row = 0; row < 9; ++row) {
    float sum = 0;
    for (int64_t i = 0; i < kOutputs; ++i) sum += memory[static_cast<size_t>(row * kOutputs + i)];
    EXPECT_NEAR(sum, 1, 1e-5);  // it ends with a softmax
  }
}

TEST(NetworkInference, AllocatesNothingAfterTheFirstCalls) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  for (int threads : {1, 3}) {
    const auto engine = engine_with(threads);
    const auto x = random_samples(100, kInputs);
    std::vector<float> y(100 * kOutputs);
    const auto infer = [&](int64_t samples) {
      engine->infer(model, std::span(x).first(static_cast<size_t>(samples * kInputs)),
                    std::span(y).first(static_cast<size_t>(samples * kOutputs)));
    };
    for (int64_t samples : {1, 100}) infer(samples);
    const int64_t before = g_allocations;
    for (int64_t samples : {1, 2, 33, 100, 1}) infer(samples);
    EXPECT_EQ(g_allocations, before) << threads << " threads";
  }
  EXPECT_GT(g_allocations, 0);
}

TEST(NetworkInference, ModelsThatTakeTurnsAllocateNothing) {
  MemoryTensors one(1), two(2);
  const auto first = tiny_network(one), second = tiny_network(two);
  const auto engine = engine_with(2);
  const auto x = random_samples(40, kInputs);
  std::vector<float> y(40 * kOutputs);
  for (const auto& model : {first, second}) engine->infer(model, x, y);
  const int64_t before = g_allocations;
  for (int round = 0; round < 5; ++round) {
    engine->infer(first, x, y);
    engine->infer(second, x, y);
  }
  EXPECT_EQ(g_allocations, before);
}

TEST(NetworkInference, AModelThatStaysInTheCachesKeepsItsOwnFormat) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  EngineSettings settings;
  settings.ternary_format = "of memory";
  settings.cached_ternary_format = "of caches";
  const InferenceEngine engine(std::make_unique<CpuBackend>(1, select_kernel_set(), pool, std::nullopt), pool,
                               settings);
  EXPECT_EQ(engine.plan_options(*model, {}).ternary_format, "of caches");
}

TEST(NetworkInference, LoadsAndUnloadsLeaveNothingBehind) {
  MemoryTensors tensors;
  const auto keep = tiny_network(tensors);  // adds the tensors that the others use, too
  const auto engine = engine_with(2);
  const auto x = random_samples(4, kInputs);
  std::vector<float> y(4 * kOutputs);
  const auto load_and_unload = [&] {
    NetworkBuilder builder("tiny", {4, 5}, tensors.source);
    const NetworkValue up = builder.ternary_linear(builder.flatten(builder.input()), "up", 40);
    const NetworkValue down = builder.ternary_linear(builder.rms_norm(up, "down.rms_norm", 1e-5), "down", 20);
    const NetworkValue last = builder.ternary_linear(builder.layer_norm(down, "norm", 1e-5), "last", 30);
    const auto model = builder.build(builder.dense_linear(last, "scores", 7));
    engine->infer(model, x, y);
  };
  for (int i = 0; i < 10; ++i) load_and_unload();
  const MemoryStats before = engine->memory_usage().total;
  const int64_t live = g_allocations - g_frees;
  for (int i = 0; i < 10'000; ++i) load_and_unload();
  const MemoryStats after = engine->memory_usage().total;
  EXPECT_EQ(g_allocations - g_frees, live);
  EXPECT_EQ(after.active, before.active);
  EXPECT_EQ(after.cached, before.cached);
  EXPECT_EQ(after.peak, before.peak);
}

TEST(NetworkInference, AllocatesNothingForACustomOperator) {
  EngineOptions options;
  options.threads = 2;
  options.custom_operators = {outer_operator()};
  const auto engine = build_engine(options);
  const TensorSource source;
  NetworkBuilder builder("outer", {3}, source);
  const auto model = builder.build(builder.custom({builder.input(), builder.input()}, outer_operator()));
  const auto x = random_samples(70, 3);
  std::vector<float> y(70 * 9);
  engine->infer(model, x, y);
  const int64_t before = g_allocations;
  engine->infer(model, x, y);
  engine->infer(model, std::span(x).first(3), std::span(y).first(9));
  EXPECT_EQ(g_allocations, before);
}

TEST(NetworkInference, RefusesWhatDoesNotFitAndGoesOn) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  const auto engine = engine_with(1);
  std::vector<float> y(2 * kOutputs);
  EXPECT_TRUE(contains(refused([&] { engine->infer(model, std::vector<float>(21)); }),
                       "21 numbers given; at least one sample of 20 of [4, 5] is needed, and whole ones"));
  EXPECT_TRUE(contains(refused([&] { engine->infer(model, std::span<const float>()); }), "0 numbers given"));
  EXPECT_TRUE(contains(refused([&] { engine->infer(model, std::vector<float>(60), y); }),
                       "room for 14 numbers, 3 samples of [7] need 21"));
  EXPECT_TRUE(contains(refused([&] { engine->infer(model, std::vector<int32_t>{1}); }), "not a language model"));
  EXPECT_TRUE(contains(refused([&] { engine->infer(tiny_model(), std::vector<float>(20)); }),
                       "'bitnet' is a language model that takes token ids, not float32 samples"));
  EXPECT_TRUE(
      contains(refused([&] { engine->plan_options(*model, {.context_size = 5}); }), "has no context; context_size 5"));
  EXPECT_TRUE(contains(refused([&] { engine->plan_options(*model, {.kv_dtype = KVDType::kInt8}); }),
                       "keeps no keys and values; kv_dtype int8"));
  EXPECT_TRUE(contains(refused([&] { Session(engine, model, {}); }), "not a language model"));
  engine->infer(model, std::vector<float>(40), y);
}

TEST(NetworkInference, CallsFromSeveralThreadsQueue) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  const auto engine = engine_with(2);
  const auto x = random_samples(40, kInputs);
  std::vector<float> expected(40 * kOutputs);
  engine->infer(model, x, expected);
  std::atomic<int> different{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      std::vector<float> y(expected.size());
      for (int round = 0; round < 50; ++round) {
        engine->infer(model, x, y);
        different += y != expected;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(different, 0);
}

TEST(NetworkInference, ResultsDoNotDependOnTheCallersFloatEnvironment) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  const auto engine = engine_with(1);
  const auto x = random_samples(3, kInputs);
  std::vector<float> expected(3 * kOutputs), y(3 * kOutputs);
  engine->infer(model, x, expected);
  std::fesetround(FE_UPWARD);
  engine->infer(model, x, y);
  const int after = std::fegetround();
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(y, expected);
  EXPECT_EQ(after, FE_UPWARD);
}

}  // namespace
}  // namespace tritium
