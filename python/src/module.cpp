// The extension module tritium._core: conversions only.
#include <pybind11/pybind11.h>

#include "bindings.h"

PYBIND11_MODULE(_core, module) {
  using namespace tritium::python;
  module.doc() = "The compiled core; import from `tritium`.";
  module.attr("__version__") = TRITIUM_VERSION;
  bind_errors(module);
  bind_model(module);
  bind_operators(module);
  bind_network(module);
  bind_engine(module);
  tritium::bind_kernels(module);
}
