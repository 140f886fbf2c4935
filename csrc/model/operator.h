// The operators that a graph is made of. Each kind is a struct of its attributes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/tensor.h"
#include "model/model_config.h"

namespace tritium {

using ValueId = int;
using WeightId = int;  // index into the model's ternary or dense weights

// Row `id` of a dense matrix (vocab, width) for each token id.
struct EmbeddingOp {
  WeightId weight;  // dense
};

// x / sqrt(mean(x²) + eps) * weight, by row.
struct RmsNormOp {
  WeightId weight;  // dense (width)
  float eps;
};

// ((x - mean(x)) / sqrt(mean((x - mean(x))²) + eps)) * weight + bias, by row; the bias is the weight's, if it has one.
struct LayerNormOp {
  WeightId weight;  // dense (width)
  float eps;
};

// BitLinear: the input row is quantised to int8 by its absmax, the weights are ternary (arXiv:2402.17764).
struct TernaryLinearOp {
  WeightId weight;  // ternary (outputs, inputs)
};

// x · Wᵀ in float32 with floating-point weights.
struct DenseLinearOp {
  WeightId weight;  // dense (outputs, inputs)
};

// Rotary positions: pairs (j, j + head_dim / 2) turn by position * frequency j (arXiv:2104.09864).
struct RopeOp {
  int64_t heads;
  int64_t head_dim;
  std::vector<float> frequencies;  // (head_dim / 2) radians a position
};

// Appends k and v to the cache of `layer`, then causal softmax attention with grouped queries, scale 1 /
// sqrt(head_dim).
struct AttentionOp {
  int64_t layer;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
};

// activation(gate) * up.
struct GateOp {
  ActivationKind activation;
};

// activation(x).
struct ActivationOp {
  ActivationKind activation;
};

// exp(x - max(x)) divided by its sum, by row.
struct SoftmaxOp {};

// x + z.
struct AddOp {};

// A function that the engine has by this name (model/custom_operator.h).
struct CustomOp {
  std::string name;
  std::vector<Shape> input_shapes;  // of a sample
  Shape output_shape;
};

// The rows whose result is wanted.
struct SelectOutputsOp {};

using OperatorKind = std::variant<EmbeddingOp, RmsNormOp, LayerNormOp, TernaryLinearOp, DenseLinearOp, RopeOp,
                                  AttentionOp, GateOp, ActivationOp, SoftmaxOp, AddOp, CustomOp, SelectOutputsOp>;

// "ternary_linear", "custom:softcap".
std::string operator_name(const OperatorKind& kind);

struct Operator {
  std::string name;  // where in the model: "model.layers.0.self_attn.q_proj"
  OperatorKind kind;
  std::vector<ValueId> inputs;
  ValueId output = -1;
};

// Calls the matching one of several lambdas: std::visit(Overloaded{[](const AddOp&) {…}, [](const auto&) {…}}, kind).
template <class... Callables>
struct Overloaded : Callables... {
  using Callables::operator()...;
};
template <class... Callables>
Overloaded(Callables...) -> Overloaded<Callables...>;

}  // namespace tritium
