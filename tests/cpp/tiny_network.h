// Small networks with weights in memory.
#pragma once

#include <deque>
#include <random>
#include <string>
#include <vector>

#include "model/network_builder.h"

namespace tritium {

// Random tensors in memory of their own, lent to a source. They must outlive the models that use them.
class MemoryTensors {
 public:
  explicit MemoryTensors(uint32_t seed = 1) : random_(seed) {}

  void trits(const std::string& name, int64_t rows, int64_t columns) {
    std::vector<std::byte> bytes(static_cast<size_t>(rows * columns));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(static_cast<int>(random_() % 3) - 1);
    add(name, DType::kI8, Encoding::kTernaryTrits, {rows, columns}, std::move(bytes));
  }
  void floats(const std::string& name, Shape shape, float mean = 0, Encoding encoding = Encoding::kPlain) {
    std::normal_distribution<float> normal(mean, 1);
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (float& value : values) value = normal(random_);
    add_floats(name, std::move(shape), values, encoding);
  }
  void add_floats(const std::string& name, Shape shape, const std::vector<float>& values,
                  Encoding encoding = Encoding::kPlain) {
    const auto* first = reinterpret_cast<const std::byte*>(values.data());
    add(name, DType::kF32, encoding, std::move(shape), {first, first + values.size() * 4});
  }
  void add(const std::string& name, DType dtype, Encoding encoding, Shape shape, std::vector<std::byte> bytes) {
    kept_.push_back(std::move(bytes));
    const auto file = MappedFile::lend(kept_.back(), nullptr, "memory");
    source.add({name, dtype, encoding, std::move(shape), file, 0, kept_.back().size()});
  }
  // A ternary linear layer: trits and one scale.
  void bit_linear(const std::string& name, int64_t rows, int64_t columns, float scale = 0.25f) {
    trits(name + ".weight", rows, columns);
    add_floats(name + ".weight_scale", {1}, {scale});
  }

  TensorSource source;

 private:
  std::mt19937 random_;
  std::deque<std::vector<std::byte>> kept_;
};

// Every kind of layer once: width -> hidden -> width -> 7. `input` has width elements, a multiple of 4.
inline std::shared_ptr<const Model> tiny_network(MemoryTensors& tensors, const Shape& input = {4, 5},
                                                 int64_t hidden = 40) {
  const int64_t width = element_count(input);
  tensors.bit_linear("up", hidden, width);
  tensors.floats("up.bias", {hidden});
  tensors.floats("down.rms_norm.weight", {hidden}, 1);
  tensors.floats("down.weight", {width, hidden}, 0, Encoding::kTernaryMasters);
  tensors.floats("norm.weight", {width}, 1);
  tensors.floats("norm.bias", {width});
  tensors.trits("last.weight", 30, width);
  tensors.floats("last.weight_scale", {30, 4}, 10);
  tensors.floats("scores.weight", {7, 30});
  tensors.floats("scores.bias", {7});
  NetworkBuilder builder("tiny", input, tensors.source);
  const NetworkValue x = builder.flatten(builder.input());
  NetworkValue y = builder.activation(builder.ternary_linear(x, "up", hidden), ActivationKind::kGelu);
  y = builder.ternary_linear(builder.rms_norm(y, "down.rms_norm", 1e-5), "down", width);
  y = builder.layer_norm(builder.add(x, y), "norm", 1e-5);
  y = builder.activation(builder.ternary_linear(y, "last", 30, ScaleDirection::kDivide), ActivationKind::kRelu2);
  return builder.build(builder.softmax(builder.dense_linear(y, "scores", 7)));
}

inline std::vector<float> random_samples(int64_t count, int64_t width, uint32_t seed = 7) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count * width));
  for (float& value : x) value = normal(random);
  return x;
}

}  // namespace tritium
