// The extension module tritium._core: conversions only.
#include <pybind11/pybind11.h>

#include "bindings.h"

PYBIND11_MODULE(_core, module) {
  using namespace tritium::python;
  // The first throw sets up the unwinder in this module, which threads need that end with the process (bindings.h).
  try {
    throw 0;
  } catch (int) {
  }
  module.doc() = "The compiled core; import from `tritium`.";
  module.attr("__version__") = TRITIUM_VERSION;
  bind_errors(module);
  bind_model(module);
  bind_operators(module);
  bind_model_file(module);
  bind_network(module);
  bind_plan(module);
  bind_engine(module);
  bind_weights(module);
  bind_backend(module);
  tritium::bind_kernels(module);
}
