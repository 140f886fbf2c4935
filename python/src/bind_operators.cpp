// Functions of Python's as custom operators. They run on the thread that called the engine and take the interpreter.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>

#include "base/error.h"
#include "bindings.h"
#include "model/custom_operator.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

// What call() gives, with the interpreter held. An exception is nested in one whose text is short.
auto with_interpreter(const auto& call) {
  std::optional<py::gil_scoped_acquire> interpreter;
  enter_interpreter([&] { interpreter.emplace(); });
  try {
    return call();
  } catch (const py::error_already_set& error) {
    std::throw_with_nested(std::runtime_error(one_line(error)));
  }
}

// Copies: the function may keep its arrays, which the engine writes over.
py::tuple arrays(std::span<const TensorView> inputs) {
  py::tuple copies(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) copies[i] = py::array_t<float>(inputs[i].shape, inputs[i].as<float>());
  return copies;
}

void store(const py::object& returned, const MutableTensorView& output) {
  if (returned.is_none()) throw std::runtime_error("it returned None, an array is needed");
  const py::array result(returned);
  const Shape shape(result.shape(), result.shape() + result.ndim());
  if (std::strchr("fiub", result.dtype().kind()) == nullptr) {
    throw std::runtime_error(
        concat("it gave ", py::str(result.dtype()).cast<std::string>(), ", real numbers are needed"));
  }
  if (shape != output.shape) {
    throw std::runtime_error(concat("it gave shape ", shape_text(shape), ", ", shape_text(output.shape), " is needed"));
  }
  const py::array_t<float, py::array::c_style | py::array::forcecast> floats(result);
  std::memcpy(output.data, floats.data(), static_cast<size_t>(floats.nbytes()));
}

CustomOperator make_operator(std::string name, py::function function, py::function infer_shape) {
  const auto run = share_with_threads(std::make_unique<py::function>(std::move(function)));
  const auto infer = share_with_threads(std::make_unique<py::function>(std::move(infer_shape)));
  return {.name = std::move(name),
          .infer_shape =
              [infer](std::span<const Shape> inputs) {
                return with_interpreter([&] {
                  py::tuple shapes(inputs.size());
                  for (size_t i = 0; i < inputs.size(); ++i) shapes[i] = py::tuple(py::cast(inputs[i]));
                  return call_python(*infer, shapes).cast<Shape>();
                });
              },
          .run =
              [run](std::span<const TensorView> inputs, const MutableTensorView& output) {
                with_interpreter([&] { store(call_python(*run, arrays(inputs)), output); });
              }};
}

}  // namespace

void bind_operators(py::module_& module) {
  py::class_<CustomOperator>(module, "CustomOperator")
      .def(py::init(&make_operator), py::arg("name"), py::arg("function"), py::arg("infer_shape"))
      .def_readonly("name", &CustomOperator::name);
}

}  // namespace tritium::python
