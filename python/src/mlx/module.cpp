// The extension module `tritium.mlx._extension`.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/variant.h>

#include "base/error.h"
#include "ternary_matmul.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

// Owned for the life of the process, as exceptions may be raised until it ends.
PyObject* error_class(const char* name) {
  return nb::object(nb::module_::import_("tritium.errors").attr(name)).release().ptr();
}

}  // namespace

NB_MODULE(_extension, module) {
  static PyObject* const batch_error = error_class("BatchProcessingError");
  static PyObject* const device_error = error_class("DeviceError");
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const tritium::BatchProcessingError& error) {
      PyErr_SetString(batch_error, error.what());
    } catch (const tritium::DeviceError& error) {
      PyErr_SetString(device_error, error.what());
    }
  });
  module.def("ternary_matmul", &tritium::mlx_extension::ternary_matmul, "x"_a, "panels"_a, "scales"_a, "bias"_a.none(),
             "outputs"_a, "divides"_a, "stream"_a);
}
