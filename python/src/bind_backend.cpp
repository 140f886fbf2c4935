// PythonBackend: a backend that runs plans in Python. What it shares with the others, the plan, checks and lengths of
// sequences, is here; the object of Python's (tritium.mlx.backend.MlxBackend) has the weights, keys and values.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "backend/checks.h"
#include "backend/packed_cache.h"
#include "backend/packed_weights.h"
#include "backend/prepared_list.h"
#include "backend/select_kernels.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "bindings.h"
#include "engine/devices.h"
#include "engine/engine_builder.h"
#include "plan/build_plan.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

constexpr const char* kFormat = kernels::k2BitLayout.name;
constexpr int64_t kCacheStep = 256;  // positions by which tritium.mlx.kv_cache lets keys and values grow

// Memory that MLX allocates: the pool counts it and has none of it.
class MemoryOfMlx final : public MemorySource {
 public:
  void* allocate(size_t, const MemoryUse&) override { return this; }
  void free(void*, size_t) noexcept override {}
};

constexpr MemoryUse kCountedCache{kCacheMemory.name, false, false};

MemoryPool::Buffer count(MemoryPool& pool, int64_t bytes, const MemoryUse& use) {
  return pool.allocate(static_cast<size_t>(bytes), use, std::make_shared<MemoryOfMlx>());
}

int64_t bytes_of_position(const ModelConfig& config) {  // a key and a value of each layer and head, in float16
  return config.layers * config.kv_heads * config.head_dim * 2 * 2;
}

// Positions that there is room for where `tokens` are kept.
int64_t positions_for(int64_t tokens) { return (tokens + kCacheStep - 1) / kCacheStep * kCacheStep; }

using SharedObject = std::shared_ptr<py::object>;

SharedObject share(py::object object) { return share_with_threads(std::make_unique<py::object>(std::move(object))); }

// What call() gives, with the interpreter held.
auto with_python(const auto& call) {
  std::optional<py::gil_scoped_acquire> interpreter;
  enter_interpreter([&] { interpreter.emplace(); });
  try {
    return call();
  } catch (const py::error_already_set& error) {
    throw_as_ours(error, "[mlx]");
  } catch (const py::cast_error& error) {
    throw DeviceError(concat("[mlx] the backend gave something else than was asked for: ", error.what()));
  }
}

py::object call_method(const py::object& object, const char* name, const py::tuple& arguments = py::tuple()) {
  return call_python(object.attr(name), arguments);
}

class PythonModel final : public PreparedModel {
 public:
  PythonModel(std::shared_ptr<const Model> model, ExecutionPlan plan, SharedObject object, MemoryPool::Buffer counted)
      : model_(std::move(model)),
        name_(model_->name()),
        plan_(std::move(plan)),
        object_(std::move(object)),
        counted_(std::move(counted)) {}

  const Model& model() const override { return *model_; }
  const ExecutionPlan& plan() const override { return plan_; }
  HeadStatistics head_statistics() const override { return {}; }
  const py::object& object() const { return *object_; }
  ModelMemory memory() const { return {name_, counted_.size(), 0, static_cast<size_t>(plan_.memory.arena)}; }

 private:
  std::shared_ptr<const Model> model_;
  std::string name_;  // of the model, whether it is still there or not
  ExecutionPlan plan_;
  SharedObject object_;
  MemoryPool::Buffer counted_;
};

// Lengths are kept here, keys and values by the object, which learns where a sequence stands when tokens are fed.
class PythonCache final : public KVCache {
 public:
  PythonCache(SharedObject object, const PlanOptions& options, const ModelConfig& config,
              std::shared_ptr<MemoryPool> pool)
      : object_(std::move(object)),
        max_tokens_(options.context_size),
        bytes_of_position_(bytes_of_position(config)),
        pool_(std::move(pool)) {}

  SequenceId create() override {
    sequences_[next_id_] = {};
    return next_id_++;
  }

  SequenceId fork(SequenceId sequence) override {
    Sequence copy;
    make_room(copy, find(sequence).length);
    copy.length = find(sequence).length;
    with_python([&] { call_method(*object_, "fork", py::make_tuple(sequence, next_id_)); });
    sequences_[next_id_] = std::move(copy);
    return next_id_++;
  }

  void free(SequenceId sequence) override {
    if (sequences_.erase(sequence) == 0) return;
    with_python([&] { call_method(*object_, "free", py::make_tuple(sequence)); });
  }

  int64_t length(SequenceId sequence) const override { return find(sequence).length; }

  void append(SequenceId sequence, int64_t tokens) override {
    const int64_t before = length(sequence);
    if (before + tokens > max_tokens_) {
      throw BatchProcessingError(
          concat("[cache] ", before, " + ", tokens, " tokens do not fit the context of ", max_tokens_));
    }
    make_room(sequences_[sequence], before + tokens);
    sequences_[sequence].length = before + tokens;
  }

  void truncate(SequenceId sequence, int64_t shorter) override {
    const int64_t before = length(sequence);
    if (shorter < 0 || shorter > before) {
      throw BatchProcessingError(concat("[cache] cannot truncate a sequence of ", before, " tokens to ", shorter));
    }
    sequences_[sequence].length = shorter;
  }

  int64_t max_tokens() const override { return max_tokens_; }
  const py::object& object() const { return *object_; }

 private:
  struct Sequence {
    int64_t length = 0;
    int64_t capacity = 0;  // positions
    MemoryPool::Buffer counted;
  };

  const Sequence& find(SequenceId sequence) const {
    const auto found = sequences_.find(sequence);
    if (found != sequences_.end()) return found->second;
    throw BatchProcessingError(concat("[cache] sequence ", sequence, " is not open; ", sequences_.size(), " are"));
  }

  void make_room(Sequence& sequence, int64_t tokens) {
    const int64_t capacity = positions_for(tokens);
    if (capacity <= sequence.capacity) return;
    sequence.counted = count(*pool_, capacity * bytes_of_position_, kCountedCache);
    sequence.capacity = capacity;
  }

  SharedObject object_;
  const int64_t max_tokens_;
  const int64_t bytes_of_position_;
  std::shared_ptr<MemoryPool> pool_;
  std::map<SequenceId, Sequence> sequences_;
  SequenceId next_id_ = 0;
};

const char* want_name(Want want) {
  switch (want) {
    case Want::kNothing:
      return "nothing";
    case Want::kArgmax:
      return "argmax";
    case Want::kAll:
      return "all";
    default:
      return "last";
  }
}

int64_t rows_of_logits(const SequenceInput& input) {
  if (input.want == Want::kNothing || input.want == Want::kArgmax) return 0;
  return input.want == Want::kAll ? static_cast<int64_t>(input.token_ids.size()) : 1;
}

// What a sequence got back: None, (id, logit), or logits (rows, vocab) that are copied to `logits`.
SequenceOutput take_output(const SequenceInput& input, const py::handle& given, int64_t vocab, float* logits) {
  SequenceOutput output;
  if (input.want == Want::kNothing) return output;
  output.rows = std::max<int64_t>(rows_of_logits(input), 1);
  if (input.want == Want::kArgmax) {
    const auto [id, logit] = given.cast<std::pair<int32_t, float>>();
    output.argmax = id;
    output.argmax_logit = logit;
    output.candidates = {{id, logit}};
    return output;
  }
  const auto array = given.cast<py::array_t<float, py::array::c_style>>();
  if (array.ndim() != 2 || array.shape(0) != output.rows || array.shape(1) != vocab) {
    throw DeviceError(
        concat("[mlx] logits of ", array.size(), " numbers given, ", output.rows, " rows of ", vocab, " are needed"));
  }
  std::memcpy(logits, array.data(), static_cast<size_t>(array.nbytes()));
  output.logits = logits;
  return output;
}

// float32 (rows, width) over memory that the array does not own.
py::array_t<float> lent(const float* data, int64_t rows, int64_t width, bool writeable) {
  const py::capsule nothing(data, [](void*) {});
  py::array_t<float> array(std::vector<py::ssize_t>{rows, width}, data, nothing);
  if (!writeable) array.attr("flags").attr("writeable") = false;
  return array;
}

class PythonBackend final : public InferenceBackend {
 public:
  PythonBackend(DeviceKind kind, SharedObject object, const EngineOptions& options, std::shared_ptr<MemoryPool> pool)
      : kind_(kind),
        object_(std::move(object)),
        threads_(options.threads),
        pool_(std::move(pool)),
        caches_(options.cache) {
    if (threads_ == 0) threads_ = default_thread_count();
    with_python([&] { name_ = object_->attr("name").cast<std::string>(); });
  }

  DeviceKind device() const override { return kind_; }
  int threads() const override { return threads_; }
  std::string kernel_set() const override { return name_; }

  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override {
    ExecutionPlan plan = build_plan(model.graph(), checked(model, options));
    plan.memory.weights = packed_bytes(model, two_bit_format()) + dense_bytes(model);
    plan.weight_bytes_per_token = weight_bytes_per_token(model, two_bit_format());
    if (!model.is_language_model()) return plan;
    const ModelConfig& config = model.config();
    plan.memory.kv_cache = options.max_sequences * positions_for(options.context_size) * bytes_of_position(config);
    plan.memory.weights += options.context_size * config.head_dim * 4;  // tables of the rotary positions
    plan.memory.outputs = plan.values[static_cast<size_t>(plan.output)].bytes(options.max_sequences);
    return plan;
  }

  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override {
    ExecutionPlan plan = this->plan(*model, options);
    MemoryEstimate needed = plan.memory;
    needed.weights += packed_bytes(*model, two_bit_format());  // which are copied from where they are packed
    check_room(*model, needed, 0, *pool_, 0);
    MemoryPool::Buffer counted = count(*pool_, plan.memory.weights, kWeightsMemory);
    std::shared_ptr<const PackedWeights> weights;
    {
      ThreadPool threads(threads_);
      weights = pack_weights(*model, two_bit_format(), threads, *pool_, caches_.of(model->cache()));
    }
    SharedObject object = with_python([&] {
      const py::tuple arguments = py::make_tuple(plan, ModelWeights{model, weights});
      return share(call_method(*object_, "optimize_model", arguments));
    });
    auto prepared =
        std::make_shared<PythonModel>(std::move(model), std::move(plan), std::move(object), std::move(counted));
    prepared_.add(prepared);
    return prepared;
  }

  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override {
    const auto& model = static_cast<const PythonModel&>(prepared);
    SharedObject object = with_python([&] { return share(call_method(model.object(), "create_cache")); });
    return std::make_unique<PythonCache>(std::move(object), model.plan().options, model.model().config(), pool_);
  }

  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override {
    const auto& model = static_cast<const PythonModel&>(prepared);
    const int64_t vocab = model.model().config().vocab_size;
    check_batch(model.plan(), model.model().config(), cache, batch);
    Reservation reservation(cache, batch);
    BatchOutput result;
    int64_t rows = 0;
    for (const SequenceInput& input : batch.sequences) rows += rows_of_logits(input);
    float* logits = nullptr;
    if (rows > 0) {
      result.logits.push_back(pool_->allocate(static_cast<size_t>(rows * vocab) * sizeof(float), kOutputMemory));
      logits = result.logits[0].as<float>();
    }
    with_python([&] {
      py::list fed;
      for (const SequenceInput& input : batch.sequences) {
        const auto count = static_cast<py::ssize_t>(input.token_ids.size());
        fed.append(py::make_tuple(input.sequence, cache.length(input.sequence) - count,
                                  py::array_t<int32_t>(count, input.token_ids.data()), want_name(input.want)));
      }
      const py::object& past = static_cast<PythonCache&>(cache).object();
      const auto outputs = call_method(model.object(), "execute_batch", py::make_tuple(past, fed)).cast<py::list>();
      for (size_t i = 0; i < batch.sequences.size(); ++i) {
        result.sequences.push_back(take_output(batch.sequences[i], outputs[i], vocab, logits));
        logits += rows_of_logits(batch.sequences[i]) * vocab;
      }
    });
    reservation.keep();
    return result;
  }

  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override {
    const auto& network = static_cast<const PythonModel&>(prepared);
    const ExecutionPlan& plan = network.plan();
    with_python([&] {
      const auto in = lent(x, samples, plan.values[static_cast<size_t>(plan.input)].width, false);
      const auto out = lent(y, samples, plan.values[static_cast<size_t>(plan.output)].width, true);
      call_method(network.object(), "execute_samples", py::make_tuple(in, out));
    });
  }

  std::vector<ModelMemory> model_memory() const override {
    std::vector<ModelMemory> models;
    for (const auto& each : prepared_.alive()) models.push_back(each->memory());
    return models;
  }

  void trim() override {
    pool_->trim();
    with_python([&] { call_method(*object_, "trim"); });
  }

  DeviceLimits measure_limits(size_t bytes) override {
    return with_python([&] {
      const auto [read, multiply] =
          call_method(*object_, "measure_limits", py::make_tuple(bytes)).cast<std::pair<double, double>>();
      return DeviceLimits{read, multiply};
    });
  }

  std::string fastest_ternary_format() override { return kFormat; }

 private:
  // Dense matrices, each once, as the float32 that they are widened to.
  static int64_t dense_bytes(const Model& model) {
    std::set<const std::byte*> seen;
    int64_t bytes = 0;
    for (const DenseWeight& weight : model.dense_weights()) {
      if (weight.tensor.shape.size() < 2 || !seen.insert(weight.tensor.data()).second) continue;
      bytes += element_count(weight.tensor.shape) * static_cast<int64_t>(sizeof(float));
    }
    return bytes;
  }

  // The options as this backend carries them out. OptimizationError for what it does not have.
  PlanOptions checked(const Model& model, PlanOptions options) const {
    const auto refuse = [&](const auto&... what) {
      throw OptimizationError(concat("[plan] ", device_name(kind_), " ", what...));
    };
    for (const Operator& op : model.graph().operators) {
      const auto* custom = std::get_if<CustomOp>(&op.kind);
      if (custom) refuse("runs no custom operators, '", model.name(), "' has '", custom->name, "'; the CPU does");
    }
    if (options.head == HeadFormat::kAuto) options.head = HeadFormat::kFull;
    if (options.head != HeadFormat::kFull) {
      refuse("reads the head in full, '", head_format_name(options.head), "' was asked for");
    }
    if (options.kv_dtype != KVDType::kF16) {
      refuse("keeps keys and values as f16, '", kv_dtype_name(options.kv_dtype), "' was asked for");
    }
    if (options.ternary_format != kFormat) {
      refuse("stores ternary weights as '", kFormat, "', '", options.ternary_format, "' was asked for");
    }
    return options;
  }

  const DeviceKind kind_;
  SharedObject object_;
  int threads_;
  std::string name_;
  std::shared_ptr<MemoryPool> pool_;
  PackedCaches caches_;
  PreparedList<PythonModel> prepared_;
};

void register_python_backend(const std::string& device, py::object look, py::object create, bool automatic) {
  const DeviceKind kind = parse_device(device);
  BackendProvider provider;
  provider.look = [kind, look = share(std::move(look))] {
    return with_python([&] {
      const auto [missing, not_chosen, detail] =
          call_python(*look, py::tuple()).cast<std::tuple<std::string, std::string, std::string>>();
      return DeviceCandidate{kind, missing, not_chosen, detail};
    });
  };
  provider.create = [kind, create = share(std::move(create))](const EngineOptions& options,
                                                              std::shared_ptr<MemoryPool> pool) {
    SharedObject object = with_python([&] { return share(call_python(*create, py::tuple())); });
    return std::make_unique<PythonBackend>(kind, std::move(object), options, std::move(pool));
  };
  provider.automatic = automatic;
  register_backend(kind, std::move(provider));
}

}  // namespace

void bind_backend(py::module_& module) {
  module.def("register_backend", &register_python_backend, py::arg("device"), py::arg("look"), py::arg("create"),
             py::kw_only(), py::arg("automatic") = true);
}

}  // namespace tritium::python
