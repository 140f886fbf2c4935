#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "model/network_builder.h"

namespace py = pybind11;

namespace tritium::python {

void bind_network(py::module_& module) {
  py::class_<NetworkValue>(module, "NetworkValue").def_property_readonly("shape", [](const NetworkValue& value) {
    return py::tuple(py::cast(value.shape));
  });

  py::class_<NetworkBuilder>(module, "NetworkBuilder")
      .def(py::init<std::string, Shape, const TensorSource&>(), py::arg("name"), py::arg("input_shape"),
           py::arg("source"), py::keep_alive<1, 4>())
      .def_property_readonly("input", [](const NetworkBuilder& builder) { return builder.input(); })
      .def(
          "ternary_linear",
          [](NetworkBuilder& builder, const NetworkValue& x, const std::string& name, int64_t outputs,
             const std::string& scale_direction) {
            return builder.ternary_linear(x, name, outputs, parse_scale_direction(scale_direction));
          },
          py::arg("x"), py::arg("name"), py::arg("outputs"), py::arg("scale_direction") = "multiply")
      .def("dense_linear", &NetworkBuilder::dense_linear, py::arg("x"), py::arg("name"), py::arg("outputs"))
      .def("rms_norm", &NetworkBuilder::rms_norm, py::arg("x"), py::arg("name"), py::arg("eps"))
      .def("layer_norm", &NetworkBuilder::layer_norm, py::arg("x"), py::arg("name"), py::arg("eps"))
      .def(
          "activation",
          [](NetworkBuilder& builder, const NetworkValue& x, const std::string& kind, const std::string& name) {
            return builder.activation(x, parse_activation(kind), name);
          },
          py::arg("x"), py::arg("kind"), py::arg("name") = "")
      .def("softmax", &NetworkBuilder::softmax, py::arg("x"), py::arg("name") = "")
      .def("add", &NetworkBuilder::add, py::arg("x"), py::arg("z"), py::arg("name") = "")
      .def("custom",
           py::overload_cast<const std::vector<NetworkValue>&, const CustomOperator&, const std::string&>(
               &NetworkBuilder::custom),
           py::arg("inputs"), py::arg("op"), py::arg("name") = "")
      .def("flatten", &NetworkBuilder::flatten, py::arg("x"))
      .def(
          "build",
          [](NetworkBuilder& builder, const NetworkValue& output) {
            return std::const_pointer_cast<Model>(builder.build(output));
          },
          py::arg("output"));
}

}  // namespace tritium::python
