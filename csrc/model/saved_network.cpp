#include "model/saved_network.h"

#include "base/error.h"
#include "model/network_builder.h"

namespace tritium {
namespace {

constexpr const char* kCustom = "custom";

std::vector<uint64_t> stored(const Shape& shape) { return {shape.begin(), shape.end()}; }

// What is written of an operator beside its kind, name and inputs; read_operator asks for the same.
void write_attributes(const Operator& op, const Model& model, const std::string& key, GgufMetadata& metadata) {
  const auto outputs = static_cast<uint64_t>(model.graph().values[static_cast<size_t>(op.output)].width);
  std::visit(Overloaded{
                 [&](const TernaryLinearOp& linear) {
                   const TernaryWeight& weight = model.ternary_weights()[static_cast<size_t>(linear.weight)];
                   metadata[key + "outputs"] = outputs;
                   metadata[key + "scale_direction"] = std::string(scale_direction_name(weight.direction));
                   metadata[key + "bias_before_scale"] = weight.bias_before_scale;
                 },
                 [&](const DenseLinearOp&) { metadata[key + "outputs"] = outputs; },
                 [&](const RmsNormOp& norm) { metadata[key + "eps"] = double{norm.eps}; },
                 [&](const LayerNormOp& norm) { metadata[key + "eps"] = double{norm.eps}; },
                 [](const ActivationOp&) {},
                 [](const SoftmaxOp&) {},
                 [](const AddOp&) {},
                 [&](const CustomOp& custom) {
                   metadata[key + "kind"] = std::string(kCustom);
                   metadata[key + "operator"] = custom.name;
                   for (size_t i = 0; i < custom.input_shapes.size(); ++i) {
                     metadata[concat(key, "input_shape.", i)] = stored(custom.input_shapes[i]);
                   }
                   metadata[key + "output_shape"] = stored(custom.output_shape);
                 },
                 [&](const auto&) {
                   throw ModelLoadError(concat("[save] ", op.name, ": the operator ", operator_name(op.kind),
                                               " belongs to language models; a network with one cannot be saved"));
                 },
             },
             op.kind);
}

class NetworkReader {
 public:
  NetworkReader(GgufFields& fields, NetworkBuilder& builder) : fields_(fields), builder_(builder) {
    values_.push_back(builder.flatten(builder.input()));
  }

  void read() {
    const int64_t operators = fields_.size("tritium.operators");
    for (int64_t i = 0; i < operators; ++i) read_operator(concat("tritium.operator.", i, "."));
  }

  // Of that many elements as a shape says.
  NetworkValue output(const Shape& shape) {
    const NetworkValue& output = value("tritium.output", fields_.size("tritium.output"));
    return shaped(output, shape, "tritium.output_shape");
  }

 private:
  void read_operator(const std::string& key) {
    const std::string& kind = fields_.get<std::string>(key + "kind");
    const std::string& name = fields_.get<std::string>(key + "name");
    const auto outputs = [&] { return fields_.size(key + "outputs"); };
    const auto eps = [&] { return fields_.get<double>(key + "eps"); };
    const std::vector<NetworkValue> inputs = this->inputs(key);
    const bool any_number = kind == kCustom;
    const size_t needed = kind == "add" ? 2 : 1;
    if (!any_number && inputs.size() != needed) {
      throw fields_.error(concat(key, "inputs has ", inputs.size(), " elements, the operator takes ", needed));
    }
    const NetworkValue x = inputs.empty() ? NetworkValue{} : inputs[0];
    NetworkValue y;
    if (kind == "add") {
      y = builder_.add(x, inputs[1], name);
    } else if (kind == kCustom) {
      y = builder_.flatten(read_custom(key, name, inputs));
    } else if (kind == "ternary_linear") {
      y = builder_.ternary_linear(x, name, outputs(),
                                  parse_scale_direction(fields_.get<std::string>(key + "scale_direction")),
                                  fields_.get<bool>(key + "bias_before_scale"));
    } else if (kind == "dense_linear") {
      y = builder_.dense_linear(x, name, outputs());
    } else if (kind == "rms_norm") {
      y = builder_.rms_norm(x, name, eps());
    } else if (kind == "layer_norm") {
      y = builder_.layer_norm(x, name, eps());
    } else if (kind == "softmax") {
      y = builder_.softmax(x, name);
    } else if (const auto activation = find_activation(kind)) {
      y = builder_.activation(x, *activation, name);
    } else {
      throw fields_.error(
          concat(key, "kind is '", kind,
                 "'; known are ternary_linear, dense_linear, rms_norm, layer_norm, softmax, add, custom, relu, "
                 "relu2, silu, gelu"));
    }
    values_.push_back(y);
  }

  NetworkValue read_custom(const std::string& key, const std::string& name, std::vector<NetworkValue> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::string shape = concat(key, "input_shape.", i);
      inputs[i] = shaped(inputs[i], fields_.sizes(shape), shape);
    }
    return builder_.custom(inputs, fields_.get<std::string>(key + "operator"), fields_.sizes(key + "output_shape"),
                           name);
  }

  std::vector<NetworkValue> inputs(const std::string& key) {
    std::vector<NetworkValue> values;
    for (int64_t place : fields_.sizes(key + "inputs")) values.push_back(value(key + "inputs", place));
    return values;
  }

  // The same elements in the shape that the file says.
  NetworkValue shaped(const NetworkValue& value, const Shape& shape, const std::string& key) const {
    if (element_count(shape) == value.shape[0]) return {value.id, shape};
    throw fields_.error(concat(key, " is ", shape_text(shape), ", the network has ", value.shape[0], " numbers there"));
  }

  const NetworkValue& value(const std::string& key, int64_t place) const {
    if (place < static_cast<int64_t>(values_.size())) return values_[static_cast<size_t>(place)];
    throw fields_.error(concat(key, " names value ", place, "; the values before it are 0 to ", values_.size() - 1,
                               ", and an operator reads only what was made before it"));
  }

  GgufFields& fields_;
  NetworkBuilder& builder_;
  std::vector<NetworkValue> values_;  // the input, and the result of each operator, all flat
};

}  // namespace

void write_network(const Model& model, GgufMetadata& metadata) {
  const Graph& graph = model.graph();
  std::vector<uint64_t> places(graph.values.size());  // value 0 is the input, value i + 1 the result of operator i
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    const Operator& op = graph.operators[i];
    const std::string key = concat("tritium.operator.", i, ".");
    places[static_cast<size_t>(op.output)] = i + 1;
    std::vector<uint64_t> inputs;
    for (ValueId input : op.inputs) inputs.push_back(places[static_cast<size_t>(input)]);
    metadata[key + "kind"] = operator_name(op.kind);
    metadata[key + "name"] = op.name;
    metadata[key + "inputs"] = std::move(inputs);
    write_attributes(op, model, key, metadata);
  }
  metadata["tritium.operators"] = uint64_t{graph.operators.size()};
  metadata["tritium.output"] = places[static_cast<size_t>(graph.output)];
}

std::shared_ptr<const Model> read_network(GgufFields& fields, const std::string& name, Shape input_shape,
                                          const Shape& output_shape, const TensorSource& source) {
  NetworkBuilder builder(name, std::move(input_shape), source);
  NetworkReader reader(fields, builder);
  reader.read();
  return builder.build(reader.output(output_shape));
}

}  // namespace tritium
