// Custom operators, simple enough to compute by hand.
#pragma once

#include <stdexcept>

#include "model/custom_operator.h"

namespace tritium {

// x / (1 + |x|), element by element.
inline float squash(float x) { return x / (1 + (x < 0 ? -x : x)); }

inline CustomOperator squash_operator() {
  return {"squash", [](std::span<const Shape> inputs) { return inputs[0]; },
          [](std::span<const TensorView> inputs, const MutableTensorView& output) {
            const int64_t count = element_count(output.shape);
            for (int64_t i = 0; i < count; ++i) output.as<float>()[i] = squash(inputs[0].as<float>()[i]);
          }};
}

// (n), (m) -> (n, m): all products of their elements.
inline CustomOperator outer_operator() {
  return {"outer",
          [](std::span<const Shape> inputs) {
            if (inputs.size() != 2) throw std::invalid_argument("2 inputs are needed");
            return Shape{inputs[0][0], inputs[1][0]};
          },
          [](std::span<const TensorView> inputs, const MutableTensorView& output) {
            const int64_t n = output.shape[1], m = output.shape[2];
            float* y = output.as<float>();
            for (int64_t sample = 0; sample < output.shape[0]; ++sample) {
              for (int64_t i = 0; i < n * m; ++i) {
                *y++ = inputs[0].as<float>()[sample * n + i / m] * inputs[1].as<float>()[sample * m + i % m];
              }
            }
          }};
}

// The shape of its input and no values: for tests that run something else.
inline CustomOperator operator_that(const std::string& name, auto run) {
  return {name, [](std::span<const Shape> inputs) { return inputs[0]; }, run};
}

}  // namespace tritium
