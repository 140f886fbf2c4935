// Networks on the CPU backend.
#include <gtest/gtest.h>

#include "backend/cpu_backend.h"
#include "kernels/dispatch.h"
#include "tiny_network.h"

namespace tritium {
namespace {

constexpr int64_t kInputs = 20, kOutputs = 7;

struct NetworkRunner {
  std::shared_ptr<MemoryPool> pool = std::make_shared<MemoryPool>(SIZE_MAX);
  CpuBackend backend;
  std::shared_ptr<PreparedModel> prepared;

  NetworkRunner(std::shared_ptr<const Model> model, int threads,
                const kernels::KernelSet& kernels = kernels::best_kernel_set(),
                OptimizationLevel level = OptimizationLevel::kBasic, int64_t max_samples = 32)
      : backend(threads, kernels, pool),
        prepared(backend.optimize_model(std::move(model), {level, max_samples, 1, 1})) {}

  std::vector<float> run(const std::vector<float>& x, int64_t inputs = kInputs, int64_t outputs = kOutputs) {
    const int64_t samples = static_cast<int64_t>(x.size()) / inputs;
    std::vector<float> y(static_cast<size_t>(samples * outputs), -1);
    backend.execute_samples(*prepared, x.data(), samples, y.data());
    return y;
  }
};

TEST(Network, GivesTheSameBitsForEveryKernelSetThreadCountLevelAndPass) {
  MemoryTensors tensors;
  const auto model = tiny_network(tensors);
  const auto x = random_samples(70, kInputs);
  NetworkRunner plain(model, 1, *kernels::find_kernel_set("scalar"), OptimizationLevel::kNone, 70);
  const auto expected = plain.run(x);
  for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
    if (!kernels::is_supported(**set)) continue;
    for (int threads : {1, 2, 5}) {
      for (OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
        for (int64_t max_samples : {1, 7, 32, 100}) {
          NetworkRunner runner(model, threads, **set, level, max_samples);
          EXPECT_EQ(runner.run(x), expected)
              << (*set)->name << ", " << threads << " threads, " << max_samples << " samples a pass";
        }
      }
    }
  }
}

// Wide enough for the steps to be split among the threads, and more weights than a thread would read alone.
TEST(Network, SplitsTheStepsOfFewSamplesWithoutChangingABit) {
  MemoryTensors tensors;
  constexpr int64_t kWide = 2048;
  tensors.bit_linear("a", kWide, kWide);
  tensors.trits("b.weight", kWide, kWide);
  tensors.floats("b.weight_scale", {kWide, 16}, 10);
  NetworkBuilder builder("wide", {kWide}, tensors.source);
  const auto hidden = builder.activation(builder.ternary_linear(builder.input(), "a", kWide), ActivationKind::kSilu);
  const auto model = builder.build(builder.add(builder.input(), builder.ternary_linear(hidden, "b", kWide)));
  NetworkRunner one(model, 1), three(model, 3);
  for (int64_t samples : {1, 2, 23, 24, 40}) {
    const auto x = random_samples(samples, kWide);
    EXPECT_EQ(three.run(x, kWide, kWide), one.run(x, kWide, kWide)) << samples;
  }
}

TEST(Network, GivesEachSampleTheSameBitsAloneAndInABatch) {
  MemoryTensors tensors;
  NetworkRunner runner(tiny_network(tensors), 2);
  const auto x = random_samples(50, kInputs);
  const auto together = runner.run(x);
  for (int64_t sample = 0; sample < 50; ++sample) {
    const auto alone = runner.run({x.begin() + sample * kInputs, x.begin() + (sample + 1) * kInputs});
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + sample * kOutputs)) << sample;
  }
}

TEST(Network, KeepsOneArenaAndStaysWithinTheEstimate) {
  MemoryTensors tensors;
  NetworkRunner runner(tiny_network(tensors), 2);
  const MemoryEstimate& memory = runner.prepared->plan().memory;
  EXPECT_EQ(memory.kv_cache, 0);
  EXPECT_EQ(memory.outputs, 0);
  runner.run(random_samples(100, kInputs));
  const MemoryStats once = runner.pool->stats();
  for (int64_t samples : {1, 3, 100, 64}) runner.run(random_samples(samples, kInputs));
  EXPECT_EQ(runner.pool->stats().active, once.active);
  EXPECT_EQ(runner.pool->stats().cached, 0u);
  EXPECT_LE(once.peak, static_cast<size_t>(memory.total()) + 20 * 64);  // buffers are whole cache lines
  runner.prepared.reset();
  EXPECT_EQ(runner.pool->stats().active, runner.pool->active(kArenaMemory));  // for the next network
  runner.backend.trim();
  EXPECT_EQ(runner.pool->stats().active, 0u);
}

TEST(Network, NetworksShareTheLargestArena) {
  MemoryTensors tensors;
  NetworkRunner small(tiny_network(tensors), 2, kernels::best_kernel_set(), OptimizationLevel::kBasic, 4);
  small.run(random_samples(3, kInputs));
  const auto arena = [](const PreparedModel& prepared) { return static_cast<size_t>(prepared.plan().memory.arena); };
  EXPECT_EQ(small.pool->active(kArenaMemory), arena(*small.prepared));
  const auto& model = small.prepared->model();
  const auto large =
      small.backend.optimize_model({std::shared_ptr<const Model>(), &model}, {OptimizationLevel::kBasic, 32, 1, 1});
  const auto x = random_samples(3, kInputs);
  std::vector<float> y(3 * kOutputs);
  small.backend.execute_samples(*large, x.data(), 3, y.data());
  EXPECT_EQ(small.pool->active(kArenaMemory), arena(*large));
  EXPECT_EQ(small.run(x), y);
  EXPECT_EQ(small.pool->active(kArenaMemory), arena(*large));
}

TEST(Network, AModelIsCountedOnceHoweverOftenItIsPrepared) {
  MemoryTensors tensors;
  NetworkRunner runner(tiny_network(tensors), 1);
  const auto again = runner.backend.optimize_model({std::shared_ptr<const Model>(), &runner.prepared->model()},
                                                   {OptimizationLevel::kBasic, 8, 1, 1});
  const std::vector<ModelMemory> models = runner.backend.model_memory();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].name, "tiny");
  EXPECT_EQ(models[0].weights, runner.pool->active(kWeightsMemory));
  EXPECT_EQ(models[0].mapped_weights, 0u);
  EXPECT_EQ(models[0].arena, static_cast<size_t>(runner.prepared->plan().memory.arena + again->plan().memory.arena));
  runner.prepared.reset();
  EXPECT_EQ(runner.backend.model_memory().size(), 1u);
}

TEST(Network, ReadsScalesOfRowsAsIfEachRowWereAMatrix) {
  for (ScaleDirection direction : {ScaleDirection::kMultiply, ScaleDirection::kDivide}) {
    MemoryTensors rows(3), matrix(3);
    rows.trits("a.weight", 21, kInputs);
    matrix.trits("a.weight", 21, kInputs);
    rows.add_floats("a.weight_scale", {21}, std::vector<float>(21, 0.3f));
    matrix.add_floats("a.weight_scale", {1}, {0.3f});
    const auto model = [&](MemoryTensors& tensors) {
      NetworkBuilder builder("rows", {kInputs}, tensors.source);
      return builder.build(builder.ternary_linear(builder.input(), "a", 21, direction));
    };
    const auto x = random_samples(9, kInputs);
    EXPECT_EQ(NetworkRunner(model(rows), 1).run(x, kInputs, 21), NetworkRunner(model(matrix), 1).run(x, kInputs, 21));
  }
}

// The group's part of a sample, its scales and its weights are a layer of their own, but for the quantisation: here the
// largest magnitude of a sample is in every group.
TEST(Network, AddsGroupsOfColumnsInOrder) {
  constexpr int64_t kGroups = 3, kWidth = 20, kRows = 33;
  for (ScaleDirection direction : {ScaleDirection::kMultiply, ScaleDirection::kDivide}) {
    MemoryTensors whole(3);
    whole.trits("a.weight", kRows, kGroups * kWidth);
    whole.floats("a.weight_scale", {kRows, kGroups}, 10);
    whole.floats("a.bias", {kRows});
    const auto model = [&](const std::string& name, int64_t width, MemoryTensors& tensors) {
      NetworkBuilder builder(name, {width}, tensors.source);
      return builder.build(builder.ternary_linear(builder.input(), "a", kRows, direction));
    };
    std::vector<float> x = random_samples(9, kGroups * kWidth);
    for (size_t i = 0; i < x.size(); i += kWidth) x[i] = 5;
    std::vector<float> expected(9 * kRows);
    const StoredTensor weight = whole.source.get("a.weight"), scale = whole.source.get("a.weight_scale");
    for (int64_t group = 0; group < kGroups; ++group) {
      MemoryTensors part;
      std::vector<std::byte> trits;
      std::vector<float> scales, samples;
      for (int64_t row = 0; row < kRows; ++row) {
        const std::byte* first = weight.data() + (row * kGroups + group) * kWidth;
        trits.insert(trits.end(), first, first + kWidth);
        scales.push_back(reinterpret_cast<const float*>(scale.data())[row * kGroups + group]);
      }
      for (int64_t sample = 0; sample < 9; ++sample) {
        const auto first = x.begin() + (sample * kGroups + group) * kWidth;
        samples.insert(samples.end(), first, first + kWidth);
      }
      part.add("a.weight", DType::kI8, Encoding::kTernaryTrits, {kRows, kWidth}, std::move(trits));
      part.add_floats("a.weight_scale", {kRows}, scales);
      if (group == 0) part.source.add(whole.source.get("a.bias"));
      const auto y = NetworkRunner(model("part", kWidth, part), 1).run(samples, kWidth, kRows);
      for (size_t i = 0; i < y.size(); ++i) expected[i] = group == 0 ? y[i] : y[i] + expected[i];
    }
    for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
      if (!kernels::is_supported(**set)) continue;
      NetworkRunner runner(model("whole", kGroups * kWidth, whole), 2, **set);
      EXPECT_EQ(runner.run(x, kGroups * kWidth, kRows), expected) << (*set)->name;
    }
  }
}

// What is computed beside the output must not write over it.
TEST(Network, AValueThatIsReadAfterItIsTheOutputKeepsItsBytes) {
  MemoryTensors tensors;
  tensors.bit_linear("a", kOutputs, kInputs);
  NetworkBuilder whole("whole", {kInputs}, tensors.source), plain("plain", {kInputs}, tensors.source);
  const auto y = whole.ternary_linear(whole.input(), "a", kOutputs);
  whole.softmax(whole.activation(y, ActivationKind::kRelu));
  const auto x = random_samples(5, kInputs);
  const auto model = plain.build(plain.ternary_linear(plain.input(), "a", kOutputs));
  EXPECT_EQ(NetworkRunner(whole.build(y), 1).run(x), NetworkRunner(model, 1).run(x));
}

}  // namespace
}  // namespace tritium
