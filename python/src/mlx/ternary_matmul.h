// A BitLinear as an operation of MLX.
#pragma once

#include <optional>
#include <vector>

#include <mlx/primitives.h>
#include <mlx/utils.h>

namespace tritium::mlx_extension {

namespace mx = mlx::core;
using mx::array;

// x float32 (..., inputs), panels uint32 (groups, panels, words, 16), scales float32 () or (1) or (groups, outputs),
// bias float32 (outputs) -> float32 (..., outputs). What it computes, and that shapes fit, is said and checked in
// python/tritium/mlx/ops.py.
array ternary_matmul(const array& x, const array& panels, const array& scales, const std::optional<array>& bias,
                     int outputs, bool divides, mx::StreamOrDevice stream);

// Inputs: x, panels, scales and perhaps bias, each contiguous. Scales that divide come multiplied by 127.
class TernaryMatmul : public mx::UnaryPrimitive {
 public:
  TernaryMatmul(mx::Stream stream, int outputs, bool divides)
      : UnaryPrimitive(stream), outputs_(outputs), divides_(divides) {}

  void eval_cpu(const std::vector<array>& inputs, array& output) override;
  void eval_gpu(const std::vector<array>& inputs, array& output) override;

  // Straight through the rounding of x; BatchProcessingError for panels and scales.
  DEFINE_GRADS()
  // Over x; BatchProcessingError for the others.
  DEFINE_VMAP()
  DEFINE_NAME(TernaryMatmul)
  bool is_equivalent(const mx::Primitive& other) const override;
  std::vector<mx::Shape> output_shapes(const std::vector<array>& inputs) override;

 private:
  array weights(const std::vector<array>& inputs);

  const int outputs_;
  const bool divides_;
};

}  // namespace tritium::mlx_extension
