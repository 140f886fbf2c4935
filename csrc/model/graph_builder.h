// GraphBuilder: what a model is described with. Each call adds one operator, checks its weights against the source, and
// gives the value that it makes.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/tensor_source.h"
#include "model/ternary_weight.h"

namespace tritium {

// Weights in floats, used where they lie in their file.
struct DenseWeight {
  StoredTensor tensor;
  std::optional<StoredTensor> bias;  // floats (rows)
};

struct TernaryLinearOptions {
  bool bias = false;
  ScaleDirection direction = ScaleDirection::kMultiply;  // of a stored scale
  // AutoBitLinear of transformers adds the bias before it multiplies a stored scale.
  bool bias_before_scale = false;
  std::optional<double> norm_eps = std::nullopt;  // of an RMSNorm in front, weight "<name>.rms_norm.weight"
};

class GraphBuilder {
 public:
  explicit GraphBuilder(const TensorSource& source) : source_(source) {}

  const TensorSource& source() const { return source_; }
  const Value& value(ValueId id) const { return graph_.values[id]; }

  // Weights are named by their tensor ("<name>.weight", "<name>.bias"). ModelLoadError if one has another shape or
  // dtype than the model asks for; missing ones are gathered for finish().
  ValueId token_ids();
  ValueId samples(int64_t width);  // float rows, the input of a network
  ValueId embedding(ValueId ids, const std::string& name, int64_t vocab_size, int64_t width);
  ValueId rms_norm(ValueId x, const std::string& name, double eps);
  ValueId layer_norm(ValueId x, const std::string& name, double eps, bool bias);
  // Trits or packed codes with "<name>.weight_scale", of shape [1], [outputs] or [outputs, groups], or masters.
  ValueId ternary_linear(ValueId x, const std::string& name, int64_t outputs, const TernaryLinearOptions& options);
  ValueId dense_linear(ValueId x, const std::string& name, int64_t outputs, bool bias);
  ValueId rope(ValueId x, const std::string& name, int64_t heads, int64_t head_dim, std::vector<float> frequencies);
  ValueId attention(ValueId q, ValueId k, ValueId v, const std::string& name, const AttentionOp& attention);
  ValueId gate(ValueId gate, ValueId up, const std::string& name, ActivationKind activation);
  ValueId activation(ValueId x, const std::string& name, ActivationKind activation);
  ValueId softmax(ValueId x, const std::string& name);
  ValueId add(ValueId x, ValueId z, const std::string& name);
  ValueId custom(std::vector<ValueId> inputs, const std::string& name, CustomOp op);
  ValueId select_outputs(ValueId x, const std::string& name);
  void set_output(ValueId value) { graph_.output = value; }

  // ModelLoadError names the tensors that are missing, and those of the source that have no place in the graph.
  void finish() const;

  Graph take_graph() { return std::move(graph_); }
  std::vector<TernaryWeight> take_ternary_weights() { return std::move(ternary_); }
  std::vector<DenseWeight> take_dense_weights() { return std::move(dense_); }

 private:
  // The tensor, or null and noted as missing.
  const StoredTensor* find(const std::string& name);
  std::optional<StoredTensor> find_bias(const std::string& name, int64_t outputs);
  void find_scales(const std::string& name, TernaryWeight& weight);
  ValueId append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result);
  // Appends an operator whose result has rows like those of its first input.
  ValueId append_like(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs);
  WeightId dense_weight(const std::string& name, const Shape& shape, bool bias);

  const TensorSource& source_;
  Graph graph_;
  std::vector<TernaryWeight> ternary_;
  std::vector<DenseWeight> dense_;
  std::set<std::string> used_;        // names that were asked for
  std::vector<std::string> missing_;  // of these, those that the source lacks, in order
};

}  // namespace tritium
