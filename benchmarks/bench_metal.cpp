// What a device does through InferenceEngine, on a Mac's GPU or anywhere: ternary products at the shapes of
// microsoft/bitnet-b1.58-2B-4T for one row and for many, the steps between them, and the network of 1,048,576 weights,
// beside what the device could do at most, measured in the same run. `tritium bench --device` does whole language
// models.
//
//   bench_metal [--device auto|metal|cpu] [--threads N] [--json FILE]
//
// A call waits for the device. So that its own time does not hide a step's, steps are measured in chains; the line
// "call" is a network of one step of 16 numbers. Every figure is a median. The first row of every chain is compared
// with the CPU's, bit for bit, before it is measured.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine_builder.h"
#include "model/network_builder.h"

namespace {

using namespace tritium;

constexpr int64_t kMostSamples = 1024;
constexpr double kSeconds = 0.2;  // of one measurement
constexpr size_t kReadBytes = size_t{1} << 29;

struct Measured {
  std::string what;
  int64_t samples;
  double seconds;        // a step, or the call
  double weight_bytes;   // that a step reads
  double multiply_adds;  // of a step
};

// A model and the memory that its weights are read from.
struct Chain {
  std::vector<int8_t> trits;
  std::vector<float> ones;
  std::vector<float> scales;
  std::shared_ptr<const Model> model;
  int64_t inputs = 0, outputs = 0, steps = 0;
  double multiply_adds = 0;  // of all steps, for one sample
};

void lend(TensorSource& source, const std::string& name, DType dtype, Encoding encoding, Shape shape, const void* data,
          size_t bytes) {
  const std::span span(static_cast<const std::byte*>(data), bytes);
  source.add({name, dtype, encoding, std::move(shape), MappedFile::lend(span, nullptr, "memory"), 0, bytes});
}

// Ternary layers from each width to the next, `repeats` times over, with an activation after each if `relu`. All read
// the same trits; each has packed weights of its own.
std::unique_ptr<Chain> ternary_chain(const std::vector<int64_t>& widths, int repeats, bool relu) {
  auto chain = std::make_unique<Chain>();
  int64_t most = 0;
  for (size_t i = 1; i < widths.size(); ++i) most = std::max(most, widths[i - 1] * widths[i]);
  std::mt19937 random(1);
  chain->trits.resize(static_cast<size_t>(most));
  for (int8_t& trit : chain->trits) trit = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
  // Outputs as large as inputs, whatever the width.
  for (const int64_t width : widths) chain->scales.push_back(1 / std::sqrt(static_cast<float>(width) * 2 / 3));

  TensorSource source;
  const auto for_each_layer = [&](const std::function<void(const std::string&, size_t)>& layer) {
    for (int repeat = 0; repeat < repeats; ++repeat) {
      for (size_t i = 1; i < widths.size(); ++i) layer(concat("layer", repeat, "_", i), i);
    }
  };
  for_each_layer([&](const std::string& name, size_t i) {
    const auto bytes = static_cast<size_t>(widths[i - 1] * widths[i]);
    lend(source, name + ".weight", DType::kI8, Encoding::kTernaryTrits, {widths[i], widths[i - 1]}, chain->trits.data(),
         bytes);
    lend(source, name + ".weight_scale", DType::kF32, Encoding::kPlain, {1}, &chain->scales[i - 1], sizeof(float));
    chain->multiply_adds += static_cast<double>(bytes);
    ++chain->steps;
  });
  NetworkBuilder builder("products", {widths.front()}, source);
  NetworkValue x = builder.input();
  for_each_layer([&](const std::string& name, size_t i) {
    x = builder.ternary_linear(x, name, widths[i]);
    if (relu && i + 1 < widths.size()) x = builder.activation(x, ActivationKind::kRelu);
  });
  chain->model = builder.build(x);
  chain->inputs = widths.front();
  chain->outputs = widths.back();
  return chain;
}

// `steps` times what `add` appends to a row of `width`.
std::unique_ptr<Chain> row_chain(int64_t width, int64_t steps,
                                 const std::function<NetworkValue(NetworkBuilder&, NetworkValue, int64_t)>& add,
                                 bool norms = false) {
  auto chain = std::make_unique<Chain>();
  chain->ones.assign(static_cast<size_t>(width), 1.0f);
  TensorSource source;
  for (int64_t i = 0; norms && i < steps; ++i) {
    lend(source, concat("norm", i, ".weight"), DType::kF32, Encoding::kPlain, {width}, chain->ones.data(),
         chain->ones.size() * sizeof(float));
  }
  NetworkBuilder builder("rows", {width}, source);
  NetworkValue x = builder.input();
  for (int64_t i = 0; i < steps; ++i) x = add(builder, x, i);
  chain->model = builder.build(x);
  chain->inputs = chain->outputs = width;
  chain->steps = steps;
  return chain;
}

double median_seconds(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  const auto begin = Clock::now();
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  while (since(begin) < kSeconds || seconds.size() < 5) {
    const auto start = Clock::now();
    call();
    seconds.push_back(since(start));
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

class Bench {
 public:
  explicit Bench(const EngineOptions& options) : engine_(build_engine(options)) {
    EngineOptions plain;
    plain.device = "cpu";
    plain.level = OptimizationLevel::kNone;
    plain.cache = std::nullopt;
    reference_ = build_engine(plain);
    limits_ = engine_->measure_limits(kReadBytes);
  }

  void measure(const std::string& what, const Chain& chain, const std::vector<int64_t>& batches, bool whole = false) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(batches.back() * chain.inputs));
    for (float& value : x) value = normal(random);
    std::vector<float> y(static_cast<size_t>(batches.back() * chain.outputs));
    const std::span<const float> first(x.data(), static_cast<size_t>(chain.inputs));
    std::vector<float> expected(static_cast<size_t>(chain.outputs));
    reference_->infer(chain.model, first, expected);
    reference_->release_all();

    for (const int64_t samples : batches) {
      const std::span<const float> in(x.data(), static_cast<size_t>(samples * chain.inputs));
      const std::span<float> out(y.data(), static_cast<size_t>(samples * chain.outputs));
      const auto call = [&] { engine_->infer(chain.model, in, out); };
      call();
      if (!std::equal(expected.begin(), expected.end(), out.begin())) {
        throw TritiumError(concat("[bench] ", what, " of ", samples, " samples differs from the CPU's"));
      }
      const double parts = whole ? 1 : static_cast<double>(chain.steps);
      const double weights = static_cast<double>(engine_->memory_usage().weights);
      results_.push_back({what, samples, median_seconds(call) / parts, chain.multiply_adds > 0 ? weights / parts : 0,
                          chain.multiply_adds * static_cast<double>(samples) / parts});
      print(results_.back());
    }
    engine_->release_all();
  }

  void print_head() const {
    std::printf("%s, %s, %d threads; reads %.1f GB/s, %.2f T multiply-adds/s\n", device().c_str(),
                engine_->kernel_set().c_str(), engine_->threads(), limits_.read_bytes_per_second / 1e9,
                limits_.multiply_adds_per_second / 1e12);
    std::printf("%-28s %8s %12s %14s %9s %9s\n", "", "samples", "us", "samples/s", "of reads", "of peak");
  }

  std::string json() const {
    std::ostringstream text;
    text << "{\"device\": \"" << device() << "\", \"kernel_set\": \"" << engine_->kernel_set()
         << "\", \"threads\": " << engine_->threads()
         << ", \"read_bytes_per_second\": " << limits_.read_bytes_per_second
         << ", \"multiply_adds_per_second\": " << limits_.multiply_adds_per_second << ", \"results\": [";
    const char* separator = "\n";
    for (const Measured& each : results_) {
      text << separator << "  {\"what\": \"" << each.what << "\", \"samples\": " << each.samples
           << ", \"seconds\": " << each.seconds << ", \"weight_bytes\": " << each.weight_bytes
           << ", \"multiply_adds\": " << each.multiply_adds << "}";
      separator = ",\n";
    }
    text << "\n]}\n";
    return text.str();
  }

 private:
  std::string device() const { return std::string(device_name(engine_->device())); }

  void print(const Measured& each) const {
    std::printf("%-28s %8lld %12.2f %14.0f", each.what.c_str(), static_cast<long long>(each.samples),
                each.seconds * 1e6, static_cast<double>(each.samples) / each.seconds);
    if (each.multiply_adds > 0) {
      std::printf(" %8.1f%% %8.1f%%", each.weight_bytes / each.seconds / limits_.read_bytes_per_second * 100,
                  each.multiply_adds / each.seconds / limits_.multiply_adds_per_second * 100);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  std::shared_ptr<InferenceEngine> engine_, reference_;
  DeviceLimits limits_;
  std::vector<Measured> results_;
};

void run(const EngineOptions& options, const std::string& json) {
  Bench bench(options);
  bench.print_head();
  const std::vector<int64_t> rows = {1, 2, 4, 8, 16, 32, 128, 512};

  const auto relu2 = [](NetworkBuilder& builder, const NetworkValue& x, int64_t) {
    return builder.activation(x, ActivationKind::kRelu2);
  };
  bench.measure("call", *row_chain(16, 1, relu2), {1}, true);

  // q and o; gate and up together, and down of as many; the widths of gate and down alone. Weights of a chain are 140
  // MB and more: no cache holds them.
  bench.measure("2560x2560", *ternary_chain({2560, 2560}, 96, false), rows);
  bench.measure("13824x2560, 2560x13824", *ternary_chain({2560, 13824, 2560}, 8, false), rows);
  bench.measure("6912x2560, 2560x6912", *ternary_chain({2560, 6912, 2560}, 16, false), rows);

  const auto norm = [](NetworkBuilder& builder, const NetworkValue& x, int64_t i) {
    return builder.rms_norm(x, concat("norm", i), 1e-5);
  };
  const auto softmax = [](NetworkBuilder& builder, const NetworkValue& x, int64_t i) {
    return builder.softmax(x, concat("softmax", i));
  };
  const auto silu = [](NetworkBuilder& builder, const NetworkValue& x, int64_t i) {
    return builder.activation(x, ActivationKind::kSilu, concat("silu", i));
  };
  bench.measure("rms_norm 2560", *row_chain(2560, 32, norm, true), {1, 512});
  bench.measure("softmax 2560", *row_chain(2560, 32, softmax), {1, 512});
  bench.measure("silu 6912", *row_chain(6912, 32, silu), {1, 512});

  bench.measure("network of 1,048,576 weights", *ternary_chain({512, 1024, 512}, 1, true),
                {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, kMostSamples}, true);
  if (!json.empty() && !(std::ofstream(json) << bench.json())) throw TritiumError("[bench] cannot write " + json);
}

}  // namespace

int main(int count, char** arguments) {
  EngineOptions options;
  options.batch_size = kMostSamples;
  options.cache = std::nullopt;
  std::string json;
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i];
    const std::string value = i + 1 < count ? arguments[i + 1] : "";
    if (name == "--device" && !value.empty()) {
      options.device = value;
    } else if (name == "--threads" && std::atoi(value.c_str()) > 0) {
      options.threads = std::atoi(value.c_str());
    } else if (name == "--json" && !value.empty()) {
      json = value;
    } else {
      std::cerr << "bench_metal [--device auto|metal|cpu] [--threads N] [--json FILE]\n";
      return 2;
    }
  }
  try {
    run(options, json);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
