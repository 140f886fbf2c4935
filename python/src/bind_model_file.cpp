#include <pybind11/operators.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings.h"
#include "model/model_cache.h"
#include "model/model_file.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

// What a Python function raised, for any number of threads that do not hold the interpreter.
struct PythonError {
  std::shared_ptr<PyObject> value;
};

std::shared_ptr<PyObject> hold(py::object object) {
  return {object.release().ptr(), [](PyObject* held) {
            if (!Py_IsInitialized()) return;
            py::gil_scoped_acquire acquire;
            Py_DECREF(held);
          }};
}

// A tritium.Model that load() gave.
ModelCache::Item item_of(py::object model) {
  const py::object core = py::getattr(model, "core", py::none());
  if (!py::isinstance<Model>(core)) {
    throw py::type_error(concat("load must return a tritium.Model, got ", Py_TYPE(model.ptr())->tp_name));
  }
  const auto shared = core.cast<std::shared_ptr<Model>>();
  PyObject* const outer = model.ptr();
  PyObject* const inner = core.ptr();  // alive as long as `model`, which is immutable
  // The cache holds the outer object, that the inner one, and that the model, each once.
  auto held = [outer, inner, weak = std::weak_ptr<const Model>(shared)] {
    py::gil_scoped_acquire acquire;
    return Py_REFCNT(outer) > 1 || Py_REFCNT(inner) > 1 || weak.use_count() > 1;
  };
  return {hold(std::move(model)), static_cast<uint64_t>(shared->stored_bytes()), std::move(held)};
}

py::object get_or_load(ModelCache& cache, const std::string& key, const py::function& load) {
  std::shared_ptr<const void> value;
  try {
    ReleasedInterpreter released;
    value = cache.get_or_load_item(key, [&] {
      py::gil_scoped_acquire acquire;
      try {
        return item_of(load());
      } catch (const py::error_already_set& error) {
        throw PythonError{hold(error.value())};
      }
    });
  } catch (const PythonError& error) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.value.get())), error.value.get());
    throw py::error_already_set();
  }
  return py::reinterpret_borrow<py::object>(const_cast<PyObject*>(static_cast<const PyObject*>(value.get())));
}

void bind_model_cache(py::module_& module) {
  py::class_<ModelCacheStatistics>(module, "ModelCacheStatistics")
      .def_readonly("hits", &ModelCacheStatistics::hits)
      .def_readonly("misses", &ModelCacheStatistics::misses)
      .def_readonly("evictions", &ModelCacheStatistics::evictions)
      .def_readonly("entries", &ModelCacheStatistics::entries)
      .def_readonly("bytes", &ModelCacheStatistics::bytes)
      .def("__repr__", [](const ModelCacheStatistics& s) {
        return concat("<tritium.ModelCacheStatistics: ", s.hits, " hits, ", s.misses, " misses, ", s.evictions,
                      " evictions, ", s.entries, " entries, ", s.bytes, " bytes>");
      });

  // The cache asks for the interpreter while it is locked, so nobody may wait for it with the interpreter.
  using Release = py::call_guard<ReleasedInterpreter>;
  py::class_<ModelCache>(module, "ModelCache")
      .def(py::init([](int64_t capacity, int64_t max_memory) {
             return std::make_unique<ModelCache>(static_cast<size_t>(std::max<int64_t>(capacity, 0)),
                                                 static_cast<uint64_t>(std::max<int64_t>(max_memory, 0)));
           }),
           py::arg("capacity"), py::arg("max_memory"))
      .def("get_or_load", &get_or_load, py::arg("key"), py::arg("load"))
      .def("clear", &ModelCache::clear, Release())
      .def_property_readonly("statistics", py::cpp_function(&ModelCache::statistics, Release()))
      .def("__contains__", &ModelCache::contains, py::arg("key"), Release())
      .def("__len__", [](const ModelCache& cache) { return cache.statistics().entries; }, Release());
}

void bind_files(py::module_& module) {
  const auto as_tuple = [](const Shape& shape) { return py::tuple(py::cast(shape)); };
  py::class_<ModelMetadata>(module, "ModelMetadata")
      .def_readonly("name", &ModelMetadata::name)
      .def_readonly("version", &ModelMetadata::version)
      .def_readonly("architecture", &ModelMetadata::architecture)
      .def_readonly("parameter_count", &ModelMetadata::parameter_count)
      .def_readonly("quantization_bits", &ModelMetadata::quantization_bits)
      .def_property_readonly("input_shape", [as_tuple](const ModelMetadata& m) { return as_tuple(m.input_shape); })
      .def_property_readonly("output_shape", [as_tuple](const ModelMetadata& m) { return as_tuple(m.output_shape); })
      .def(py::self == py::self)
      .def("__repr__", [](const ModelMetadata& m) {
        return concat("<tritium.ModelMetadata '", m.name, "'", m.version.empty() ? "" : " version ", m.version, ": ",
                      m.architecture, ", ", m.parameter_count, " parameters, ", m.quantization_bits, " bits, ",
                      shape_text(m.input_shape), " -> ", shape_text(m.output_shape), ">");
      });

  py::class_<ModelFile>(module, "ModelFile")
      .def_property_readonly("model", [](const ModelFile& file) { return std::const_pointer_cast<Model>(file.model); })
      .def_readonly("metadata", &ModelFile::metadata)
      .def_property_readonly("files", [](const ModelFile& file) {
        py::dict files;
        for (const auto& [name, content] : file.files) files[py::str(name)] = py::bytes(content);
        return files;
      });

  module.def(
      "save_model",
      [](const Model& model, const std::string& path, std::string name, std::string version,
         const std::map<std::string, py::bytes>& files) {
        SaveOptions options{std::move(name), std::move(version), {}};
        for (const auto& [file, content] : files) options.files[file] = std::string(content);
        ReleasedInterpreter released;
        save_model(model, path_from_utf8(path), options);
      },
      py::arg("model"), py::arg("path"), py::arg("name"), py::arg("version"), py::arg("files"));
  module.def(
      "open_model_file", [](std::shared_ptr<MappedFile> file) { return open_model_file(std::move(file)); },
      py::arg("file"), py::call_guard<ReleasedInterpreter>());
  module.def(
      "read_model_metadata", [](std::shared_ptr<MappedFile> file) { return read_model_metadata(std::move(file)); },
      py::arg("file"), py::call_guard<ReleasedInterpreter>());
}

}  // namespace

void bind_model_file(py::module_& module) {
  bind_files(module);
  bind_model_cache(module);
}

}  // namespace tritium::python
