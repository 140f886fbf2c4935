#include "model/model.h"

#include <algorithm>
#include <set>
#include <span>

#include "base/error.h"
#include "model/family.h"

namespace tritium {
namespace {

StoredTensor scales_tensor(const TernaryWeight& weight) {
  const bool one = weight.row_scales.empty();
  const auto scales =
      std::make_shared<const std::vector<float>>(one ? std::vector<float>{*weight.stored_scale} : weight.row_scales);
  const auto bytes = std::as_bytes(std::span(*scales));
  Shape shape = {one ? 1 : weight.rows};
  if (weight.groups > 1) shape.push_back(weight.groups);
  return {.name = weight.tensor.name + "_scale",
          .dtype = DType::kF32,
          .shape = std::move(shape),
          .file = MappedFile::lend(bytes, scales, "memory"),
          .offset = 0,
          .bytes = bytes.size()};
}

}  // namespace

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

std::vector<StoredTensor> Model::tensors() const {
  std::vector<StoredTensor> tensors;
  std::set<std::string> names;
  const auto add = [&](const StoredTensor& tensor) {
    if (names.insert(tensor.name).second) tensors.push_back(tensor);
  };
  for (const TernaryWeight& weight : ternary_weights_) {
    add(weight.tensor);
    if (weight.bias) add(*weight.bias);
    if (!weight.is_masters()) add(scales_tensor(weight));
  }
  for (const DenseWeight& weight : dense_weights_) {
    add(weight.tensor);
    if (weight.bias) add(*weight.bias);
  }
  return tensors;
}

int64_t Model::stored_bytes() const {
  int64_t bytes = 0;
  for (const StoredTensor& tensor : tensors()) bytes += static_cast<int64_t>(tensor.bytes);
  return bytes;
}

std::shared_ptr<const Model> Model::with_cache(CacheOptions cache) const {
  auto model = std::make_shared<Model>(*this);
  model->cache_ = std::move(cache);
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
