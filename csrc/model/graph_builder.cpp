#include "model/graph_builder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tritium {
namespace {

bool is_floating(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

ModelLoadError wrong_shape(const StoredTensor& tensor, const std::string& needed) {
  return ModelLoadError(concat("[tensor] ", tensor.label(), " has shape ", shape_text(tensor.shape),
                               ", the configuration needs ", needed));
}

void require_floats(const StoredTensor& tensor, const Shape& shape) {
  if (!is_floating(tensor.dtype)) {
    throw ModelLoadError(
        concat("[tensor] ", tensor.label(), " must hold float32, float16 or bfloat16, got ", dtype_name(tensor.dtype)));
  }
  if (tensor.shape != shape) throw wrong_shape(tensor, shape_text(shape));
}

void require_stripes(const StoredTensor& tensor, int64_t rows, int64_t columns) {
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

GraphBuilder::GraphBuilder(const ModelConfig& config, const TensorSource& source)
    : config_(config), source_(source), rope_frequencies_(config.rope.frequencies(config.head_dim)) {}

ValueId GraphBuilder::append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result) {
  graph_.values.push_back(std::move(result));
  const ValueId output = static_cast<ValueId>(graph_.values.size()) - 1;
  graph_.operators.push_back({name, std::move(kind), std::move(inputs), output});
  return output;
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

float GraphBuilder::find_scale(const std::string& name) {
  const StoredTensor* tensor = find(name + ".weight_scale");
  if (!tensor) return 1;
  require_floats(*tensor, {1});
  float scale;
  read_floats(*tensor, 0, 1, &scale);
  if (!std::isfinite(scale) || scale <= 0) {
    throw ModelLoadError(concat("[tensor] ", tensor->label(), " must be a finite scale > 0, got ", scale));
  }
  return scale;
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
    throw ModelLoadError(concat("[tensor] ", missing_.size(),
                                " tensors that the configuration asks for are missing: ", some_of(missing_)));
  }
  std::vector<std::string> unused;
  for (const std::string& name : source_.names()) {
    if (!used_.count(name)) unused.push_back(name);
  }
  if (!unused.empty()) {
    throw ModelLoadError(
        concat("[tensor] ", unused.size(), " of ", source_.size(),
               " tensors have no place in the model that the configuration describes: ", some_of(unused)));
  }
}

ValueId GraphBuilder::token_ids() {
  graph_.values.push_back({"token_ids", ValueType::kTokenIds, RowKind::kTokens, 1});
  graph_.input = static_cast<ValueId>(graph_.values.size()) - 1;
  return graph_.input;
}

ValueId GraphBuilder::embedding(ValueId ids, const std::string& name) {
  const WeightId weight = dense_weight(name, {config_.vocab_size, config_.hidden_size}, false);
  return append(name, EmbeddingOp{weight}, {ids}, {name, ValueType::kFloat, RowKind::kTokens, config_.hidden_size});
}

ValueId GraphBuilder::norm(ValueId x, const std::string& name, double eps) {
  const WeightId weight = dense_weight(name, {value(x).width}, false);
  return append(name, RmsNormOp{weight, static_cast<float>(eps)}, {x},
                {name, ValueType::kFloat, value(x).rows, value(x).width});
}

ValueId GraphBuilder::rms_norm(ValueId x, const std::string& name) { return norm(x, name, config_.rms_norm_eps); }

ValueId GraphBuilder::linear(ValueId x, const std::string& name, int64_t outputs, bool bias) {
  const std::string tensor = name + ".weight";
  if (source_.contains(tensor) && source_.get(tensor).encoding == Encoding::kPlain) {
    return dense_linear(x, name, outputs, bias);
  }
  if (config_.linear_norm_eps) x = norm(x, name + ".rms_norm", *config_.linear_norm_eps);
  TernaryWeight weight;
  weight.rows = outputs;
  weight.columns = value(x).width;
  if (const StoredTensor* stored = find(tensor)) {
    weight.tensor = *stored;
    if (stored->encoding == Encoding::kTernaryMasters) {
      require_floats(*stored, {outputs, weight.columns});
    } else {
      require_stripes(*stored, outputs, weight.columns);
      weight.stored_scale = find_scale(name);
      weight.direction = config_.scale_direction;
    }
  }
  if (bias) weight.bias = find_bias(name, outputs);
  ternary_.push_back(std::move(weight));
  return append(name, TernaryLinearOp{static_cast<WeightId>(ternary_.size()) - 1}, {x},
                {name, ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::dense_linear(ValueId x, const std::string& name, int64_t outputs, bool bias) {
  const WeightId weight = dense_weight(name, {outputs, value(x).width}, bias);
  return append(name, DenseLinearOp{weight}, {x}, {name + ".output", ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::rope(ValueId x, const std::string& name, int64_t heads) {
  return append(name, RopeOp{heads, config_.head_dim, rope_frequencies_}, {x},
                {name, ValueType::kFloat, value(x).rows, value(x).width});
}

ValueId GraphBuilder::attention(ValueId q, ValueId k, ValueId v, const std::string& name, int64_t layer) {
  return append(name, AttentionOp{layer, config_.heads, config_.kv_heads, config_.head_dim}, {q, k, v},
                {name, ValueType::kFloat, value(q).rows, value(q).width});
}

ValueId GraphBuilder::gate(ValueId gate, ValueId up, const std::string& name, ActivationKind activation) {
  return append(name, GateOp{activation}, {gate, up}, {name, ValueType::kFloat, value(gate).rows, value(gate).width});
}

ValueId GraphBuilder::add(ValueId x, ValueId z, const std::string& name) {
  return append(name, AddOp{}, {x, z}, {name, ValueType::kFloat, value(x).rows, value(x).width});
}

ValueId GraphBuilder::select_outputs(ValueId x, const std::string& name) {
  return append(name, SelectOutputsOp{}, {x}, {name, ValueType::kFloat, RowKind::kOutputs, value(x).width});
}

}  // namespace tritium
