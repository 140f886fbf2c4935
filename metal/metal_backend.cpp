#include "metal/metal_backend.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "backend/checks.h"
#include "backend/packed_cache.h"
#include "backend/packed_weights.h"
#include "backend/prepared_list.h"
#include "backend/select_kernels.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "metal/kernels/arguments.h"
#include "metal/metal_batch.h"
#include "metal/metal_kv_cache.h"
#include "metal/metal_limits.h"
#include "metal/metal_model.h"
#include "metal/metal_samples.h"
#include "plan/build_plan.h"

namespace tritium {
namespace {

void check_options(const PlanOptions& options) {
  if (options.ternary_format != kernels::k2BitLayout.name) {
    throw OptimizationError(concat("[metal] there is no ternary format '", options.ternary_format, "'; there is ",
                                   kernels::k2BitLayout.name));
  }
  if (options.kv_dtype != KVDType::kF16) {
    throw OptimizationError(concat("[metal] there is no kv_dtype '", kv_dtype_name(options.kv_dtype), "'; there is ",
                                   kv_dtype_name(KVDType::kF16)));
  }
  if (options.head != HeadFormat::kAuto && options.head != HeadFormat::kFull) {
    throw OptimizationError(concat("[metal] there is no head '", head_format_name(options.head), "'; there is ",
                                   head_format_name(HeadFormat::kFull)));
  }
}

void check_weights(const Model& model) {
  for (const TernaryWeight& weight : model.ternary_weights()) {
    if (weight.groups > 1 && weight.group_columns() % kStepColumns != 0) {
      throw OptimizationError(concat("[metal] ", weight.tensor.label(), " has groups of ", weight.group_columns(),
                                     " columns; Metal takes multiples of ", int{kStepColumns}));
    }
  }
}

// Rows that a batch may have beside those of the vocabulary: how many a second launch of top_k takes.
constexpr int64_t kMaxVocab = int64_t{kTopKChunk} * kTopKChunk;

class MetalBackend final : public InferenceBackend {
 public:
  MetalBackend(MetalOptions options, std::shared_ptr<MemoryPool> pool, CustomOperators operators)
      : threads_(options.threads),
        pool_(std::move(pool)),
        caches_(std::move(options.cache)),
        operators_(std::move(operators)),
        names_(metal_names()) {
    for (auto& device : metal_devices()) {
      auto pipelines = std::make_unique<MetalPipelines>(device);
      devices_.push_back({std::make_shared<MetalMemory>(std::move(device), pool_), std::move(pipelines)});
    }
  }

  DeviceKind device() const override { return DeviceKind::kMetal; }
  int threads() const override { return threads_.size(); }
  std::string kernel_set() const override { return concat("metal (", names_, ")"); }

  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override;
  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override;
  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override;
  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override;
  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override;
  std::vector<ModelMemory> model_memory() const override;
  void trim() override { pool_->trim(); }
  DeviceLimits measure_limits(size_t bytes) override;
  std::string fastest_ternary_format() override { return kernels::k2BitLayout.name; }

 private:
  std::shared_ptr<const PlacedWeights> place(const Model& model);
  void check_devices(const Model& model, const MemoryEstimate& memory) const;

  ThreadPool threads_;
  std::shared_ptr<MemoryPool> pool_;
  PackedCaches caches_;
  const CustomOperators operators_;
  const std::string names_;
  std::vector<MetalContext> devices_;
  std::map<const Model*, std::weak_ptr<const PlacedWeights>> placed_;
  PreparedList<MetalModel> prepared_;
};

ExecutionPlan MetalBackend::plan(const Model& model, const PlanOptions& options) const {
  check_options(options);
  check_weights(model);
  for (const Operator& op : model.graph().operators) {
    if (const auto* custom = std::get_if<CustomOp>(&op.kind)) operators_.check(*custom);
  }
  PlanOptions full = options;
  full.head = HeadFormat::kFull;
  ExecutionPlan plan = build_plan(model.graph(), full);
  for (const Step& step : plan.steps) check_metal_step(plan, step);
  const auto devices = static_cast<int64_t>(devices_.size());
  plan.memory.arena = 0;
  plan.memory.weights = 0;
  for (const MetalContext& device : devices_) {
    plan.memory.arena += static_cast<int64_t>(MetalArena(plan).bytes());
    plan.memory.weights += metal_weight_bytes(model, two_bit_format(), *device.memory);
    if (!model.is_language_model()) {
      plan.memory.arena += metal_transfer_bytes(plan, device.device().has_unified_memory());
    }
  }
  plan.weight_bytes_per_token = weight_bytes_per_token(model, two_bit_format());
  if (!model.is_language_model()) return plan;
  const ModelConfig& config = model.config();
  if (config.vocab_size > kMaxVocab) {
    throw OptimizationError(
        concat("[metal] the vocabulary has ", config.vocab_size, " tokens; Metal takes at most ", kMaxVocab));
  }
  plan.memory.weights += devices * options.context_size * config.head_dim * 4;
  const int64_t kv = cache_shape(config, options.kv_dtype).bytes(options.context_size, options.max_sequences);
  plan.memory.kv_cache = kv + kv / 2;  // while the buffer grows for the last time, both are there
  plan.memory.outputs = plan.values[plan.output].bytes(options.max_sequences) +
                        metal_argmax_scratch_bytes(options.max_sequences, config.vocab_size);
  return plan;
}

// MemoryLimitError if a device cannot hold its part.
void MetalBackend::check_devices(const Model& model, const MemoryEstimate& memory) const {
  const auto devices = static_cast<int64_t>(devices_.size());
  const auto needed = static_cast<size_t>((memory.arena + memory.weights) / devices + memory.kv_cache + memory.outputs);
  for (const MetalContext& context : devices_) {
    const MetalDevice& device = context.device();
    if (device.working_set_bytes() > 0 && needed > device.working_set_bytes()) {
      throw MemoryLimitError(concat("[memory] '", model.name(), "' needs ", needed, " bytes on ", device.name(),
                                    ", which holds ", device.working_set_bytes(),
                                    "; fewer sequences or a smaller context_size or batch_size need less"));
    }
  }
}

std::shared_ptr<const PlacedWeights> MetalBackend::place(const Model& model) {
  const auto packed = pack_weights(model, two_bit_format(), threads_, *pool_, caches_.of(model.cache()));
  auto placed = std::make_shared<PlacedWeights>();
  for (const MetalContext& device : devices_) placed->devices.push_back(place_weights(*packed, model, *device.memory));
  placed->panels_bytes = packed->panels_bytes;
  placed->is_mapped = packed->is_mapped;
  return placed;
}

std::shared_ptr<PreparedModel> MetalBackend::optimize_model(std::shared_ptr<const Model> model,
                                                            const PlanOptions& options) {
  const AutoreleaseScope scope;
  for (const MetalContext& device : devices_) device.device().check();
  ExecutionPlan plan = this->plan(*model, options);
  std::shared_ptr<const PlacedWeights> weights;
  if (const auto found = placed_.find(model.get()); found != placed_.end()) weights = found->second.lock();
  int64_t shared = 0;
  for (const MetalContext& device : devices_) {
    if (weights) shared += metal_weight_bytes(*model, two_bit_format(), *device.memory);
  }
  check_room(*model, plan.memory, shared, *pool_, 0);
  check_devices(*model, plan.memory);
  if (!weights) weights = place(*model);
  const auto prepared = std::make_shared<MetalModel>(std::move(model), weights, std::move(plan), devices_);
  std::erase_if(placed_, [](const auto& entry) { return entry.second.expired(); });
  placed_[prepared->address()] = weights;
  prepared_.add(prepared);
  return prepared;
}

std::vector<ModelMemory> MetalBackend::model_memory() const {
  std::map<const Model*, ModelMemory> models;
  std::set<const PlacedWeights*> counted;
  for (const auto& each : prepared_.alive()) {
    ModelMemory& memory = models[each->address()];
    memory.name = each->name();
    memory.arena += static_cast<size_t>(each->plan().memory.arena);
    const PlacedWeights& weights = *each->weights();
    if (!counted.insert(&weights).second) continue;
    memory.weights += weights.panels_bytes;
    if (weights.is_mapped) memory.mapped_weights += weights.panels_bytes;
  }
  std::vector<ModelMemory> result;
  for (auto& [address, memory] : models) result.push_back(std::move(memory));
  return result;
}

std::unique_ptr<KVCache> MetalBackend::create_cache(const PreparedModel& prepared) {
  const auto& model = static_cast<const MetalModel&>(prepared);
  const PlanOptions& options = model.plan().options;
  const KVCacheShape shape = cache_shape(model.model().config(), options.kv_dtype);
  const int64_t planned = shape.bytes(options.context_size, options.max_sequences) / shape.page_bytes();
  std::vector<std::shared_ptr<MetalPages>> pages;
  for (const MetalContext& device : devices_) {
    pages.push_back(std::make_shared<MetalPages>(device.memory, shape.page_bytes(), planned));
  }
  return std::make_unique<MetalKVCache>(options.context_size, std::move(pages), model.speeds());
}

BatchOutput MetalBackend::execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) {
  const AutoreleaseScope scope;
  const auto& model = static_cast<const MetalModel&>(prepared);
  auto& metal_cache = static_cast<MetalKVCache&>(cache);
  check_batch(model.plan(), model.model().config(), cache, batch);
  Reservation reservation(cache, batch);

  std::vector<std::vector<size_t>> places(devices_.size());  // of the batch, by device
  for (size_t place = 0; place < batch.sequences.size(); ++place) {
    places[metal_cache.device(batch.sequences[place].sequence)].push_back(place);
  }
  std::vector<std::unique_ptr<MetalBatch>> parts;
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (places[i].empty()) continue;
    parts.push_back(std::make_unique<MetalBatch>(model, devices_[i], i, metal_cache, batch, places[i]));
  }
  for (auto& part : parts) part->submit();
  for (auto& part : parts) part->wait();

  BatchOutput result;
  result.sequences.resize(batch.sequences.size());
  for (auto& part : parts) result.logits.push_back(part->take_outputs(result.sequences));
  reservation.keep();
  return result;
}

// Shares of the samples by the speed of the devices; a part runs on each, in passes.
void MetalBackend::execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) {
  const AutoreleaseScope scope;
  const auto& model = static_cast<const MetalModel&>(prepared);
  const int64_t inputs = model.plan().values[model.plan().input].width;
  const int64_t outputs = model.plan().values[model.plan().output].width;
  const double all = std::accumulate(model.speeds().begin(), model.speeds().end(), 0.0);
  std::vector<std::unique_ptr<MetalSamples>> parts;
  int64_t first = 0;
  double speed = 0;
  for (size_t i = 0; i < devices_.size(); ++i) {
    speed += model.speeds()[i];
    const bool is_last = i + 1 == devices_.size();
    const int64_t end = is_last ? samples : static_cast<int64_t>(static_cast<double>(samples) * speed / all);
    parts.push_back(
        std::make_unique<MetalSamples>(model, devices_[i], i, x + first * inputs, end - first, y + first * outputs));
    first = end;
  }
  for (bool more = true; more;) {
    more = false;
    for (auto& part : parts) more = part->advance() || more;
  }
  for (auto& part : parts) part->finish();
}

DeviceLimits MetalBackend::measure_limits(size_t bytes) {
  DeviceLimits all;
  for (const MetalContext& device : devices_) {
    const DeviceLimits limits = measure_metal_limits(device, bytes);
    all.read_bytes_per_second += limits.read_bytes_per_second;
    all.multiply_adds_per_second += limits.multiply_adds_per_second;
  }
  return all;
}

}  // namespace

std::string metal_missing() { return metal_devices().empty() ? "without a device here" : ""; }

std::string metal_names() {
  std::string names;
  for (const auto& device : metal_devices()) names += (names.empty() ? "" : ", ") + device->name();
  return names;
}

std::unique_ptr<InferenceBackend> make_metal_backend(MetalOptions options, std::shared_ptr<MemoryPool> pool,
                                                     CustomOperators operators) {
  if (const std::string missing = metal_missing(); !missing.empty()) {
    throw DeviceError(concat("[device] metal is ", missing));
  }
  return std::make_unique<MetalBackend>(std::move(options), std::move(pool), std::move(operators));
}

}  // namespace tritium
