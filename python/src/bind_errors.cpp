#include <pybind11/pybind11.h>

#include <array>

#include "base/error.h"
#include "bindings.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

enum ErrorClass { kModelLoad, kDevice, kBatchProcessing, kMemoryLimit, kOptimization, kAny, kErrorClasses };

// Owned for the life of the process: exceptions may be raised while the interpreter shuts down.
std::array<PyObject*, kErrorClasses> g_classes;

void set_error(ErrorClass error, const std::exception& exception) {
  PyErr_SetString(g_classes[error], exception.what());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const ModelLoadError& error) {
    set_error(kModelLoad, error);
  } catch (const DeviceError& error) {
    set_error(kDevice, error);
  } catch (const BatchProcessingError& error) {
    set_error(kBatchProcessing, error);
  } catch (const MemoryLimitError& error) {
    set_error(kMemoryLimit, error);
  } catch (const OptimizationError& error) {
    set_error(kOptimization, error);
  } catch (const TritiumError& error) {
    set_error(kAny, error);
  }
}

}  // namespace

void warn(const std::string& message) {
  py::gil_scoped_acquire acquire;
  if (PyErr_WarnEx(PyExc_RuntimeWarning, message.c_str(), 1) < 0) throw py::error_already_set();
}

void bind_errors(py::module_& module) {
  const py::module_ errors = py::module_::import("tritium.errors");
  const char* names[kErrorClasses] = {"ModelLoadError",   "DeviceError",       "BatchProcessingError",
                                      "MemoryLimitError", "OptimizationError", "TritiumError"};
  for (int i = 0; i < kErrorClasses; ++i) g_classes[i] = py::object(errors.attr(names[i])).release().ptr();
  py::register_local_exception_translator(&translate);
  (void)module;
}

}  // namespace tritium::python
