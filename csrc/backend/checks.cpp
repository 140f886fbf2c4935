#include "backend/checks.h"

#include <set>

#include "base/error.h"

namespace tritium {

void check_batch(const ExecutionPlan& plan, const ModelConfig& config, const KVCache& cache, const Batch& batch) {
  std::set<SequenceId> seen;
  int64_t tokens = 0;
  for (const SequenceInput& input : batch.sequences) {
    if (!seen.insert(input.sequence).second) {
      throw BatchProcessingError(concat("[batch] sequence ", input.sequence, " appears twice"));
    }
    if (input.token_ids.empty()) {
      throw BatchProcessingError(concat("[batch] sequence ", input.sequence, " has 0 tokens; it needs at least 1"));
    }
    for (size_t i = 0; i < input.token_ids.size(); ++i) {
      const int32_t id = input.token_ids[i];
      if (id < 0 || id >= config.vocab_size) {
        throw BatchProcessingError(
            concat("[batch] token id ", id, " at place ", i, " lies outside [0, ", config.vocab_size, ")"));
      }
    }
    tokens += static_cast<int64_t>(input.token_ids.size());
    const int64_t length = cache.length(input.sequence) + static_cast<int64_t>(input.token_ids.size());
    if (length > cache.max_tokens()) {
      throw BatchProcessingError(concat("[batch] sequence ", input.sequence, " would have ", length,
                                        " tokens, the context holds ", cache.max_tokens()));
    }
  }
  if (tokens > plan.options.max_tokens) {
    throw BatchProcessingError(
        concat("[batch] ", tokens, " tokens in one pass, the plan holds ", plan.options.max_tokens));
  }
}

void check_room(const Model& model, const MemoryEstimate& estimate, int64_t shared, const MemoryPool& pool,
                size_t arena) {
  const MemoryStats all = pool.stats(), working = pool.working_stats();
  const auto working_bytes = static_cast<size_t>(estimate.arena + estimate.outputs);
  const auto needed = static_cast<size_t>(estimate.total() - shared);
  if (needed > all.limit - (all.active - arena)) {
    throw MemoryLimitError(concat("[memory] '", model.name(), "' needs ", needed, " bytes (weights ",
                                  estimate.weights - shared, ", KV cache ", estimate.kv_cache, ", arena ",
                                  estimate.arena, ", outputs ", estimate.outputs, "), ",
                                  all.limit - (all.active - arena), " of ", all.limit,
                                  " are free; fewer sequences or a smaller context_size or batch_size need less"));
  }
  if (working_bytes > working.limit - (working.active - arena)) {
    throw MemoryLimitError(concat("[memory] a pass of '", model.name(), "' needs ", working_bytes,
                                  " bytes of working memory (arena ", estimate.arena, ", outputs ", estimate.outputs,
                                  "), ", working.limit - (working.active - arena), " of ", working.limit,
                                  " are free; a smaller batch_size needs less, a larger memory_pool_size gives more"));
  }
}

Reservation::Reservation(KVCache& cache, const Batch& batch) : cache_(cache) {
  try {
    for (const SequenceInput& input : batch.sequences) {
      const int64_t before = cache.length(input.sequence);
      cache.append(input.sequence, static_cast<int64_t>(input.token_ids.size()));
      taken_.emplace_back(input.sequence, before);
    }
  } catch (...) {
    give_back();
    throw;
  }
}

void Reservation::give_back() {
  for (const auto& [sequence, length] : taken_) cache_.truncate(sequence, length);
  taken_.clear();
}

}  // namespace tritium
