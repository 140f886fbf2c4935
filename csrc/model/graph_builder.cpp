#include "model/graph_builder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tritium {
namespace {

bool is_floating(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

void require_shape(const StoredTensor& tensor, const Shape& shape) {
  if (tensor.shape != shape) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, " has shape ", shape_text(tensor.shape),
                                ", the configuration needs ", shape_text(shape)));
  }
}

void require_floating(const StoredTensor& tensor) {
  if (tensor.encoding != Encoding::kPlain || !is_floating(tensor.dtype)) {
    throw ModelLoadError(
        concat("[tensor] ", tensor.name, " must hold float32, float16 or bfloat16, got ", dtype_name(tensor.dtype)));
  }
}

float read_scale(const StoredTensor& tensor) {
  require_floating(tensor);
  if (element_count(tensor.shape) != 1) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, " must hold 1 scale, got shape ", shape_text(tensor.shape)));
  }
  float scale;
  read_floats(tensor, 0, 1, &scale);
  if (!std::isfinite(scale) || scale <= 0) {
    throw ModelLoadError(concat("[tensor] ", tensor.name, " must be a finite scale > 0, got ", scale));
  }
  return scale;
}

}  // namespace

GraphBuilder::GraphBuilder(const ModelConfig& config, const TensorSource& source) : config_(config), source_(source) {}

ValueId GraphBuilder::append(const std::string& name, OperatorKind kind, std::vector<ValueId> inputs, Value result) {
  graph_.values.push_back(std::move(result));
  const ValueId output = static_cast<ValueId>(graph_.values.size()) - 1;
  graph_.operators.push_back({name, std::move(kind), std::move(inputs), output});
  return output;
}

WeightId GraphBuilder::dense_weight(const std::string& name, const Shape& shape) {
  const StoredTensor& tensor = source_.get(name + ".weight");
  require_floating(tensor);
  require_shape(tensor, shape);
  const auto known =
      std::find_if(dense_.begin(), dense_.end(), [&](const StoredTensor& other) { return other.name == tensor.name; });
  if (known != dense_.end()) return static_cast<WeightId>(known - dense_.begin());
  dense_.push_back(tensor);
  return static_cast<WeightId>(dense_.size()) - 1;
}

ValueId GraphBuilder::token_ids() {
  graph_.values.push_back({"token_ids", ValueType::kTokenIds, RowKind::kTokens, 1});
  graph_.input = static_cast<ValueId>(graph_.values.size()) - 1;
  return graph_.input;
}

ValueId GraphBuilder::embedding(ValueId ids, const std::string& name) {
  const WeightId weight = dense_weight(name, {config_.vocab_size, config_.hidden_size});
  return append(name, EmbeddingOp{weight}, {ids}, {name, ValueType::kFloat, RowKind::kTokens, config_.hidden_size});
}

ValueId GraphBuilder::rms_norm(ValueId x, const std::string& name) {
  const WeightId weight = dense_weight(name, {value(x).width});
  return append(name, RmsNormOp{weight, static_cast<float>(config_.rms_norm_eps)}, {x},
                {name, ValueType::kFloat, value(x).rows, value(x).width});
}

ValueId GraphBuilder::ternary_linear(ValueId x, const std::string& name, int64_t outputs) {
  TernaryWeight weight;
  weight.tensor = source_.get(name + ".weight");
  weight.rows = outputs;
  weight.columns = value(x).width;
  require_shape(weight.tensor, {outputs, weight.columns});
  if (weight.tensor.encoding == Encoding::kTernaryStripes) {
    weight.stored_scale = read_scale(source_.get(name + ".weight_scale"));
    weight.direction = config_.scale_direction;
  } else {
    require_floating(weight.tensor);
  }
  ternary_.push_back(std::move(weight));
  return append(name, TernaryLinearOp{static_cast<WeightId>(ternary_.size()) - 1}, {x},
                {name, ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::dense_linear(ValueId x, const std::string& name, int64_t outputs) {
  const WeightId weight = dense_weight(name, {outputs, value(x).width});
  return append(name, DenseLinearOp{weight}, {x}, {name + ".output", ValueType::kFloat, value(x).rows, outputs});
}

ValueId GraphBuilder::rope(ValueId x, const std::string& name, int64_t heads) {
  return append(name, RopeOp{heads, config_.head_dim, config_.rope_theta}, {x},
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
