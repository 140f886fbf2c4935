#include "ternary_matmul.h"

#include <mlx/ops.h>
#include <algorithm>
#include <cstdint>
#include <numeric>

#include "backend/ternary_product.h"
#include "base/error.h"

namespace tritium::mlx_extension {
namespace {

enum Input { kX, kPanels, kScales, kBias };

constexpr int kWordColumns = kernels::kStepColumns;  // of a word of a panel, 16

// Kernels read inputs as they lie. Weights mostly lie so already, and need no operation.
array contiguous(const array& x, mx::StreamOrDevice stream) {
  if (!x.is_tracer() && x.is_available() && x.flags().row_contiguous) return x;
  return mx::contiguous(x, false, stream);
}

// The weights times what each counts, float32 (outputs, inputs): gradients follow this linear function of x.
array linear_weights(const array& panels, const array& scales, int inputs, int outputs, bool divides,
                     mx::Stream stream) {
  const int groups = panels.shape(0), words = panels.shape(2);
  // A byte of a word has columns b, 4 + b, 8 + b and 12 + b.
  const array bytes =
      mx::view(mx::reshape(panels, {groups, -1, words, kernels::kPanelRows, 1}, stream), mx::uint8, stream);
  const array shifts(std::initializer_list<uint8_t>{0, 2, 4, 6}, {4, 1}, mx::uint8);
  array codes = mx::right_shift(mx::expand_dims(bytes, -2, stream), shifts, stream);
  codes = mx::bitwise_and(codes, array(uint8_t{3}), stream);  // (groups, panels, words, 16, 4, 4)
  codes = mx::reshape(mx::swapaxes(codes, 2, 3, stream), {groups, -1, words * kWordColumns}, stream);
  codes = mx::slice(codes, {0, 0, 0}, {groups, outputs, inputs / groups}, stream);
  const array weights = mx::subtract(mx::astype(codes, mx::float32, stream), array(1.0f), stream);
  const array factors = divides ? mx::divide(array(127.0f), scales, stream) : scales;
  const array scaled =
      mx::multiply(weights, scales.ndim() == 2 ? mx::expand_dims(factors, -1, stream) : factors, stream);
  return mx::reshape(mx::swapaxes(scaled, 0, 1, stream), {outputs, inputs}, stream);
}

mx::Shape with_last(mx::Shape shape, int last) {
  shape.back() = last;
  return shape;
}

[[noreturn]] void refuse_gradient() {
  throw BatchProcessingError(
      "[mlx] ternary_matmul has gradients with respect to x and bias; panels and scales are to be frozen");
}

}  // namespace

array ternary_matmul(const array& x, const array& panels, const array& scales, const std::optional<array>& bias,
                     int outputs, bool divides, mx::StreamOrDevice stream_or_device) {
  const mx::Stream stream = mx::to_stream(stream_or_device);
  const array factors = divides ? mx::multiply(scales, array(127.0f), stream) : scales;
  std::vector<array> inputs = {contiguous(x, stream), contiguous(panels, stream), contiguous(factors, stream)};
  if (bias) inputs.push_back(contiguous(*bias, stream));
  return array(with_last(x.shape(), outputs), mx::float32, std::make_shared<TernaryMatmul>(stream, outputs, divides),
               std::move(inputs));
}

std::vector<mx::Shape> TernaryMatmul::output_shapes(const std::vector<array>& inputs) {
  const array& panels = inputs[1];
  const int columns = inputs[0].shape(-1), groups = panels.shape(0), words = panels.shape(2);
  if (columns % groups != 0 || kernels::padded_columns(columns / groups) != words * kWordColumns) {
    throw BatchProcessingError(
        concat("[mlx] x has ", columns, " inputs; these panels take up to ", groups * words * kWordColumns));
  }
  return {with_last(inputs[0].shape(), outputs_)};
}

bool TernaryMatmul::is_equivalent(const mx::Primitive& other) const {
  const auto& product = static_cast<const TernaryMatmul&>(other);
  return outputs_ == product.outputs_ && divides_ == product.divides_;
}

// Float32 (outputs, inputs).
array TernaryMatmul::weights(const std::vector<array>& inputs) {
  return linear_weights(inputs[kPanels], inputs[kScales], inputs[kX].shape(-1), outputs_, divides_, stream());
}

std::vector<array> TernaryMatmul::jvp(const std::vector<array>& primals, const std::vector<array>& tangents,
                                      const std::vector<int>& argnums) {
  array result = mx::zeros(with_last(primals[kX].shape(), outputs_), mx::float32, stream());
  for (size_t i = 0; i < argnums.size(); ++i) {
    array part = tangents[i];
    if (argnums[i] == kX) {
      part = mx::matmul(part, mx::transpose(weights(primals), stream()), stream());
    } else if (argnums[i] != kBias) {
      refuse_gradient();
    }
    result = mx::add(result, part, stream());
  }
  return {result};
}

std::vector<array> TernaryMatmul::vjp(const std::vector<array>& primals, const std::vector<array>& cotangents,
                                      const std::vector<int>& argnums, const std::vector<array>&) {
  const array& cotangent = cotangents[0];
  std::vector<array> gradients;
  for (const int argument : argnums) {
    if (argument == kX) {
      gradients.push_back(mx::matmul(cotangent, weights(primals), stream()));
    } else if (argument == kBias) {
      std::vector<int> leading(cotangent.ndim() - 1);
      std::iota(leading.begin(), leading.end(), 0);
      gradients.push_back(mx::sum(cotangent, leading, false, stream()));
    } else {
      refuse_gradient();
    }
  }
  return gradients;
}

std::pair<std::vector<array>, std::vector<int>> TernaryMatmul::vmap(const std::vector<array>& inputs,
                                                                    const std::vector<int>& axes) {
  if (std::any_of(axes.begin() + 1, axes.end(), [](int axis) { return axis >= 0; })) {
    throw BatchProcessingError("[mlx] vmap of ternary_matmul is over x; panels, scales and bias are for all");
  }
  std::vector<array> all = inputs;
  all[kX] = contiguous(mx::moveaxis(inputs[kX], axes[kX], 0, stream()), stream());
  const array y(with_last(all[kX].shape(), outputs_), mx::float32,
                std::make_shared<TernaryMatmul>(stream(), outputs_, divides_), all);
  return {{y}, {0}};
}

}  // namespace tritium::mlx_extension
