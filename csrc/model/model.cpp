#include "model/model.h"

#include <algorithm>

#include "model/family.h"

namespace tritium {

std::shared_ptr<const Model> Model::create(const ModelConfig& config, const TensorSource& source) {
  config.validate();
  GraphBuilder builder(config, source);
  find_family(config.architecture)(config, builder);
  builder.finish();
  std::shared_ptr<Model> model(new Model);
  model->config_ = config;
  model->graph_ = builder.take_graph();
  model->ternary_weights_ = builder.take_ternary_weights();
  model->dense_weights_ = builder.take_dense_weights();
  return model;
}

int64_t Model::ternary_parameter_count() const {
  int64_t count = 0;
  for (const TernaryWeight& weight : ternary_weights_) count += weight.rows * weight.columns;
  return count;
}

int64_t Model::parameter_count() const {
  int64_t count = ternary_parameter_count();
  for (const TernaryWeight& weight : ternary_weights_) count += weight.bias ? weight.rows : 0;
  for (const DenseWeight& weight : dense_weights_) {
    count += element_count(weight.tensor.shape) + (weight.bias ? element_count(weight.bias->shape) : 0);
  }
  return count;
}

bool Model::has_masters() const {
  return std::any_of(ternary_weights_.begin(), ternary_weights_.end(),
                     [](const TernaryWeight& weight) { return weight.is_masters(); });
}

}  // namespace tritium
