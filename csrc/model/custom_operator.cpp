#include "model/custom_operator.h"

#include <algorithm>
#include <exception>

#include "base/error.h"

namespace tritium {
namespace {

std::string shapes_text(std::span<const Shape> shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += (text.empty() ? "" : " and ") + shape_text(shape);
  return text;
}

}  // namespace

Shape CustomOperator::result_shape(std::span<const Shape> inputs) const {
  try {
    return infer_shape(inputs);
  } catch (const std::exception& error) {
    std::throw_with_nested(OptimizationError(
        concat("[operator] '", name, "' cannot take samples of ", shapes_text(inputs), ": ", error.what())));
  }
}

CustomOperators::CustomOperators(std::vector<CustomOperator> operators) : operators_(std::move(operators)) {
  for (auto op = operators_.begin(); op != operators_.end(); ++op) {
    if (op->name.empty()) throw OptimizationError("[operator] a custom operator needs a name");
    if (!op->infer_shape || !op->run) {
      throw OptimizationError(concat("[operator] '", op->name, "' needs both functions, infer_shape and run"));
    }
    if (std::any_of(operators_.begin(), op, [&](const CustomOperator& other) { return other.name == op->name; })) {
      throw OptimizationError(concat("[operator] '", op->name, "' is registered twice; names must differ"));
    }
  }
}

const CustomOperator& CustomOperators::find(std::string_view name) const {
  std::string known;
  for (const CustomOperator& op : operators_) {
    if (op.name == name) return op;
    known += concat(known.empty() ? "'" : ", '", op.name, "'");
  }
  throw OptimizationError(concat("[operator] the model uses '", name, "', which is not registered with this engine; ",
                                 known.empty() ? "nothing is" : concat("registered: ", known)));
}

void CustomOperators::check(const CustomOp& op) const {
  const Shape shape = find(op.name).result_shape(op.input_shapes);
  if (shape == op.output_shape) return;
  throw OptimizationError(concat("[operator] '", op.name, "' makes samples of ", shape_text(shape), " from ",
                                 shapes_text(op.input_shapes), ", the model was made for ",
                                 shape_text(op.output_shape)));
}

}  // namespace tritium
