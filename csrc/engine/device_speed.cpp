#include "engine/device_speed.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <span>
#include <vector>

#include "base/error.h"
#include "memory/mapped_file.h"
#include "model/network_builder.h"

namespace tritium {
namespace {

constexpr int64_t kWidth = 2560;
constexpr int64_t kLayers = 8;
constexpr int64_t kTogether = 32;
constexpr int64_t kOneByOne = 16;
constexpr int kGoes = 3;

std::span<const std::byte> bytes_of(const auto& values) { return std::as_bytes(std::span(values)); }

// Layers over the same weights as they lie in memory; each is packed on its own.
std::shared_ptr<const Model> small_network(const std::vector<int8_t>& trits, const std::vector<float>& scale) {
  const auto weights = MappedFile::lend(bytes_of(trits), nullptr, "memory");
  const auto scales = MappedFile::lend(bytes_of(scale), nullptr, "memory");
  TensorSource source;
  const auto name = [](int64_t layer) { return concat("layer", layer); };
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    source.add(
        {name(layer) + ".weight", DType::kI8, Encoding::kTernaryTrits, {kWidth, kWidth}, weights, 0, trits.size()});
    source.add({name(layer) + ".weight_scale", DType::kF32, Encoding::kPlain, {1}, scales, 0, sizeof(float)});
  }
  NetworkBuilder builder("measurement", {kWidth}, source);
  NetworkValue x = builder.input();
  for (int64_t layer = 0; layer < kLayers; ++layer) x = builder.ternary_linear(x, name(layer), kWidth);
  return builder.build(x);
}

}  // namespace

double measure_device(InferenceBackend& backend) {
  std::vector<int8_t> trits(static_cast<size_t>(kWidth * kWidth));
  for (size_t i = 0; i < trits.size(); ++i) trits[i] = static_cast<int8_t>(static_cast<int>(i % 3) - 1);
  const std::vector<float> scale(1, 1.0f);
  const auto prepared =
      backend.optimize_model(small_network(trits, scale), {.max_tokens = kTogether, .context_size = 1});
  const std::vector<float> x(static_cast<size_t>(kTogether * kWidth), 1.0f);
  std::vector<float> y(x.size());
  double best = std::numeric_limits<double>::infinity();
  for (int go = 0; go < kGoes; ++go) {
    const auto begin = std::chrono::steady_clock::now();
    backend.execute_samples(*prepared, x.data(), kTogether, y.data());
    for (int64_t i = 0; i < kOneByOne; ++i) backend.execute_samples(*prepared, x.data(), 1, y.data());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace tritium
