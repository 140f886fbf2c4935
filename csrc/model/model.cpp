#include "model/model.h"

#include <algorithm>

#include "base/error.h"
#include "model/family.h"

namespace tritium {

Model::Model(std::string name, Shape input_shape, Shape output_shape, GraphBuilder builder)
    : name_(std::move(name)), input_shape_(std::move(input_shape)), output_shape_(std::move(output_shape)) {
  builder.finish();
  graph_ = builder.take_graph();
  ternary_weights_ = builder.take_ternary_weights();
  dense_weights_ = builder.take_dense_weights();
}

std::shared_ptr<const Model> Model::create(const ModelConfig& config, const TensorSource& source) {
  config.validate();
  GraphBuilder builder(source);
  find_family(config.architecture)(config, builder);
  std::shared_ptr<Model> model(new Model(config.architecture, {}, {config.vocab_size}, std::move(builder)));
  model->config_ = config;
  return model;
}

std::shared_ptr<const Model> Model::create(std::string name, Shape input_shape, Shape output_shape,
                                           GraphBuilder builder) {
  return std::shared_ptr<Model>(
      new Model(std::move(name), std::move(input_shape), std::move(output_shape), std::move(builder)));
}

const ModelConfig& Model::config() const {
  if (config_) return *config_;
  throw BatchProcessingError(concat("[model] '", name_, "' is a network that takes float32 samples of shape ",
                                    shape_text(input_shape_), ", not a language model that takes token ids"));
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
