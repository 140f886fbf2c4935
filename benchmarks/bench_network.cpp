// The network of 1,048,576 ternary weights, 512 -> 1024 -> 512 with ReLU between, through InferenceEngine::infer:
// latency of one sample, and throughput of batches beside what the integer units could do at most, measured in the
// same run with the same threads. Results are compared with those of the scalar kernels first.
//
//   bench_network --benchmark_repetitions=5 --benchmark_report_aggregates_only
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu_backend.h"
#include "engine/engine_builder.h"
#include "kernels/dispatch.h"
#include "model/network_builder.h"

namespace {

using namespace tritium;

constexpr int64_t kInputs = 512, kHidden = 1024, kOutputs = 512, kMostSamples = 256;
constexpr int64_t kWeights = kInputs * kHidden + kHidden * kOutputs;
constexpr float kScale = 0.03f;

struct Network {
  std::mt19937 random{1};
  std::vector<int8_t> first = trits(kHidden * kInputs), second = trits(kOutputs * kHidden);
  std::vector<float> x = std::vector<float>(kMostSamples * kInputs);  // (samples, inputs)
  std::shared_ptr<const Model> model;
  std::vector<float> y;  // (samples, outputs) by the scalar kernels, which define the results

  Network() {
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    TensorSource source;
    const auto lend = [&](const std::string& name, DType dtype, Encoding encoding, Shape shape, const void* data,
                          size_t bytes) {
      const std::span span(static_cast<const std::byte*>(data), bytes);
      source.add({name, dtype, encoding, std::move(shape), MappedFile::lend(span, nullptr, "memory"), 0, bytes});
    };
    const auto lend_layer = [&](const std::string& name, int64_t rows, const std::vector<int8_t>& trits) {
      const auto size = static_cast<int64_t>(trits.size());
      lend(name + ".weight", DType::kI8, Encoding::kTernaryTrits, {rows, size / rows}, trits.data(), trits.size());
      lend(name + ".weight_scale", DType::kF32, Encoding::kPlain, {1}, &kScale, sizeof kScale);
    };
    lend_layer("first", kHidden, first);
    lend_layer("second", kOutputs, second);
    NetworkBuilder builder("network", {kInputs}, source);
    const auto hidden =
        builder.activation(builder.ternary_linear(builder.input(), "first", kHidden), ActivationKind::kRelu);
    model = builder.build(builder.ternary_linear(hidden, "second", kOutputs));

    CpuBackend scalar(1, *kernels::find_kernel_set("scalar"), std::make_shared<MemoryPool>(SIZE_MAX));
    y.resize(kMostSamples * kOutputs);
    const auto prepared = scalar.optimize_model(model, {.level = OptimizationLevel::kNone, .context_size = 1});
    scalar.execute_samples(*prepared, x.data(), kMostSamples, y.data());
  }

  std::vector<int8_t> trits(int64_t count) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    for (int8_t& trit : values) trit = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
    return values;
  }
};

const Network& network() {
  static const Network network;
  return network;
}

std::shared_ptr<InferenceEngine> engine_with(int threads) {
  EngineOptions options;
  options.threads = threads;
  return build_engine(options);
}

// Range: threads, samples a call.
void infer(benchmark::State& state) {
  const auto engine = engine_with(static_cast<int>(state.range(0)));
  const int64_t samples = state.range(1);
  const std::span<const float> x(network().x.data(), static_cast<size_t>(samples * kInputs));
  std::vector<float> y(static_cast<size_t>(samples * kOutputs));
  engine->infer(network().model, x, y);
  if (!std::equal(y.begin(), y.end(), network().y.begin())) return state.SkipWithError("the result is wrong");
  const double before = engine->measure_limits(1 << 20).multiply_adds_per_second;
  for (auto _ : state) {
    engine->infer(network().model, x, y);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const double after = engine->measure_limits(1 << 20).multiply_adds_per_second;
  const double done = static_cast<double>(state.iterations() * samples);
  state.counters["inferences/s"] = benchmark::Counter(done, benchmark::Counter::kIsRate);
  // Of the integer peak, in percent.
  state.counters["peak_%"] =
      benchmark::Counter(done * kWeights / ((before + after) / 2) * 100, benchmark::Counter::kIsRate);
}

BENCHMARK(infer)
    ->ArgNames({"threads", "samples"})
    ->ArgsProduct({{1, 2}, {1, 2, 4, 8, 16, 32, 64, 256}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
