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

void warn(const std::string& message) {
  py::gil_scoped_acquire acquire;
  if (PyErr_WarnEx(PyExc_RuntimeWarning, message.c_str(), 1) < 0) throw py::error_already_set();
}

std::string one_line(const py::error_already_set& error) {
  const auto name = error.type().attr("__name__").cast<std::string>();
  try {
    return name + ": " + py::str(error.value()).cast<std::string>();
  } catch (const std::exception&) {
    return name;  // it cannot be written as text
  }
}

py::object call_python(const py::object& function, const py::tuple& arguments) {
  PyObject* result = nullptr;
  enter_interpreter([&] { result = PyObject_CallObject(function.ptr(), arguments.ptr()); });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

void throw_as_ours(const py::error_already_set& error, const char* where) {
  const auto is = [&](ErrorClass each) { return PyErr_GivenExceptionMatches(error.value().ptr(), g_classes[each]); };
  if (!is(kAny)) std::throw_with_nested(DeviceError(concat(where, " ", one_line(error))));
  const auto message = py::str(error.value()).cast<std::string>();
  if (is(kModelLoad)) throw ModelLoadError(message);
  if (is(kBatchProcessing)) throw BatchProcessingError(message);
  if (is(kMemoryLimit)) throw MemoryLimitError(message);
  if (is(kOptimization)) throw OptimizationError(message);
  throw DeviceError(message);
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
