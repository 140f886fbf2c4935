// The parts of the extension module; each adds its classes.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace tritium::python {

// An object of Python's that threads without the interpreter share: whoever drops it last takes the interpreter for it.
template <class T>
std::shared_ptr<T> share_with_threads(std::unique_ptr<T> object) {
  return {object.release(), [](T* held) {
            if (!Py_IsInitialized()) return;
            pybind11::gil_scoped_acquire acquire;
            delete held;
          }};
}

// Python's error classes (tritium.errors) for ours.
void bind_errors(pybind11::module_& module);
void bind_model(pybind11::module_& module);
void bind_network(pybind11::module_& module);
void bind_operators(pybind11::module_& module);
void bind_engine(pybind11::module_& module);

}  // namespace tritium::python

namespace tritium {
void bind_kernels(pybind11::module_& module);
}
