// The parts of the extension module; each adds its classes.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace tritium::python {

// Python's error classes (tritium.errors) for ours.
void bind_errors(pybind11::module_& module);
void bind_model(pybind11::module_& module);
void bind_model_file(pybind11::module_& module);
void bind_network(pybind11::module_& module);
void bind_engine(pybind11::module_& module);

// As a RuntimeWarning, from any thread.
void warn(const std::string& message);

}  // namespace tritium::python

namespace tritium {
void bind_kernels(pybind11::module_& module);
}
