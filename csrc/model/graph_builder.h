// GraphBuilder: what a model family describes itself with. Each call adds one operator, checks its weights against the
// source, and gives the value that it makes.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/ternary_weight.h"

namespace tritium {

// Weights in floats, used where they lie in their file.
struct DenseWeight {
  StoredTensor tensor;
  std::optional<StoredTensor> bias;  // floats (rows)
};

class GraphBuilder {
 public:
  GraphBuilder(const ModelConfig& config, const TensorSource& source);

  // Weights are named by their tensor ("<name>.weight", "<name>.bias"). ModelLoadError if one has another shape or
  // dtype than the configuration asks for; missing ones are gathered for finish().
  ValueId token_ids();
  ValueId embedding(ValueId ids, const std::string& name);
  ValueId rms_norm(ValueId x, const std::string& name);
  // Ternary or in floats, as the tensor's encoding says; with the norm in front that config.linear_norm_eps asks for.
  ValueId linear(ValueId x, const std::string& name, int64_t outputs, bool bias);
  // The head: always in floats.
  ValueId dense_linear(ValueId x, const std::string& name, int64_t outputs, bool bias);
  ValueId rope(ValueId x, const std::string& name, int64_t heads);
  ValueId attention(ValueId q, ValueId k, ValueId v, const std::string& name, int64_t layer);
  ValueId gate(ValueId gate, ValueId up, const std::string& name, ActivationKind activation);
  ValueId add(ValueId x, ValueId z, const std::string& name);
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
  float find_scale(const std::string& name);
  ValueId norm(ValueId x, const std::string& name, double eps);
  ValueId append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result);
  WeightId dense_weight(const std::string& name, const Shape& shape, bool bias);
  const Value& value(ValueId id) const { return graph_.values[id]; }

  const ModelConfig& config_;
  const TensorSource& source_;
  Graph graph_;
  std::vector<TernaryWeight> ternary_;
  std::vector<DenseWeight> dense_;
  std::vector<float> rope_frequencies_;
  std::set<std::string> used_;        // names that were asked for
  std::vector<std::string> missing_;  // of these, those that the source lacks, in order
};

}  // namespace tritium
