#include <pybind11/pybind11.h>

#include <array>
#include <exception>

#include "base/error.h"
#include "bindings.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

enum ErrorClass { kModelLoad, kDevice, kBatchProcessing, kMemoryLimit, kOptimization, kAny, kErrorClasses };

// Owned for the life of the process: exceptions may be raised while the interpreter shuts down.
std::array<PyObject*, kErrorClasses> g_classes;

// Makes the exception of Python that led to this one the current error. False if there was none.
bool restore_cause(const std::exception& exception) {
  const auto* nested = dynamic_cast<const std::nested_exception*>(&exception);
  if (!nested || !nested->nested_ptr()) return false;
  try {
    nested->rethrow_nested();
  } catch (const py::error_already_set& cause) {
    PyErr_Restore(cause.type().inc_ref().ptr(), cause.value().inc_ref().ptr(), cause.trace().inc_ref().ptr());
    return true;
  } catch (const std::exception& cause) {
    return restore_cause(cause);
  }
}

void set_error(ErrorClass error, const std::exception& exception) {
  if (!restore_cause(exception)) return PyErr_SetString(g_classes[error], exception.what());
  // KeyboardInterrupt and its like go on as they are.
  if (PyErr_ExceptionMatches(PyExc_Exception)) py::raise_from(g_classes[error], exception.what());
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

void bind_errors(py::module_& module) {
  const py::module_ errors = py::module_::import("tritium.errors");
  const char* names[kErrorClasses] = {"ModelLoadError",   "DeviceError",       "BatchProcessingError",
                                      "MemoryLimitError", "OptimizationError", "TritiumError"};
  for (int i = 0; i < kErrorClasses; ++i) g_classes[i] = py::object(errors.attr(names[i])).release().ptr();
  py::register_local_exception_translator(&translate);
  (void)module;
}

}  // namespace tritium::python
