// NetworkBuilder: the way to describe a plain network, layer by layer. Weights stay where the source has them: in
// mapped files, or in memory that was lent (MappedFile::lend).
//
//   NetworkBuilder builder("classifier", {8, 8}, source);
//   auto x = builder.flatten(builder.input());
//   x = builder.activation(builder.ternary_linear(x, "hidden", 128), ActivationKind::kRelu);
//   const auto model = builder.build(builder.softmax(builder.dense_linear(x, "scores", 10)));
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/custom_operator.h"
#include "model/model.h"

namespace tritium {

// What a layer takes and gives.
struct NetworkValue {
  ValueId id = -1;
  Shape shape;  // of one sample
};

class NetworkBuilder {
 public:
  // input_shape is that of one sample, of float32; ModelLoadError unless it has at least one dimension and none is less
  // than 1. The source must outlive the builder.
  NetworkBuilder(std::string name, Shape input_shape, const TensorSource& source);

  const NetworkValue& input() const { return input_; }

  // Each layer checks its tensors: ModelLoadError names the tensor, its shape and the one that is needed. Linears,
  // norms and the softmax need samples with one dimension (flatten gives it): ModelLoadError otherwise.

  // BitLinear. "<name>.weight" (outputs, inputs) as trits with "<name>.weight_scale", of shape [1], [outputs] or
  // [outputs, groups] for as many equal groups of inputs, as packed stripes with the same, or as masters, whose scale
  // is their mean magnitude; "<name>.bias" (outputs) if the source has it. The bias is added after the scale. A norm
  // inside the linear is an rms_norm in front of it.
  NetworkValue ternary_linear(const NetworkValue& x, const std::string& name, int64_t outputs,
                              ScaleDirection direction = ScaleDirection::kMultiply);
  // In floats: "<name>.weight" (outputs, inputs), and "<name>.bias" (outputs) if the source has it.
  NetworkValue dense_linear(const NetworkValue& x, const std::string& name, int64_t outputs);
  // "<name>.weight" (width); for layer_norm also "<name>.bias" if the source has it. eps lies in (0, 1).
  NetworkValue rms_norm(const NetworkValue& x, const std::string& name, double eps);
  NetworkValue layer_norm(const NetworkValue& x, const std::string& name, double eps);
  // These have no weights; `name` is for graph and plan, and made of the input's if it is empty: "hidden.relu".
  NetworkValue activation(const NetworkValue& x, ActivationKind kind, const std::string& name = {});
  NetworkValue softmax(const NetworkValue& x, const std::string& name = {});
  // x + z, of one shape.
  NetworkValue add(const NetworkValue& x, const NetworkValue& z, const std::string& name = {});
  // A custom operator over one value or more, each of any shape; `name` is made of the first one's if it is empty:
  // "hidden.softcap". Given by name, it makes samples of output_shape. The model keeps name and shapes; the engine that
  // runs it must have the operator.
  NetworkValue custom(const std::vector<NetworkValue>& inputs, const CustomOperator& op, const std::string& name = {});
  NetworkValue custom(const std::vector<NetworkValue>& inputs, const std::string& op, Shape output_shape,
                      const std::string& name = {});
  // The same elements with one dimension.
  NetworkValue flatten(const NetworkValue& x) const;

  // The model that gives `output`; the builder is empty afterwards. ModelLoadError if tensors are missing, or have no
  // place in the network, or there is no layer.
  std::shared_ptr<const Model> build(const NetworkValue& output);

 private:
  NetworkValue custom(const std::vector<NetworkValue>& inputs, CustomOp op, const std::string& name);
  void require_flat(const NetworkValue& x, const std::string& layer) const;
  void require_outputs(const std::string& layer, int64_t outputs) const;
  void require_eps(const std::string& layer, double eps) const;
  std::string named(const std::string& name, const NetworkValue& x, std::string_view kind) const;
  bool has_bias(const std::string& layer) const { return builder_.source().contains(layer + ".bias"); }

  std::string name_;
  GraphBuilder builder_;
  NetworkValue input_;
};

}  // namespace tritium
