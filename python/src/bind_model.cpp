#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings.h"
#include "model/model_metadata.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

DType parse_dtype(const std::string& name) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kU8, DType::kI8}) {
    if (dtype_name(dtype) == name) return dtype;
  }
  throw ModelLoadError(
      concat("[tensor] unknown dtype '", name, "'; known are float32, float16, bfloat16, uint8, int8"));
}

Encoding parse_encoding(const std::string& name) {
  if (name == "plain") return Encoding::kPlain;
  if (name == "ternary_masters") return Encoding::kTernaryMasters;
  if (name == "ternary_trits") return Encoding::kTernaryTrits;
  if (name == "ternary_stripes") return Encoding::kTernaryStripes;
  throw ModelLoadError(concat("[tensor] unknown encoding '", name,
                              "'; known are plain, ternary_masters, ternary_trits, ternary_stripes"));
}

ModelConfig make_config(std::string architecture, int64_t vocab_size, int64_t hidden_size, int64_t intermediate_size,
                        int64_t layers, int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t context_length,
                        double rms_norm_eps, const RopeConfig& rope, const std::string& activation, bool tied_head,
                        const std::string& scale_direction, bool attention_bias, bool mlp_bias,
                        std::optional<double> linear_norm_eps) {
  ModelConfig config;
  config.architecture = std::move(architecture);
  config.vocab_size = vocab_size;
  config.hidden_size = hidden_size;
  config.intermediate_size = intermediate_size;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.head_dim = head_dim;
  config.context_length = context_length;
  config.rms_norm_eps = rms_norm_eps;
  config.rope = rope;
  config.activation = parse_activation(activation);
  config.tied_head = tied_head;
  config.scale_direction = parse_scale_direction(scale_direction);
  config.attention_bias = attention_bias;
  config.mlp_bias = mlp_bias;
  config.linear_norm_eps = linear_norm_eps;
  config.validate();
  return config;
}

void bind_mapped_file(py::module_& module) {
  py::class_<MappedFile, std::shared_ptr<MappedFile>>(module, "MappedFile", py::buffer_protocol())
      .def_static(
          "open",
          [](const std::string& path, std::optional<uint64_t> map_above) {
            const auto file = MappedFile::open(path_from_utf8(path), map_above.value_or(UINT64_MAX));
            return std::const_pointer_cast<MappedFile>(file);
          },
          py::arg("path"), py::arg("map_above") = 0, py::call_guard<ReleasedInterpreter>())
      .def_static(
          "from_buffer",
          [](const py::buffer& buffer, const std::string& path) {
            auto info = std::make_unique<py::buffer_info>(buffer.request());
            if (!PyBuffer_IsContiguous(info->view(), 'C')) {
              throw ModelLoadError(concat("[file] the buffer for '", path, "' is not contiguous"));
            }
            const std::span bytes(static_cast<const std::byte*>(info->ptr),
                                  static_cast<size_t>(info->size * info->itemsize));
            const std::shared_ptr<const void> owner = share_with_threads(std::move(info));
            return std::const_pointer_cast<MappedFile>(MappedFile::lend(bytes, owner, path_from_utf8(path)));
          },
          py::arg("buffer"), py::arg("path") = "memory")
      .def_property_readonly("path", [](const MappedFile& file) { return file.path().string(); })
      .def("__len__", [](const MappedFile& file) { return file.bytes().size(); })
      .def_buffer([](MappedFile& file) {
        auto* data = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(file.bytes().data()));
        const auto size = static_cast<py::ssize_t>(file.bytes().size());
        return py::buffer_info(data, size, /*readonly=*/true);
      });
}

void bind_config(py::module_& module) {
  py::class_<RopeConfig>(module, "RopeConfig")
      .def(py::init([](double theta, const std::string& scaling, double factor, double low_freq_factor,
                       double high_freq_factor, double original_context) {
             RopeConfig rope;
             rope.theta = theta;
             rope.scaling = RopeConfig::parse_scaling(scaling);
             rope.factor = factor;
             rope.low_freq_factor = low_freq_factor;
             rope.high_freq_factor = high_freq_factor;
             rope.original_context = original_context;
             return rope;
           }),
           py::kw_only(), py::arg("theta"), py::arg("scaling") = "none", py::arg("factor") = 1.0,
           py::arg("low_freq_factor") = 1.0, py::arg("high_freq_factor") = 4.0, py::arg("original_context") = 8192.0)
      .def_readonly("theta", &RopeConfig::theta)
      .def_property_readonly("scaling", [](const RopeConfig& rope) { return RopeConfig::scaling_name(rope.scaling); })
      .def_readonly("factor", &RopeConfig::factor)
      .def_readonly("low_freq_factor", &RopeConfig::low_freq_factor)
      .def_readonly("high_freq_factor", &RopeConfig::high_freq_factor)
      .def_readonly("original_context", &RopeConfig::original_context);

  py::class_<ModelConfig>(module, "ModelConfig")
      .def(py::init(&make_config), py::kw_only(), py::arg("architecture"), py::arg("vocab_size"),
           py::arg("hidden_size"), py::arg("intermediate_size"), py::arg("layers"), py::arg("heads"),
           py::arg("kv_heads"), py::arg("head_dim"), py::arg("context_length"), py::arg("rms_norm_eps"),
           py::arg("rope"), py::arg("activation"), py::arg("tied_head"), py::arg("scale_direction") = "multiply",
           py::arg("attention_bias") = false, py::arg("mlp_bias") = false, py::arg("linear_norm_eps") = py::none())
      .def_readonly("architecture", &ModelConfig::architecture)
      .def_readonly("vocab_size", &ModelConfig::vocab_size)
      .def_readonly("hidden_size", &ModelConfig::hidden_size)
      .def_readonly("intermediate_size", &ModelConfig::intermediate_size)
      .def_readonly("layers", &ModelConfig::layers)
      .def_readonly("heads", &ModelConfig::heads)
      .def_readonly("kv_heads", &ModelConfig::kv_heads)
      .def_readonly("head_dim", &ModelConfig::head_dim)
      .def_readonly("context_length", &ModelConfig::context_length)
      .def_readonly("rms_norm_eps", &ModelConfig::rms_norm_eps)
      .def_readonly("rope", &ModelConfig::rope)
      .def_readonly("attention_bias", &ModelConfig::attention_bias)
      .def_readonly("mlp_bias", &ModelConfig::mlp_bias)
      .def_readonly("linear_norm_eps", &ModelConfig::linear_norm_eps)
      .def_property_readonly("activation", [](const ModelConfig& c) { return activation_name(c.activation); })
      .def_readonly("tied_head", &ModelConfig::tied_head)
      .def_property_readonly("scale_direction",
                             [](const ModelConfig& c) { return scale_direction_name(c.scale_direction); });
}

void bind_source(py::module_& module) {
  py::class_<TensorSource>(module, "TensorSource")
      .def(py::init<>())
      .def(
          "add",
          [](TensorSource& source, std::string name, const std::string& dtype, const std::string& encoding, Shape shape,
             std::shared_ptr<MappedFile> file, uint64_t offset, uint64_t nbytes) {
            source.add({std::move(name), parse_dtype(dtype), parse_encoding(encoding), std::move(shape),
                        std::move(file), offset, nbytes});
          },
          py::arg("name"), py::kw_only(), py::arg("dtype"), py::arg("encoding"), py::arg("shape"), py::arg("file"),
          py::arg("offset"), py::arg("nbytes"))
      .def("__len__", &TensorSource::size)
      .def("__contains__", &TensorSource::contains)
      .def("names", &TensorSource::names);
}

}  // namespace

void bind_model(py::module_& module) {
  bind_mapped_file(module);
  bind_config(module);
  bind_source(module);
  py::class_<Model, std::shared_ptr<Model>>(module, "Model")
      .def(py::init([](const ModelConfig& config, const TensorSource& source) {
             return std::const_pointer_cast<Model>(Model::create(config, source));
           }),
           py::arg("config"), py::arg("source"))
      .def(
          "with_cache",
          [](const Model& model, const std::string& folder, int64_t max_bytes) {
            CacheOptions cache;
            cache.folder = path_from_utf8(folder);
            cache.max_bytes = static_cast<uint64_t>(max_bytes);
            cache.warn = warn;
            return std::const_pointer_cast<Model>(model.with_cache(std::move(cache)));
          },
          py::arg("folder"), py::arg("max_bytes"))
      .def("metadata", &describe_model, py::arg("name"), py::arg("version") = "")
      .def_property_readonly("name", &Model::name)
      .def_property_readonly("input_shape", [](const Model& model) { return py::tuple(py::cast(model.input_shape())); })
      .def_property_readonly("output_shape",
                             [](const Model& model) { return py::tuple(py::cast(model.output_shape())); })
      .def_property_readonly("is_language_model", &Model::is_language_model)
      .def_property_readonly("config", [](const Model& model) { return model.config(); })
      .def_property_readonly("parameter_count", &Model::parameter_count)
      .def_property_readonly("ternary_parameter_count", &Model::ternary_parameter_count)
      .def_property_readonly("weight_form",
                             [](const Model& model) { return model.has_masters() ? "masters" : "packed"; })
      .def_property_readonly("graph", [](const Model& model) { return model.graph().describe(); });
}

}  // namespace tritium::python
