#include "model/graph_builder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tritium {
namespace {

bool is_floating(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

ModelLoadError wrong_shape(const StoredTensor& tensor, const std::string& needed) {
  return ModelLoadError(
      concat("[tensor] ", tensor.label(), " has shape ", shape_text(tensor.shape), ", the model needs ", needed));
}

void require_floats(const StoredTensor& tensor, const Shape& shape) {
  if (!is_floating(tensor.dtype)) {
    throw ModelLoadError(
        concat("[tensor] ", tensor.label(), " must hold float32, float16 or bfloat16, got ", dtype_name(tensor.dtype)));
  }
  if (tensor.shape != shape) throw wrong_shape(tensor, shape_text(shape));
}

void require_codes(const StoredTensor& tensor, int64_t rows, int64_t columns) {
  if (tensor.encoding == Encoding::kTernaryTrits) {
    if (tensor.shape != Shape{rows, columns}) throw wrong_shape(tensor, shape_text({rows, columns}));
    return;
  }
  if (tensor.encoding != Encoding::kTernaryStripes) {
    throw ModelLoadError(concat("[tensor] ", tensor.label(), " must be ternary, got plain ", dtype_name(tensor.dtype)));
  }
  const Shape shape = {(rows + 3) / 4, columns};
  if (tensor.shape != shape) {
    throw wrong_shape(tensor, concat(shape_text(shape), ": 4 rows a byte of the matrix ", shape_text({rows, columns})));
  }
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kNamed = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) text += (i ? ", " : "") + names[i];
  return names.size() <= kNamed ? text : concat(text, " and ", names.size() - kNamed, " more");
}

}  // namespace

ValueId GraphBuilder::append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result) {
  graph_.values.push_back(std::move(result));
  const ValueId output = static_cast<ValueId>(graph_.values.size()) - 1;
  graph_.operators.push_back({name, std::move(kind), std::move(inputs), output});
  return output;
}

ValueId GraphBuilder::append_like(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs) {
  const Value& x = value(inputs[0]);
  Value result{name, ValueType::kFloat, x.rows, x.width};
  return append(name, std::move(kind), std::move(inputs), std::move(result));
}

const StoredTensor* GraphBuilder::find(const std::string& name) {
  const bool first = used_.insert(name).second;
  if (!source_.contains(name)) {
    if (first) missing_.push_back(name);
    return nullptr;
  }
  return &source_.get(name);
}

std::optional<StoredTensor> GraphBuilder::find_bias(const std::string& name, int64_t outputs) {
  const StoredTensor* tensor = find(name + ".bias");
  if (!tensor) return std::nullopt;
  require_floats(*tensor, {outputs});
  return *tensor;
}

void GraphBuilder::find_scales(const std::string& name, TernaryWeight& weight) {
  weight.stored_scale = 1;
  const StoredTensor* tensor = find(name + ".weight_scale");
  if (!tensor) return;
  const Shape& shape = tensor->shape;
  const bool grouped = shape.size() == 2 && shape[0] == weight.rows && shape[1] >= 1 && weight.columns % shape[1] == 0;
  if (shape != Shape{1} && shape != Shape{weight.rows} && !grouped) {
    throw wrong_shape(*tensor, concat("[1], [", weight.rows, "] or [", weight.rows, ", groups], groups a divisor of ",
                                      weight.columns));
  }
  require_floats(*tensor, shape);
  std::vector<float> scales(static_cast<size_t>(element_count(shape)));
  read_floats(*tensor, 0, element_count(shape), scales.data());
  for (float scale : scales) {
    if (!std::isfinite(scale) || scale <= 0) {
      throw ModelLoadError(concat("[tensor] ", tensor->label(), " must be a finite scale > 0, got ", scale));
    }
  }
  if (scales.size() == 1) {
    weight.stored_scale = scales[0];
    return;
  }
  weight.row_scales = std::move(scales);
  if (grouped) weight.groups = shape[1];
}

WeightId GraphBuilder::dense_weight(const std::string& name, const Shape& shape, bool bias) {
  DenseWeight weight;
  if (const StoredTensor* tensor = find(name + ".weight")) {
    require_floats(*tensor, shape);
    weight.tensor = *tensor;
  }
  if (bias) weight.bias = find_bias(name, shape[0]);
  const auto known = std::find_if(dense_.begin(), dense_.end(),
                                  [&](const DenseWeight& other) { return other.tensor.name == weight.tensor.name; });
  if (known != dense_.end() && !bias) return static_cast<WeightId>(known - dense_.begin());
  dense_.push_back(std::move(weight));
  return static_cast<WeightId>(dense_.size()) - 1;
}

void GraphBuilder::finish() const {
  if (!missing_.empty()) {
    throw ModelLoadError(
        concat("[tensor] ", missing_.size(), " tensors that the model asks for are missing: ", some_of(missing_)));
  }
  std::vector<std::string> unused;
  for (const std::string& name : source_.names()) {
    if (!used_.count(name)) unused.push_back(name);
  }
  if (!unused.empty()) {
    throw ModelLoadError(concat("[tensor] ", unused.size(), " of ", source_.size(),
                                " tensors have no place in the model: ", some_of(unused)));
  }
}

ValueId GraphBuilder::token_ids() {
  graph_.values.push_back({"token_ids", ValueType::kTokenIds, RowKind::kTokens, 1});
  graph_.input = static_cast<ValueId>(graph_.values.size()) - 1;
  return graph_.input;
}

ValueId GraphBuilder::samples(int64_t width) {
  graph_.values.push_back({"samples", ValueType::kFloat, RowKind::kTokens, width});
  graph_.input = static_cast<ValueId>(graph_.values.size()) - 1;
  return graph_.input;
}

ValueId GraphBuilder::embedding(ValueId ids, const std::string& name, int64_t vocab_size, int64_t width) {
  const WeightId weight = dense_weight(name, {vocab_size, width}, false);
  return append(name, EmbeddingOp{weight}, {ids}, {name, ValueType::kFloat, RowKind::kTokens, width});
}

ValueId GraphBuilder::rms_norm(ValueId x, const std::string& name, double eps) {
  const WeightId weight = dense_weight(name, {value(x).width}, false);
  return append_like(name, RmsNormOp{weight, static_cast<float>(eps)}, {x});
}

ValueId GraphBuilder::layer_norm(ValueId x, const std::string& name, double eps, bool bias) {
  const WeightId weight = dense_weight(name, {value(x).width}, bias);
  return append_like(name, LayerNormOp{weight, static_cast<float>(eps)}, {x});
}

ValueId GraphBuilder::ternary_linear(ValueId x, const std::string& name, int64_t outputs,
                                     const TernaryLinearOptions& options) {
  if (options.norm_eps) x = rms_norm(x, name + ".rms_norm", *options.norm_eps);
  TernaryWeight weight;
  weight.rows = outputs;
  weight.columns = value(x).width;
  if (const StoredTensor* stored = find(name + ".weight")) {
    weight.tensor = *stored;
    if (stored->encoding == Encoding::kTernaryMasters) {
      require_floats(*stored, {outputs, weight.columns});
    } else {
      require_codes(*stored, outputs, weight.columns);
      find_scales(name, weight);
      weight.direction = options.direction;
      weight.bias_before_scale = options.bias_before_scale;
    }
  }
  if (options.bias) weight.bias = find_bias(name, outputs);
  ternary_.push_back(std::move(weight));
  return append(name, TernaryLinearOp{static_cast<WeightId>(ternary_.size()) - 1}, {x},
                {name, ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::dense_linear(ValueId x, const std::string& name, int64_t outputs, bool bias) {
  const WeightId weight = dense_weight(name, {outputs, value(x).width}, bias);
  return append(name, DenseLinearOp{weight}, {x}, {name + ".output", ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::rope(ValueId x, const std::string& name, int64_t heads, int64_t head_dim,
                           std::vector<float> frequencies) {
  return append_like(name, RopeOp{heads, head_dim, std::move(frequencies)}, {x});
}

ValueId GraphBuilder::attention(ValueId q, ValueId k, ValueId v, const std::string& name,
                                const AttentionOp& attention) {
  return append_like(name, attention, {q, k, v});
}

ValueId GraphBuilder::gate(ValueId gate, ValueId up, const std::string& name, ActivationKind activation) {
  return append_like(name, GateOp{activation}, {gate, up});
}

ValueId GraphBuilder::activation(ValueId x, const std::string& name, ActivationKind activation) {
  return append_like(name, ActivationOp{activation}, {x});
}

ValueId GraphBuilder::softmax(ValueId x, const std::string& name) { return append_like(name, SoftmaxOp{}, {x}); }

ValueId GraphBuilder::add(ValueId x, ValueId z, const std::string& name) { return append_like(name, AddOp{}, {x, z}); }

ValueId GraphBuilder::custom(std::vector<ValueId> inputs, const std::string& name, CustomOp op) {
  Value result{name, ValueType::kFloat, value(inputs[0]).rows, element_count(op.output_shape)};
  return append(name, std::move(op), std::move(inputs), std::move(result));
}

ValueId GraphBuilder::select_outputs(ValueId x, const std::string& name) {
  return append(name, SelectOutputsOp{}, {x}, {name, ValueType::kFloat, RowKind::kOutputs, value(x).width});
}

}  // namespace tritium
