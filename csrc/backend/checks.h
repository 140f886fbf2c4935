// What every backend checks before it allocates or runs anything.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "backend/batch.h"
#include "backend/kv_cache.h"
#include "memory/memory_pool.h"
#include "model/model.h"
#include "plan/execution_plan.h"

namespace tritium {

// BatchProcessingError for ids, lengths and sequences that do not fit the model, the cache or a pass of the plan.
void check_batch(const ExecutionPlan& plan, const ModelConfig& config, const KVCache& cache, const Batch& batch);

// MemoryLimitError if the estimate, without `shared` bytes of weights that are packed already, does not fit. `arena`
// bytes are held for networks and make room for a larger arena.
void check_room(const Model& model, const MemoryEstimate& estimate, int64_t shared, const MemoryPool& pool,
                size_t arena);

// Room for a batch in the cache: taken on construction, given back on destruction unless kept.
class Reservation {
 public:
  Reservation(KVCache& cache, const Batch& batch);
  ~Reservation() { give_back(); }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  void keep() { taken_.clear(); }

 private:
  void give_back();

  KVCache& cache_;
  std::vector<std::pair<SequenceId, int64_t>> taken_;  // and the length before
};

}  // namespace tritium
