#include "ternary_matmul.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "kernels/kernel_set.h"
#include "mlx/ops.h"

namespace tritium::mlx_extension {
namespace {

enum Input { kX, kPanels, kScales, kBias };

constexpr int kWordColumns = kernels::kStepColumns;  // of a word of a panel, 16
constexpr uint32_t kEmptyWord = 0x55555555;          // of weights 0

// Kernels read inputs as they lie. Weights mostly lie so already, and need no operation.
array contiguous(const array& x, mx::StreamOrDevice stream) {
  if (!x.is_tracer() && x.is_available() && x.flags().row_contiguous) return x;
  return mx::contiguous(x, false, stream);
}

// The matrix as mlx::core::quantized_matmul has it, but for the order of columns: words (groups, 16 panels, words), an
// even number of words.
array rows_of(const array& panels, mx::Stream stream) {
  const int groups = panels.shape(0), words = panels.shape(2);
  array rows = mx::reshape(mx::swapaxes(panels, 2, 3, stream), {groups, -1, words}, stream);
  if (words % 2 == 0) return rows;
  return mx::pad(rows, {2}, {0}, {1}, array(kEmptyWord), "constant", stream);
}

// Its product with (groups, tokens, columns), or with (groups, tokens, rows) if transposed: floats times -1, 0 and 1.
array multiply(const array& x, const array& rows, bool transposed, mx::Stream stream) {
  const int columns = rows.shape(2) * kWordColumns;
  int group_size = 128;
  while (columns % group_size != 0) group_size /= 2;
  const array ones = mx::ones({rows.shape(0), rows.shape(1), columns / group_size}, mx::float32, stream);
  return mx::quantized_matmul(x, rows, ones, mx::negative(ones, stream), !transposed, group_size, 2, "affine", stream);
}

// MLX has the columns of a word in the order of its bits: swaps the two halves of their number.
array swap_columns(const array& x, mx::Stream stream) {
  const int groups = x.shape(0), tokens = x.shape(1), columns = x.shape(2);
  const array fours = mx::reshape(x, {groups, tokens, columns / kWordColumns, 4, 4}, stream);
  return mx::reshape(mx::swapaxes(fours, 3, 4, stream), {groups, tokens, columns}, stream);
}

array pad_last(const array& x, int size, mx::Stream stream) {
  return mx::pad(x, {2}, {0}, {size - x.shape(2)}, array(0.0f), "constant", stream);
}

// x (tokens, columns) in groups, (groups, tokens, columns / groups), and back.
array split_groups(const array& x, int groups, mx::Stream stream) {
  return mx::swapaxes(mx::reshape(x, {x.shape(0), groups, x.shape(1) / groups}, stream), 0, 1, stream);
}
array join_groups(const array& x, mx::Stream stream) {
  return mx::reshape(mx::swapaxes(x, 0, 1, stream), {x.shape(1), x.shape(0) * x.shape(2)}, stream);
}

// What each weight counts: (groups, 1, outputs), or of one number for all.
array factors(const array& scales, bool divides, mx::Stream stream) {
  const array factor = divides ? mx::divide(array(127.0f), scales, stream) : scales;
  return scales.ndim() == 2 ? mx::expand_dims(factor, 1, stream) : mx::reshape(factor, {1, 1, 1}, stream);
}

array as_matrix(const array& x, mx::Stream stream) { return mx::reshape(x, {-1, x.shape(-1)}, stream); }

mx::Shape with_last(mx::Shape shape, int last) {
  shape.back() = last;
  return shape;
}

// Gradients follow the linear function x W^T of the ternary weights times their scales: (tokens, inputs) -> (tokens,
// outputs).
array linear(const array& x, const array& panels, const array& scales, int outputs, bool divides, mx::Stream stream) {
  const array rows = rows_of(panels, stream);
  const array parts = split_groups(x, panels.shape(0), stream);
  const array columns = swap_columns(pad_last(parts, rows.shape(2) * kWordColumns, stream), stream);
  const array products =
      mx::slice(multiply(columns, rows, false, stream), {0, 0, 0}, {panels.shape(0), x.shape(0), outputs}, stream);
  return mx::sum(mx::multiply(products, factors(scales, divides, stream), stream), 0, false, stream);
}

// Its transpose: (tokens, outputs) -> (tokens, inputs).
array transposed_linear(const array& y, const array& panels, const array& scales, int inputs, bool divides,
                        mx::Stream stream) {
  const array rows = rows_of(panels, stream);
  const int groups = panels.shape(0), tokens = y.shape(0);
  const array scaled = mx::multiply(mx::expand_dims(y, 0, stream), factors(scales, divides, stream), stream);
  const array parts = mx::broadcast_to(scaled, {groups, tokens, y.shape(1)}, stream);
  const array columns = swap_columns(multiply(pad_last(parts, rows.shape(1), stream), rows, true, stream), stream);
  return join_groups(mx::slice(columns, {0, 0, 0}, {groups, tokens, inputs / groups}, stream), stream);
}

[[noreturn]] void refuse_gradient() {
  throw BatchProcessingError(
      "[mlx] ternary_matmul has gradients with respect to x and bias, and none of panels and scales");
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

std::vector<array> TernaryMatmul::jvp(const std::vector<array>& primals, const std::vector<array>& tangents,
                                      const std::vector<int>& argnums) {
  const array& x = primals[0];
  array result = mx::zeros(with_last(x.shape(), outputs_), mx::float32, stream());
  for (size_t i = 0; i < argnums.size(); ++i) {
    array part = tangents[i];
    if (argnums[i] == kX) {
      part = linear(as_matrix(part, stream()), primals[kPanels], primals[kScales], outputs_, divides_, stream());
      part = mx::reshape(part, result.shape(), stream());
    } else if (argnums[i] != kBias) {
      refuse_gradient();
    }
    result = mx::add(result, part, stream());
  }
  return {result};
}

std::vector<array> TernaryMatmul::vjp(const std::vector<array>& primals, const std::vector<array>& cotangents,
                                      const std::vector<int>& argnums, const std::vector<array>&) {
  const array& x = primals[kX];
  const array cotangent = as_matrix(cotangents[0], stream());
  std::vector<array> gradients;
  for (const int argument : argnums) {
    if (argument == kX) {
      const array gradient =
          transposed_linear(cotangent, primals[kPanels], primals[kScales], x.shape(-1), divides_, stream());
      gradients.push_back(mx::reshape(gradient, x.shape(), stream()));
    } else if (argument == kBias) {
      gradients.push_back(mx::sum(cotangent, 0, false, stream()));
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
