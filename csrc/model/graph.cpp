#include "model/graph.h"

#include <sstream>

namespace tritium {

std::string operator_name(const OperatorKind& kind) {
  return std::visit<std::string>(Overloaded{
                                     [](const EmbeddingOp&) { return "embedding"; },
                                     [](const RmsNormOp&) { return "rms_norm"; },
                                     [](const LayerNormOp&) { return "layer_norm"; },
                                     [](const TernaryLinearOp&) { return "ternary_linear"; },
                                     [](const DenseLinearOp&) { return "dense_linear"; },
                                     [](const RopeOp&) { return "rope"; },
                                     [](const AttentionOp&) { return "attention"; },
                                     [](const GateOp&) { return "gate"; },
                                     [](const ActivationOp& op) { return std::string(activation_name(op.activation)); },
                                     [](const SoftmaxOp&) { return "softmax"; },
                                     [](const AddOp&) { return "add"; },
                                     [](const CustomOp& op) { return "custom:" + op.name; },
                                     [](const SelectOutputsOp&) { return "select_outputs"; },
                                 },
                                 kind);
}

std::string_view Graph::fed_rows() const {
  return input >= 0 && values[input].type == ValueType::kFloat ? "samples" : "tokens";
}

std::string Graph::describe() const {
  std::ostringstream out;
  for (const Operator& op : operators) {
    const Value& result = values[op.output];
    out << op.name << ": " << operator_name(op.kind) << "(";
    for (size_t i = 0; i < op.inputs.size(); ++i) out << (i ? ", " : "") << values[op.inputs[i]].name;
    out << ") -> " << result.name << " [" << (result.rows == RowKind::kTokens ? fed_rows() : "outputs") << ", "
        << result.width << "]\n";
  }
  return out.str();
}

}  // namespace tritium
