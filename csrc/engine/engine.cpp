#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"

namespace tritium {
namespace {

// How many samples of a network x holds.
int64_t count_samples(const Model& model, std::span<const float> x) {
  if (model.is_language_model()) {
    throw BatchProcessingError(
        concat("[engine] '", model.name(), "' is a language model that takes token ids, not float32 samples"));
  }
  const int64_t elements = static_cast<int64_t>(x.size());
  const int64_t sample = element_count(model.input_shape());
  if (elements == 0 || elements % sample != 0) {
    throw BatchProcessingError(concat("[engine] ", elements, " numbers given; at least one sample of ", sample, " of ",
                                      shape_text(model.input_shape()), " is needed, and whole ones"));
  }
  return elements / sample;
}

}  // namespace

InferenceEngine::InferenceEngine(std::unique_ptr<InferenceBackend> backend, std::shared_ptr<MemoryPool> pool,
                                 EngineSettings settings)
    : pool_(std::move(pool)), backend_(std::move(backend)), settings_(std::move(settings)) {}

MemoryUsage InferenceEngine::memory_usage() {
  check_process();
  if (std::unique_lock lock(queue_, std::try_to_lock); lock) forget_dead_models();
  MemoryUsage usage;
  usage.kv_cache = pool_->active(kCacheMemory);
  usage.pool = pool_->working_stats();
  usage.total = pool_->stats();
  usage.models = backend_->model_memory();
  for (const ModelMemory& model : usage.models) {
    usage.weights += model.weights;
    usage.mapped_weights += model.mapped_weights;
  }
  return usage;
}

PlanOptions InferenceEngine::plan_options(const Model& model, const SessionOptions& options) const {
  if (!model.is_language_model()) {
    if (options.context_size) {
      throw BatchProcessingError(concat("[engine] '", model.name(), "' is a network and has no context; context_size ",
                                        *options.context_size, " was given"));
    }
    if (options.kv_dtype != KVDType::kF16) {
      throw BatchProcessingError(concat("[engine] '", model.name(),
                                        "' is a network and keeps no keys and values; kv_dtype ",
                                        kv_dtype_name(options.kv_dtype), " was given"));
    }
    return {.level = settings_.level,
            .max_tokens = settings_.batch_size,
            .context_size = 1,
            .head = options.head,
            .ternary_format = ternary_format(model)};
  }
  const int64_t longest = model.config().context_length;
  const int64_t context = options.context_size.value_or(std::min(longest, kDefaultContext));
  if (context < 1 || context > longest) {
    throw BatchProcessingError(
        concat("[engine] context_size must lie in [1, ", longest, "], the model's, got ", context));
  }
  const int64_t sequences = options.max_sequences;
  if (sequences < 1 || sequences > kMaxSequences) {
    throw BatchProcessingError(concat("[engine] max_sequences must lie in [1, ", kMaxSequences, "], got ", sequences));
  }
  return {.level = settings_.level,
          .max_tokens = std::min(kTokensPerPass, context * sequences),
          .context_size = context,
          .max_sequences = sequences,
          .kv_dtype = options.kv_dtype,
          .head = options.head,
          .ternary_format = ternary_format(model)};
}

std::string InferenceEngine::ternary_format(const Model& model) const {
  constexpr int64_t kCachedWeights = int64_t{64} << 20;  // 16 MiB in 2 bits: what last-level caches hold
  return model.ternary_parameter_count() <= kCachedWeights ? settings_.cached_ternary_format : settings_.ternary_format;
}

ExecutionPlan InferenceEngine::plan(const Model& model, const PlanOptions& options) const {
  check_process();
  return backend_->plan(model, options);
}

PreparedModel& InferenceEngine::prepare_to_infer(const std::shared_ptr<const Model>& model) {
  forget_dead_models();
  if (const auto known = inferred_.find(model.get()); known != inferred_.end()) return *known->second.prepared;
  // All rows of the output are wanted: no small copy of a head helps.
  const PlanOptions options = plan_options(*model, {.head = HeadFormat::kFull});
  // The caller keeps the model alive while it runs, and nothing here does afterwards.
  auto prepared = optimize({std::shared_ptr<const Model>(), model.get()}, options);
  return *inferred_.emplace(model.get(), Inferred{model, std::move(prepared)}).first->second.prepared;
}

std::shared_ptr<PreparedModel> InferenceEngine::prepare(std::shared_ptr<const Model> model,
                                                        const PlanOptions& options) {
  return run([&](InferenceBackend&) {
    forget_dead_models();
    return optimize(std::move(model), options);
  });
}

void InferenceEngine::forget_dead_models() {
  std::erase_if(inferred_, [](const auto& entry) { return entry.second.model.expired(); });
}

std::shared_ptr<PreparedModel> InferenceEngine::optimize(std::shared_ptr<const Model> model,
                                                         const PlanOptions& options) {
  try {
    return backend_->optimize_model(model, options);
  } catch (const MemoryLimitError&) {
    const MemoryEstimate needed = backend_->plan(*model, options).memory;
    const bool fits_alone = static_cast<size_t>(needed.arena + needed.outputs) <= pool_->working_stats().limit &&
                            static_cast<size_t>(needed.total()) <= pool_->stats().limit;
    if (inferred_.empty() || !fits_alone) throw;
  }
  inferred_.clear();
  backend_->trim();
  return backend_->optimize_model(std::move(model), options);
}

void InferenceEngine::release(const Model& model) {
  run([&](InferenceBackend&) { inferred_.erase(&model); });
}

void InferenceEngine::release_all() {
  run([&](InferenceBackend& backend) {
    inferred_.clear();
    backend.trim();
  });
}

FloatMatrix InferenceEngine::infer(std::shared_ptr<const Model> model, std::span<const int32_t> token_ids) {
  const int64_t context = std::min(model->config().context_length, kDefaultContext);
  if (token_ids.empty() || static_cast<int64_t>(token_ids.size()) > context) {
    throw BatchProcessingError(
        concat("[engine] ", token_ids.size(), " tokens given; their number must lie in [1, ", context, "]"));
  }
  return run([&](InferenceBackend& backend) {
    PreparedModel& prepared = prepare_to_infer(model);
    const std::unique_ptr<KVCache> cache = backend.create_cache(prepared);
    return feed_sequence(backend, prepared, *cache, cache->create(), token_ids);
  });
}

FloatMatrix InferenceEngine::infer(std::shared_ptr<const Model> model, std::span<const float> x) {
  const int64_t samples = count_samples(*model, x);
  const int64_t outputs = element_count(model->output_shape());
  const size_t size = static_cast<size_t>(samples * outputs);
  FloatMatrix y{std::make_unique_for_overwrite<float[]>(size), samples, outputs};
  infer(std::move(model), x, {y.data.get(), size});
  return y;
}

void InferenceEngine::infer(std::shared_ptr<const Model> model, std::span<const float> x, std::span<float> y) {
  const int64_t samples = count_samples(*model, x);
  const int64_t needed = samples * element_count(model->output_shape());
  if (static_cast<int64_t>(y.size()) != needed) {
    throw BatchProcessingError(concat("[engine] the result has room for ", y.size(), " numbers, ", samples,
                                      " samples of ", shape_text(model->output_shape()), " need ", needed));
  }
  run([&](InferenceBackend& backend) {
    backend.execute_samples(prepare_to_infer(model), x.data(), samples, y.data());
  });
}

}  // namespace tritium
