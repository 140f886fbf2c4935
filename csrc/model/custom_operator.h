// CustomOperator: a function of the caller's as an operator of networks. A model names it (CustomOp) and says which
// shapes it was made for; the engine that runs the model has the function.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "model/operator.h"

namespace tritium {

struct CustomOperator {
  std::string name;
  // Shape of a sample of the result from those of the inputs, of which there is at least one. Throws a std::exception
  // for inputs that the operator cannot take.
  std::function<Shape(std::span<const Shape> inputs)> infer_shape;
  // Fills output (samples, …) from inputs (samples, …), all of float32, none overlapping the output; the views are
  // valid during the call only. How many samples come in one call is the engine's choice, so that each must be computed
  // by itself. An engine makes one call at a time, on the thread that called it, while its other threads wait. What is
  // thrown becomes a BatchProcessingError that names the operator.
  std::function<void(std::span<const TensorView> inputs, const MutableTensorView& output)> run;

  // infer_shape; OptimizationError names the operator and the inputs that it cannot take.
  Shape result_shape(std::span<const Shape> inputs) const;
};

// The operators that an engine has.
class CustomOperators {
 public:
  CustomOperators() = default;
  // OptimizationError if one has no name, lacks a function, or has the name of another.
  explicit CustomOperators(std::vector<CustomOperator> operators);

  // OptimizationError names those that are registered, if this one is not. The operator lives as long as these.
  const CustomOperator& find(std::string_view name) const;
  // OptimizationError if it is not registered, or infers another shape than that the model was made for.
  void check(const CustomOp& op) const;

 private:
  std::vector<CustomOperator> operators_;
};

}  // namespace tritium
