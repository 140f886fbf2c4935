#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <variant>

#include "base/byte_size.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "bindings.h"
#include "engine/devices.h"
#include "engine/engine_builder.h"
#include "engine/session.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

using TokenArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using SampleArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using FedTuple = std::tuple<SequenceId, std::vector<int32_t>, bool>;

// Bytes, or a text as "512MB".
using ByteSize = std::variant<int64_t, std::string>;

size_t bytes_of(const ByteSize& size) {
  if (const auto* text = std::get_if<std::string>(&size)) return parse_byte_size(*text);
  const int64_t bytes = std::get<int64_t>(size);
  if (bytes < 1) throw MemoryLimitError(concat("[memory] a limit must be at least 1 byte, got ", bytes));
  return static_cast<size_t>(bytes);
}

std::shared_ptr<InferenceEngine> make_engine(std::string device, std::optional<bool> gpu_acceleration, bool fallback,
                                             std::optional<int64_t> threads, std::optional<int64_t> batch_size,
                                             const ByteSize& memory_pool_size,
                                             const std::optional<ByteSize>& memory_limit, const std::string& level,
                                             std::string ternary_format, const std::optional<std::string>& cache_dir,
                                             int64_t max_cache_size, std::vector<CustomOperator> custom_operators) {
  EngineOptions options;
  options.ternary_format = std::move(ternary_format);
  options.device = std::move(device);
  options.gpu_acceleration = gpu_acceleration;
  options.fallback = fallback;
  options.warn = warn;
  options.batch_size = batch_size;
  options.memory_pool_size = bytes_of(memory_pool_size);
  options.level = parse_optimization_level(level);
  options.custom_operators = std::move(custom_operators);
  if (threads) {
    if (*threads < 1 || *threads > 1024) {
      throw DeviceError(concat("[threads] the number of threads must lie in [1, 1024], got ", *threads));
    }
    options.threads = static_cast<int>(*threads);
  }
  if (memory_limit) options.memory_limit = bytes_of(*memory_limit);
  if (!cache_dir) {
    options.cache.reset();
  } else if (*cache_dir != "auto") {
    options.cache.emplace().folder = path_from_utf8(*cache_dir);
  }
  if (max_cache_size < 0) {
    throw MemoryLimitError(concat("[cache] max_cache_size must be at least 0 bytes, got ", max_cache_size));
  }
  if (options.cache) {
    options.cache->max_bytes = static_cast<uint64_t>(max_cache_size);
    options.cache->warn = warn;
  }
  ReleasedInterpreter released;
  return build_engine(options);
}

SessionOptions session_options(std::optional<int64_t> context_size, int64_t max_sequences, const std::string& kv_dtype,
                               const std::string& head) {
  return {context_size, max_sequences, parse_kv_dtype(kv_dtype), parse_head_format(head)};
}

// The array takes the matrix over; nothing is copied.
py::array_t<float> to_array(FloatMatrix matrix) {
  float* data = matrix.data.release();
  const py::capsule owner(data, [](void* pointer) { delete[] static_cast<float*>(pointer); });
  return py::array_t<float>({matrix.rows, matrix.columns}, data, owner);
}

void bind_inference_engine(py::module_& module) {
  py::class_<DeviceLimits>(module, "DeviceLimits")
      .def_readonly("read_bytes_per_second", &DeviceLimits::read_bytes_per_second)
      .def_readonly("multiply_adds_per_second", &DeviceLimits::multiply_adds_per_second);

  py::class_<ModelMemory>(module, "ModelMemory")
      .def_readonly("name", &ModelMemory::name)
      .def_readonly("weights", &ModelMemory::weights)
      .def_readonly("mapped_weights", &ModelMemory::mapped_weights)
      .def_readonly("arena", &ModelMemory::arena)
      .def("__repr__", [](const ModelMemory& memory) {
        return concat("ModelMemory(name='", memory.name, "', weights=", memory.weights,
                      ", mapped_weights=", memory.mapped_weights, ", arena=", memory.arena, ")");
      });

  const auto stats_text = [](const MemoryStats& stats) {
    return concat("MemoryStats(active=", stats.active, ", peak=", stats.peak, ", cached=", stats.cached,
                  ", limit=", stats.limit, ")");
  };
  py::class_<MemoryStats>(module, "MemoryStats")
      .def_readonly("active", &MemoryStats::active)
      .def_readonly("peak", &MemoryStats::peak)
      .def_readonly("cached", &MemoryStats::cached)
      .def_readonly("limit", &MemoryStats::limit)
      .def("__repr__", stats_text);

  py::class_<MemoryUsage>(module, "MemoryUsage")
      .def_readonly("weights", &MemoryUsage::weights)
      .def_readonly("mapped_weights", &MemoryUsage::mapped_weights)
      .def_readonly("kv_cache", &MemoryUsage::kv_cache)
      .def_readonly("pool", &MemoryUsage::pool)
      .def_readonly("total", &MemoryUsage::total)
      .def_readonly("models", &MemoryUsage::models)
      .def("__repr__", [stats_text](const MemoryUsage& usage) {
        return concat("MemoryUsage(weights=", usage.weights, ", mapped_weights=", usage.mapped_weights,
                      ", kv_cache=", usage.kv_cache, ", pool=", stats_text(usage.pool),
                      ", total=", stats_text(usage.total), ", ", usage.models.size(), " models)");
      });

  py::class_<DeviceCandidate>(module, "Device")
      .def_property_readonly("name", [](const DeviceCandidate& device) { return device_name(device.kind); })
      .def_property_readonly("is_gpu", [](const DeviceCandidate& device) { return is_gpu(device.kind); })
      .def_property_readonly("is_available", &DeviceCandidate::is_available)
      .def_property_readonly("missing",
                             [](const DeviceCandidate& device) {
                               return device.is_available() ? std::nullopt : std::optional(device.missing);
                             })
      .def_property_readonly("not_chosen",
                             [](const DeviceCandidate& device) {
                               return device.not_chosen.empty() ? std::nullopt : std::optional(device.not_chosen);
                             })
      .def_readonly("detail", &DeviceCandidate::detail)
      .def("__repr__", [](const DeviceCandidate& device) {
        return concat("<tritium.Device '", device_name(device.kind),
                      "': ", device.is_available() ? "available" : device.missing, ">");
      });
  module.def("devices", &device_candidates);

  py::class_<InferenceEngine, std::shared_ptr<InferenceEngine>>(module, "InferenceEngine")
      .def(py::init(&make_engine), py::arg("device") = "auto", py::arg("gpu_acceleration") = py::none(),
           py::arg("fallback") = false, py::arg("threads") = py::none(), py::arg("batch_size") = py::none(),
           py::arg("memory_pool_size") = kDefaultMemoryPoolSize, py::arg("memory_limit") = py::none(),
           py::arg("optimization_level") = "basic", py::arg("ternary_format") = "auto", py::arg("cache_dir") = "auto",
           py::arg("max_cache_size") = CacheOptions::default_max_bytes,
           py::arg("custom_operators") = std::vector<CustomOperator>{})
      .def_property_readonly("device", [](const InferenceEngine& engine) { return device_name(engine.device()); })
      .def_property_readonly("threads", &InferenceEngine::threads)
      .def_property_readonly("kernel_set", &InferenceEngine::kernel_set)
      .def_property_readonly("batch_size", &InferenceEngine::batch_size)
      .def_property_readonly(
          "optimization_level",
          [](const InferenceEngine& engine) { return optimization_level_name(engine.optimization_level()); })
      .def(
          "plan",
          [](const InferenceEngine& engine, const Model& model, std::optional<int64_t> context_size,
             int64_t max_sequences, const std::string& kv_dtype, const std::string& head) {
            ReleasedInterpreter released;
            return engine.plan(
                model, engine.plan_options(model, session_options(context_size, max_sequences, kv_dtype, head)));
          },
          py::arg("model"), py::arg("context_size") = py::none(), py::arg("max_sequences") = 1,
          py::arg("kv_dtype") = "f16", py::arg("head") = "auto")
      .def(
          "infer",
          [](InferenceEngine& engine, std::shared_ptr<Model> model, const TokenArray& token_ids) {
            if (token_ids.ndim() != 1) {
              throw BatchProcessingError(concat("[engine] token ids must have 1 dimension, got ", token_ids.ndim()));
            }
            FloatMatrix logits;
            {
              const std::span<const int32_t> ids(token_ids.data(), static_cast<size_t>(token_ids.size()));
              ReleasedInterpreter released;
              logits = engine.infer(std::move(model), ids);
            }
            return to_array(std::move(logits));
          },
          py::arg("model"), py::arg("token_ids"))
      .def(
          "infer_samples",
          [](InferenceEngine& engine, std::shared_ptr<Model> model, const py::array& given) {
            // Most arrays are what is needed; asking costs a tenth of what a conversion to the same does.
            const bool fits = SampleArray::check_(given);
            const auto x = fits ? py::reinterpret_borrow<SampleArray>(given) : SampleArray(given);
            // What stands in front of a sample's shape stands in front of its result's.
            const py::ssize_t in_front = x.ndim() - static_cast<py::ssize_t>(model->input_shape().size());
            std::vector<py::ssize_t> shape(x.shape(), x.shape() + std::max<py::ssize_t>(in_front, 0));
            shape.insert(shape.end(), model->output_shape().begin(), model->output_shape().end());
            py::array_t<float> y(std::move(shape));
            const std::span<const float> in(x.data(), static_cast<size_t>(x.size()));
            const std::span<float> out(y.mutable_data(), static_cast<size_t>(y.size()));
            {
              const ReleasedInterpreter released;
              engine.infer(std::move(model), in, out);
            }
            return y;
          },
          py::arg("model"), py::arg("x"))
      .def("measure_limits", &InferenceEngine::measure_limits, py::arg("bytes"), py::call_guard<ReleasedInterpreter>())
      .def("memory_usage", &InferenceEngine::memory_usage, py::call_guard<ReleasedInterpreter>())
      .def("release", &InferenceEngine::release, py::arg("model"), py::call_guard<ReleasedInterpreter>())
      .def("release_all", &InferenceEngine::release_all, py::call_guard<ReleasedInterpreter>());
}

void bind_session(py::module_& module) {
  py::class_<SamplingOptions>(module, "Sampling")
      .def(py::init([](float temperature, int32_t top_k, float top_p, float min_p, float repetition_penalty,
                       int32_t repetition_window, uint64_t seed, int32_t logprobs,
                       const std::map<int32_t, float>& logit_bias) {
             SamplingOptions options{temperature,
                                     top_k,
                                     top_p,
                                     min_p,
                                     repetition_penalty,
                                     repetition_window,
                                     seed,
                                     logprobs,
                                     {logit_bias.begin(), logit_bias.end()}};
             options.validate();
             return options;
           }),
           py::kw_only(), py::arg("temperature") = 0.0f, py::arg("top_k") = 0, py::arg("top_p") = 1.0f,
           py::arg("min_p") = 0.0f, py::arg("repetition_penalty") = 1.0f, py::arg("repetition_window") = 64,
           py::arg("seed") = 0, py::arg("logprobs") = -1, py::arg("logit_bias") = std::map<int32_t, float>{});

  py::class_<SampledToken>(module, "StepResult")
      .def_property_readonly(
          "token", [](const SampledToken& token) { return token.id < 0 ? std::nullopt : std::optional(token.id); })
      .def_readonly("logprob", &SampledToken::logprob)
      .def_property_readonly("top_logprobs", [](const SampledToken& token) {
        return token.logprob ? std::optional(token.top_logprobs) : std::nullopt;
      });

  py::class_<HeadStatistics>(module, "HeadStatistics")
      .def_readonly("tokens", &HeadStatistics::tokens)
      .def_readonly("rows", &HeadStatistics::rows)
      .def_readonly("full_tokens", &HeadStatistics::full_tokens);

  py::class_<Session>(module, "Session")
      .def(py::init([](std::shared_ptr<InferenceEngine> engine, std::shared_ptr<Model> model,
                       std::optional<int64_t> context_size, int64_t max_sequences, const std::string& kv_dtype,
                       const std::string& head) {
             const SessionOptions options = session_options(context_size, max_sequences, kv_dtype, head);
             ReleasedInterpreter released;
             return std::make_unique<Session>(std::move(engine), std::move(model), options);
           }),
           py::arg("engine"), py::arg("model"), py::arg("context_size") = py::none(), py::arg("max_sequences") = 1,
           py::arg("kv_dtype") = "f16", py::arg("head") = "auto")
      .def_property_readonly("context_size", &Session::context_size)
      .def_property_readonly("plan", [](const Session& session) { return session.plan(); })
      .def("head_statistics", &Session::head_statistics, py::call_guard<ReleasedInterpreter>())
      .def(
          "open",
          [](Session& session, std::optional<SamplingOptions> sampling) {
            ReleasedInterpreter released;
            return session.open(sampling.value_or(SamplingOptions{}));
          },
          py::arg("sampling") = py::none())
      .def(
          "fork",
          [](Session& session, SequenceId sequence, std::optional<SamplingOptions> sampling) {
            ReleasedInterpreter released;
            return session.fork(sequence, sampling.value_or(SamplingOptions{}));
          },
          py::arg("sequence"), py::arg("sampling") = py::none())
      .def("check_process", &Session::check_process)
      .def("close", &Session::close, py::arg("sequence"), py::call_guard<ReleasedInterpreter>())
      .def("length", &Session::length, py::arg("sequence"), py::call_guard<ReleasedInterpreter>())
      .def("truncate", &Session::truncate, py::arg("sequence"), py::arg("length"),
           py::call_guard<ReleasedInterpreter>())
      .def(
          "step",
          [](Session& session, const std::vector<FedTuple>& fed) {
            std::vector<Feed> feeds;
            for (const auto& [sequence, token_ids, sample] : fed) feeds.push_back({sequence, token_ids, sample});
            ReleasedInterpreter released;
            return session.step(feeds);
          },
          py::arg("feeds"))
      .def(
          "logits",
          [](Session& session, SequenceId sequence, const std::vector<int32_t>& token_ids) {
            FloatMatrix logits;
            {
              ReleasedInterpreter released;
              logits = session.logits(sequence, token_ids);
            }
            return to_array(std::move(logits));
          },
          py::arg("sequence"), py::arg("token_ids"));
}

}  // namespace

void bind_engine(py::module_& module) {
  bind_inference_engine(module);
  bind_session(module);
  module.def("default_thread_count", &default_thread_count);
}

}  // namespace tritium::python
