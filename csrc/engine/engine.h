// InferenceEngine: one device with its memory, and the models prepared for it. Calls from several threads queue.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/inference_backend.h"
#include "base/process_guard.h"
#include "engine/call_queue.h"
#include "engine/feed_sequence.h"
#include "memory/memory_pool.h"

namespace tritium {

inline constexpr int64_t kDefaultContext = 4096;  // tokens
inline constexpr int64_t kTokensPerPass = 256;
// Samples of a network: what they become stays in the caches of a core; on a GPU they are worth a pass.
inline constexpr int64_t kDefaultBatchSize = 16;
inline constexpr int64_t kDefaultGpuBatchSize = 256;
inline constexpr int64_t kMaxBatchSize = int64_t{1} << 16;
inline constexpr int64_t kMaxSequences = int64_t{1} << 16;

// Bytes in use by an engine.
struct MemoryUsage {
  size_t weights = 0;         // packed weights
  size_t mapped_weights = 0;  // of them, those that are pages of files in the packed cache, which no limit counts
  size_t kv_cache = 0;        // KV pages
  MemoryStats pool;           // working memory: arenas, staging, outputs of language models
  MemoryStats total;          // everything that the engine allocated, weights and pages among it
  std::vector<ModelMemory> models;
};

class EngineBuilder;

// How an engine treats every model.
struct EngineSettings {
  OptimizationLevel level = OptimizationLevel::kBasic;
  std::string ternary_format = "2bit";         // of weights that memory delivers
  std::string cached_ternary_format = "2bit";  // of models whose weights stay in the caches
  int64_t batch_size = kDefaultBatchSize;
};

// What a caller chooses about the sequences of one model.
struct SessionOptions {
  std::optional<int64_t> context_size = {};  // tokens of a sequence; without it the model's, at most kDefaultContext
  int64_t max_sequences = 1;                 // open at once
  KVDType kv_dtype = KVDType::kF16;
  HeadFormat head = HeadFormat::kAuto;
};

// Every call is a DeviceError in the child after fork().
class InferenceEngine {
 public:
  // Options one after the other, then an engine: engine_builder.h.
  static EngineBuilder builder();

  InferenceEngine(std::unique_ptr<InferenceBackend> backend, std::shared_ptr<MemoryPool> pool, EngineSettings settings);

  void check_process() const { process_.check("an InferenceEngine"); }
  DeviceKind device() const { return backend_->device(); }
  int threads() const { return backend_->threads(); }
  std::string kernel_set() const { return backend_->kernel_set(); }
  OptimizationLevel optimization_level() const { return settings_.level; }
  // The most samples of a network that one pass takes; a longer batch runs in several, on each thread.
  int64_t batch_size() const { return settings_.batch_size; }
  // At any time; does not wait for the call that runs.
  MemoryUsage memory_usage();

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

  // A model is prepared, its weights packed, by its first infer(), and stays so until it is destroyed (then the next
  // call gives its memory back), released, or until memory is short and another one needs it. infer() prepares it
  // again.
  void release(const Model& model);
  // All of them, and the memory that is kept for reuse.
  void release_all();

  // For a caller that keeps both. Errors as of InferenceBackend::optimize_model.
  std::shared_ptr<PreparedModel> prepare(std::shared_ptr<const Model> model, const PlanOptions& options);

  // Calls work(backend) alone, after the calls that came before. DeviceError in the child after fork();
  // BatchProcessingError from within such a call.
  template <class Work>
  auto run(Work&& work) {
    check_process();
    std::lock_guard lock(queue_);
    return work(*backend_);
  }

  // What the device can do at most, measured now; `bytes` of memory are read for it (InferenceBackend).
  DeviceLimits measure_limits(size_t bytes) {
    return run([&](InferenceBackend& backend) { return backend.measure_limits(bytes); });
  }

 private:
  // What infer() keeps of a model that somebody else keeps alive.
  struct Inferred {
    std::weak_ptr<const Model> model;
    std::shared_ptr<PreparedModel> prepared;
  };

  std::string ternary_format(const Model& model) const;

  // These with the queue's lock.
  PreparedModel& prepare_to_infer(const std::shared_ptr<const Model>& model);
  std::shared_ptr<PreparedModel> optimize(std::shared_ptr<const Model> model, const PlanOptions& options);
  void forget_dead_models();

  std::shared_ptr<MemoryPool> pool_;
  std::unique_ptr<InferenceBackend> backend_;
  EngineSettings settings_;
  ProcessGuard process_;
  CallQueue queue_;
  std::unordered_map<const Model*, Inferred> inferred_;
};

}  // namespace tritium
