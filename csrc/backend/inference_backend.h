// InferenceBackend: one device's way to run execution plans.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/batch.h"
#include "backend/kv_cache.h"
#include "base/device.h"
#include "model/model.h"
#include "plan/execution_plan.h"

namespace tritium {

// What a screened head has done so far.
struct HeadStatistics {
  int64_t tokens = 0;       // outputs that were screened
  int64_t full_tokens = 0;  // of the tokens, those that took the whole head after all
  int64_t rows = 0;         // rows of the head that were computed for the others
};

// What a model takes on a backend, in bytes.
struct ModelMemory {
  std::string name;           // the model's
  size_t weights = 0;         // packed weights
  size_t mapped_weights = 0;  // of them, those that are pages of files in the packed cache
  size_t arena = 0;           // intermediate values of one pass
};

// A model made ready for one backend: its plan and its packed weights. Keeps its model alive if it was given a pointer
// that does.
class PreparedModel {
 public:
  virtual ~PreparedModel() = default;
  virtual const Model& model() const = 0;
  virtual const ExecutionPlan& plan() const = 0;
  virtual HeadStatistics head_statistics() const = 0;
};

// What the device can do at most.
struct DeviceLimits {
  double read_bytes_per_second = 0;
  double multiply_adds_per_second = 0;  // 8-bit, with the instructions of the kernel set in use
};

// One call at a time, but for plan() and model_memory().
class InferenceBackend {
 public:
  virtual ~InferenceBackend() = default;
  virtual DeviceKind device() const = 0;
  virtual int threads() const = 0;
  virtual std::string kernel_set() const = 0;  // "avx2"

  // The plan and its memory, without allocating or packing anything.
  virtual ExecutionPlan plan(const Model& model, const PlanOptions& options) const = 0;

  // Packs the weights. MemoryLimitError, before anything is allocated, if the plan's estimate passes the limit;
  // OptimizationError for an operator that this backend does not have; ModelLoadError for weights that cannot be.
  virtual std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                        const PlanOptions& options) = 0;

  virtual std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) = 0;

  // Runs every sequence's tokens in one pass. BatchProcessingError for ids or lengths that do not fit; the cache is
  // unchanged after any error. A batch holds at most plan().options.max_tokens tokens.
  virtual BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) = 0;

  // Runs a network: x (samples, elements of input_shape) to y (samples, elements of output_shape), which do not
  // overlap; in passes of at most plan().options.max_tokens samples.
  virtual void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) = 0;

  // Every model of which something is prepared, in no order.
  virtual std::vector<ModelMemory> model_memory() const = 0;

  // Gives back to the system what is only kept for the next call.
  virtual void trim() = 0;

  // Measures the device's limits with this backend's threads, in a fraction of a second. `bytes` of memory, which
  // should be several times larger than the caches, are allocated for it. MemoryLimitError if they do not fit the
  // limit.
  virtual DeviceLimits measure_limits(size_t bytes) = 0;

  // Name of the ternary format in which this backend multiplies one row fastest, measured with its threads on memory
  // larger than the caches, in less than a tenth of a second.
  virtual std::string fastest_ternary_format() = 0;
};

}  // namespace tritium
