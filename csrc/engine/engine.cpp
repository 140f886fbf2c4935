#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"

namespace tritium {

InferenceEngine::InferenceEngine(std::unique_ptr<InferenceBackend> backend, std::shared_ptr<MemoryPool> pool,
                                 OptimizationLevel level)
    : pool_(std::move(pool)), backend_(std::move(backend)), level_(level) {}

PlanOptions InferenceEngine::plan_options(const Model& model, const SessionOptions& options) const {
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
  return {level_, std::min(kTokensPerPass, context * sequences), context, sequences, options.kv_dtype, options.head};
}

ExecutionPlan InferenceEngine::plan(const Model& model, const PlanOptions& options) const {
  return backend_->plan(model, options);
}

FloatMatrix InferenceEngine::infer(std::shared_ptr<const Model> model, std::span<const int32_t> token_ids) {
  // All logits of all tokens: no small copy helps.
  const PlanOptions options = plan_options(*model, {.head = HeadFormat::kFull});
  const int64_t context = options.context_size;
  if (token_ids.empty() || static_cast<int64_t>(token_ids.size()) > context) {
    throw BatchProcessingError(
        concat("[engine] ", token_ids.size(), " tokens given; their number must lie in [1, ", context, "]"));
  }
  return run([&](InferenceBackend& backend) {
    if (!last_inferred_ || &last_inferred_->model() != model.get()) {
      last_inferred_.reset();
      last_inferred_ = backend.optimize_model(model, options);
    }
    const std::unique_ptr<KVCache> cache = backend.create_cache(*last_inferred_);
    return feed_sequence(backend, *last_inferred_, *cache, cache->create(), token_ids);
  });
}

}  // namespace tritium
