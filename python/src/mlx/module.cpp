// The extension module `tritium.mlx._extension`.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/variant.h>

#include "base/error.h"
#include "ternary_matmul.h"

namespace nb = nanobind;
using namespace nb::literals;

NB_MODULE(_extension, module) {
  // Owned for the life of the process, as exceptions may be raised until it ends.
  static PyObject* const error =
      nb::object(nb::module_::import_("tritium.errors").attr("BatchProcessingError")).release().ptr();
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const tritium::BatchProcessingError& exception) {
      PyErr_SetString(error, exception.what());
    }
  });
  module.def("ternary_matmul", &tritium::mlx_extension::ternary_matmul, "x"_a, "panels"_a, "scales"_a, "bias"_a.none(),
             "outputs"_a, "divides"_a, "stream"_a);
}
