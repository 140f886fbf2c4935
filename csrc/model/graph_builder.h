// GraphBuilder: what a model family describes itself with. Each call adds one operator, checks its weights against the
// source, and gives the value that it makes.
#pragma once

#include <string>
#include <vector>

#include "model/graph.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/ternary_weight.h"

namespace tritium {

class GraphBuilder {
 public:
  GraphBuilder(const ModelConfig& config, const TensorSource& source);

  // Weights are named by their tensor ("<name>.weight"); ModelLoadError if one is missing or has another shape.
  ValueId token_ids();
  ValueId embedding(ValueId ids, const std::string& name);
  ValueId rms_norm(ValueId x, const std::string& name);
  ValueId ternary_linear(ValueId x, const std::string& name, int64_t outputs);
  ValueId dense_linear(ValueId x, const std::string& name, int64_t outputs);
  ValueId rope(ValueId x, const std::string& name, int64_t heads);
  ValueId attention(ValueId q, ValueId k, ValueId v, const std::string& name, int64_t layer);
  ValueId gate(ValueId gate, ValueId up, const std::string& name, ActivationKind activation);
  ValueId add(ValueId x, ValueId z, const std::string& name);
  ValueId select_outputs(ValueId x, const std::string& name);
  void set_output(ValueId value) { graph_.output = value; }

  Graph take_graph() { return std::move(graph_); }
  std::vector<TernaryWeight> take_ternary_weights() { return std::move(ternary_); }
  std::vector<StoredTensor> take_dense_weights() { return std::move(dense_); }

 private:
  ValueId append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result);
  WeightId dense_weight(const std::string& name, const Shape& shape);
  const Value& value(ValueId id) const { return graph_.values[id]; }

  const ModelConfig& config_;
  const TensorSource& source_;
  Graph graph_;
  std::vector<TernaryWeight> ternary_;
  std::vector<StoredTensor> dense_;
};

}  // namespace tritium
