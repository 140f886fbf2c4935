// InferenceEngine: one device with its memory, and the models prepared for it. Calls from several threads queue.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "backend/inference_backend.h"
#include "base/process_guard.h"
#include "engine/call_queue.h"
#include "engine/feed_sequence.h"
#include "memory/memory_pool.h"

namespace tritium {

inline constexpr int64_t kDefaultContext = 4096;  // tokens
inline constexpr int64_t kTokensPerPass = 256;
inline constexpr int64_t kSamplesPerPass = 32;  // of a network; what they become stays in the caches of a core
inline constexpr int64_t kMaxSequences = int64_t{1} << 16;

struct MemoryUsage {
  size_t weights = 0;   // bytes of packed weights in use
  size_t kv_cache = 0;  // bytes of KV pages in use
  MemoryStats pool;     // everything that the engine allocates, weights and pages among it
};

// What a caller chooses about the sequences of one model.
struct SessionOptions {
  std::optional<int64_t> context_size = {};  // tokens of a sequence; without it the model's, at most kDefaultContext
  int64_t max_sequences = 1;                 // open at once
  KVDType kv_dtype = KVDType::kF16;
  HeadFormat head = HeadFormat::kAuto;
};

class InferenceEngine {
 public:
  InferenceEngine(std::unique_ptr<InferenceBackend> backend, std::shared_ptr<MemoryPool> pool, OptimizationLevel level,
                  std::string ternary_format);

  DeviceKind device() const { return backend_->device(); }
  int threads() const { return backend_->threads(); }
  std::string kernel_set() const { return backend_->kernel_set(); }
  MemoryUsage memory_usage() const {
    return {pool_->active(kWeightsMemory), pool_->active(kCacheMemory), pool_->stats()};
  }

  // Options of this engine for a language model or a network, which has no context. BatchProcessingError if the context
  // is longer than the model's, max_sequences is less than 1, or a network is given a context or a kv_dtype.
  PlanOptions plan_options(const Model& model, const SessionOptions& options) const;
  // The plan that would run; nothing is allocated.
  ExecutionPlan plan(const Model& model, const PlanOptions& options) const;

  // Logits (token_ids.size(), vocab) of one sequence from its start.
  FloatMatrix infer(std::shared_ptr<const Model> model, std::span<const int32_t> token_ids);
  // Outputs (samples, elements of output_shape) of a network for x (samples, elements of input_shape).
  // BatchProcessingError if x is empty or no whole number of samples, or the model takes something else.
  FloatMatrix infer(std::shared_ptr<const Model> model, std::span<const float> x);
  // The same into memory of the caller; BatchProcessingError also if y has another size. The first call prepares the
  // model; those that follow allocate nothing.
  void infer(std::shared_ptr<const Model> model, std::span<const float> x, std::span<float> y);

  // Calls work(backend) alone, after the calls that came before. DeviceError in the child after fork();
  // BatchProcessingError from within such a call.
  template <class Work>
  auto run(Work&& work) {
    process_.check("an InferenceEngine");
    std::lock_guard lock(queue_);
    return work(*backend_);
  }

  // What the device can do at most, measured now; `bytes` of memory are read for it (InferenceBackend).
  DeviceLimits measure_limits(size_t bytes) {
    return run([&](InferenceBackend& backend) { return backend.measure_limits(bytes); });
  }

 private:
  PreparedModel& prepare(InferenceBackend& backend, std::shared_ptr<const Model> model);

  std::shared_ptr<MemoryPool> pool_;
  std::unique_ptr<InferenceBackend> backend_;
  OptimizationLevel level_;
  std::string ternary_format_;
  ProcessGuard process_;
  CallQueue queue_;
  std::shared_ptr<PreparedModel> last_inferred_;  // kept, so that the next call need not pack again
};

}  // namespace tritium
