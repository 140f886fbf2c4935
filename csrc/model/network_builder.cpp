#include "model/network_builder.h"

#include <algorithm>
#include <exception>

#include "base/error.h"

namespace tritium {
namespace {

// The integer sums of a row stay inside int32 up to this width.
constexpr int64_t kMaxWidth = int64_t{1} << 22;

bool is_possible(const Shape& sample) {
  return !sample.empty() && std::ranges::all_of(sample, [](int64_t dimension) { return dimension >= 1; }) &&
         element_count(sample) <= kMaxWidth;
}

std::vector<Shape> shapes_of(const std::vector<NetworkValue>& values) {
  std::vector<Shape> shapes;
  for (const NetworkValue& value : values) shapes.push_back(value.shape);
  return shapes;
}

}  // namespace

NetworkBuilder::NetworkBuilder(std::string name, Shape input_shape, const TensorSource& source)
    : name_(std::move(name)), builder_(source) {
  if (!is_possible(input_shape)) {
    throw ModelLoadError(
        concat("[network] the input shape must have at least 1 dimension, none less than 1, and at most ", kMaxWidth,
               " elements, got ", shape_text(input_shape)));
  }
  input_ = {builder_.samples(element_count(input_shape)), std::move(input_shape)};
}

void NetworkBuilder::require_flat(const NetworkValue& x, const std::string& layer) const {
  if (x.shape.size() == 1) return;
  throw ModelLoadError(concat("[network] ", layer, " needs samples with 1 dimension, got ", x.shape.size(),
                              " with shape ", shape_text(x.shape), "; flatten them"));
}

void NetworkBuilder::require_outputs(const std::string& layer, int64_t outputs) const {
  if (outputs >= 1 && outputs <= kMaxWidth) return;
  throw ModelLoadError(concat("[network] ", layer, ": outputs must lie in [1, ", kMaxWidth, "], got ", outputs));
}

void NetworkBuilder::require_eps(const std::string& layer, double eps) const {
  if (eps > 0 && eps < 1) return;
  throw ModelLoadError(concat("[network] ", layer, ": eps must lie in (0, 1), got ", eps));
}

std::string NetworkBuilder::named(const std::string& name, const NetworkValue& x, std::string_view kind) const {
  return name.empty() ? concat(builder_.value(x.id).name, ".", kind) : name;
}

NetworkValue NetworkBuilder::ternary_linear(const NetworkValue& x, const std::string& name, int64_t outputs,
                                            ScaleDirection direction) {
  require_flat(x, name);
  require_outputs(name, outputs);
  return {builder_.ternary_linear(x.id, name, outputs, {.bias = has_bias(name), .direction = direction}), {outputs}};
}

NetworkValue NetworkBuilder::dense_linear(const NetworkValue& x, const std::string& name, int64_t outputs) {
  require_flat(x, name);
  require_outputs(name, outputs);
  return {builder_.dense_linear(x.id, name, outputs, has_bias(name)), {outputs}};
}

NetworkValue NetworkBuilder::rms_norm(const NetworkValue& x, const std::string& name, double eps) {
  require_flat(x, name);
  require_eps(name, eps);
  return {builder_.rms_norm(x.id, name, eps), x.shape};
}

NetworkValue NetworkBuilder::layer_norm(const NetworkValue& x, const std::string& name, double eps) {
  require_flat(x, name);
  require_eps(name, eps);
  return {builder_.layer_norm(x.id, name, eps, has_bias(name)), x.shape};
}

NetworkValue NetworkBuilder::activation(const NetworkValue& x, ActivationKind kind, const std::string& name) {
  return {builder_.activation(x.id, named(name, x, activation_name(kind)), kind), x.shape};
}

NetworkValue NetworkBuilder::softmax(const NetworkValue& x, const std::string& name) {
  require_flat(x, named(name, x, "softmax"));
  return {builder_.softmax(x.id, named(name, x, "softmax")), x.shape};
}

NetworkValue NetworkBuilder::add(const NetworkValue& x, const NetworkValue& z, const std::string& name) {
  if (x.shape != z.shape) {
    throw ModelLoadError(concat("[network] ", named(name, x, "add"), " adds samples of shape ", shape_text(x.shape),
                                " and ", shape_text(z.shape), "; they must be equal"));
  }
  return {builder_.add(x.id, z.id, named(name, x, "add")), x.shape};
}

NetworkValue NetworkBuilder::custom(const std::vector<NetworkValue>& inputs, const CustomOperator& op,
                                    const std::string& name) {
  std::vector<Shape> shapes = shapes_of(inputs);
  try {
    Shape output_shape = op.result_shape(shapes);
    return custom(inputs, {op.name, std::move(shapes), std::move(output_shape)}, name);
  } catch (const OptimizationError& error) {
    std::throw_with_nested(ModelLoadError(error.what()));
  }
}

NetworkValue NetworkBuilder::custom(const std::vector<NetworkValue>& inputs, const std::string& op, Shape output_shape,
                                    const std::string& name) {
  return custom(inputs, {op, shapes_of(inputs), std::move(output_shape)}, name);
}

NetworkValue NetworkBuilder::custom(const std::vector<NetworkValue>& inputs, CustomOp op, const std::string& name) {
  if (inputs.empty()) throw ModelLoadError(concat("[network] ", op.name, " has 0 inputs; it needs at least 1"));
  if (!is_possible(op.output_shape)) {
    throw ModelLoadError(concat("[network] ", op.name, " must give samples of at least 1 dimension, none less than 1, ",
                                "and at most ", kMaxWidth, " elements, got ", shape_text(op.output_shape)));
  }
  std::vector<ValueId> ids;
  for (const NetworkValue& input : inputs) ids.push_back(input.id);
  Shape shape = op.output_shape;
  const std::string place = named(name, inputs[0], op.name);
  return {builder_.custom(std::move(ids), place, std::move(op)), std::move(shape)};
}

NetworkValue NetworkBuilder::flatten(const NetworkValue& x) const { return {x.id, {element_count(x.shape)}}; }

std::shared_ptr<const Model> NetworkBuilder::build(const NetworkValue& output) {
  if (output.id == input_.id) throw ModelLoadError(concat("[network] '", name_, "' has 0 layers; it needs at least 1"));
  builder_.set_output(output.id);
  return Model::create(std::move(name_), std::move(input_.shape), output.shape, std::move(builder_));
}

}  // namespace tritium
