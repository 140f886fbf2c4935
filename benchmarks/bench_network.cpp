// The network of 1,048,576 ternary weights, 512 -> 1024 -> 512 with ReLU between, through InferenceEngine::infer:
// latency of one sample, and throughput of batches beside what the integer units could do at most, measured in the
// same run with the same threads. Results are checked against plain arithmetic first.
//
//   bench_network --benchmark_repetitions=5 --benchmark_report_aggregates_only
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "engine/engine_builder.h"
#include "model/network_builder.h"

namespace {

using namespace tritium;

constexpr int64_t kInputs = 512, kHidden = 1024, kOutputs = 512, kMostSamples = 256;
constexpr int64_t kWeights = kInputs * kHidden + kHidden * kOutputs;
constexpr float kScale = 0.03f;

struct Layer {
  std::vector<int8_t> trits;  // (outputs, inputs)
  int64_t outputs, inputs;

  Layer(int64_t n, int64_t k, std::mt19937& random) : trits(static_cast<size_t>(n * k)), outputs(n), inputs(k) {
    for (int8_t& trit : trits) trit = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
  }

  // What the layer is defined to give for one sample.
  std::vector<float> operator()(const std::vector<float>& x) const {
    float absmax = 1e-5f;
    for (float value : x) absmax = std::max(absmax, std::fabs(value));
    std::vector<float> y;
    for (int64_t n = 0; n < outputs; ++n) {
      int sum = 0;
      for (int64_t k = 0; k < inputs; ++k) {
        const int code = static_cast<int>(std::nearbyint(x[static_cast<size_t>(k)] * ((1.0f / absmax) * 127.0f)));
        sum += trits[static_cast<size_t>(n * inputs + k)] * code;
      }
      y.push_back(static_cast<float>(sum) * (kScale * (absmax / 127.0f)));
    }
    return y;
  }
};

struct Network {
  std::mt19937 random{1};
  Layer first{kHidden, kInputs, random}, second{kOutputs, kHidden, random};
  std::vector<float> x = std::vector<float>(kMostSamples * kInputs);  // (samples, inputs)
  std::shared_ptr<const Model> model;

  Network() {
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    TensorSource source;
    const auto lend = [&](const char* name, DType dtype, Encoding encoding, Shape shape, const void* data,
                          size_t bytes) {
      const std::span span(static_cast<const std::byte*>(data), bytes);
      source.add({name, dtype, encoding, std::move(shape), MappedFile::lend(span, nullptr, "memory"), 0, bytes});
    };
    for (const auto& [name, layer] : {std::pair{"first", &first}, std::pair{"second", &second}}) {
      const std::string weight = std::string(name) + ".weight", scale = weight + "_scale";
      lend(weight.c_str(), DType::kI8, Encoding::kTernaryTrits, {layer->outputs, layer->inputs}, layer->trits.data(),
           layer->trits.size());
      lend(scale.c_str(), DType::kF32, Encoding::kPlain, {1}, &kScale, sizeof kScale);
    }
    NetworkBuilder builder("network", {kInputs}, source);
    const auto hidden =
        builder.activation(builder.ternary_linear(builder.input(), "first", kHidden), ActivationKind::kRelu);
    model = builder.build(builder.ternary_linear(hidden, "second", kOutputs));
  }

  std::vector<float> expected(int64_t sample) const {
    std::vector<float> hidden = first({x.begin() + sample * kInputs, x.begin() + (sample + 1) * kInputs});
    for (float& value : hidden) value = std::max(value, 0.0f);
    return second(hidden);
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
  for (int64_t sample : {int64_t{0}, samples - 1}) {
    if (!std::equal(y.begin() + sample * kOutputs, y.begin() + (sample + 1) * kOutputs,
                    network().expected(sample).begin())) {
      return state.SkipWithError("the result is wrong");
    }
  }
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
