// Model: weights and operator graph of a language model or of a plain network. Immutable; weights stay in their files.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/cache_options.h"
#include "model/graph.h"
#include "model/graph_builder.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/ternary_weight.h"

namespace tritium {

class Model {
 public:
  // A language model, named by its architecture. ModelLoadError if the configuration is impossible, the family unknown,
  // or a tensor missing or of another shape.
  static std::shared_ptr<const Model> create(const ModelConfig& config, const TensorSource& source);
  // A plain network with the graph of a builder; see NetworkBuilder. ModelLoadError if tensors are missing or left
  // over.
  static std::shared_ptr<const Model> create(std::string name, Shape input_shape, Shape output_shape,
                                             GraphBuilder builder);

  const std::string& name() const { return name_; }
  // Of one sample. A language model takes one token id, [], and gives one row of logits, [vocab].
  const Shape& input_shape() const { return input_shape_; }
  const Shape& output_shape() const { return output_shape_; }

  bool is_language_model() const { return config_.has_value(); }
  // BatchProcessingError if this is no language model.
  const ModelConfig& config() const;

  const Graph& graph() const { return graph_; }
  const std::vector<TernaryWeight>& ternary_weights() const { return ternary_weights_; }
  const std::vector<DenseWeight>& dense_weights() const { return dense_weights_; }

  // Every tensor once, those of scales in float32 and in memory of their own.
  std::vector<StoredTensor> tensors() const;
  int64_t stored_bytes() const;  // of these tensors

  // The same model, whose packed weights a CPU engine keeps there and not where its own options say.
  std::shared_ptr<const Model> with_cache(CacheOptions cache) const;
  const std::optional<CacheOptions>& cache() const { return cache_; }

  int64_t parameter_count() const;
  int64_t ternary_parameter_count() const;
  // Whether any ternary weight is stored as floating-point masters.
  bool has_masters() const;

 private:
  Model(std::string name, Shape input_shape, Shape output_shape, GraphBuilder builder);
  std::string name_;
  Shape input_shape_;
  Shape output_shape_;
  std::optional<ModelConfig> config_;
  std::optional<CacheOptions> cache_;
  Graph graph_;
  std::vector<TernaryWeight> ternary_weights_;
  std::vector<DenseWeight> dense_weights_;
};

}  // namespace tritium
