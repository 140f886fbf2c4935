// Model: configuration, weights and operator graph. Immutable; weights stay in their files.
#pragma once

#include <memory>
#include <vector>

#include "model/graph.h"
#include "model/graph_builder.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/ternary_weight.h"

namespace tritium {

class Model {
 public:
  // ModelLoadError if the configuration is impossible, the family unknown, or a tensor missing or of another shape.
  static std::shared_ptr<const Model> create(const ModelConfig& config, const TensorSource& source);

  const ModelConfig& config() const { return config_; }
  const Graph& graph() const { return graph_; }
  const std::vector<TernaryWeight>& ternary_weights() const { return ternary_weights_; }
  const std::vector<DenseWeight>& dense_weights() const { return dense_weights_; }

  int64_t parameter_count() const;
  int64_t ternary_parameter_count() const;
  // Whether any ternary weight is stored as floating-point masters.
  bool has_masters() const;

 private:
  Model() = default;
  ModelConfig config_;
  Graph graph_;
  std::vector<TernaryWeight> ternary_weights_;
  std::vector<DenseWeight> dense_weights_;
};

}  // namespace tritium
