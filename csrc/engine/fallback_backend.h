// A backend for what a device can do, and the CPU for the rest.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "backend/inference_backend.h"

namespace tritium {

class FallbackBackend final : public InferenceBackend {
 public:
  // `make_cpu` is called when a model first needs it, `warn` then and never again.
  FallbackBackend(std::unique_ptr<InferenceBackend> device, std::function<std::unique_ptr<InferenceBackend>()> make_cpu,
                  std::function<void(const std::string&)> warn);

  DeviceKind device() const override { return device_->device(); }
  int threads() const override { return device_->threads(); }
  std::string kernel_set() const override { return device_->kernel_set(); }
  // Of the CPU where the device refuses the model.
  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override;
  // On the CPU if the device gives a DeviceError, an OptimizationError or a MemoryLimitError.
  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override;
  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override;
  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override;
  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override;
  std::vector<ModelMemory> model_memory() const override;
  void trim() override;
  DeviceLimits measure_limits(size_t bytes) override { return device_->measure_limits(bytes); }
  std::string fastest_ternary_format() override { return device_->fastest_ternary_format(); }

 private:
  InferenceBackend& cpu() const;
  InferenceBackend* cpu_if_made() const;

  std::unique_ptr<InferenceBackend> device_;
  std::function<std::unique_ptr<InferenceBackend>()> make_cpu_;
  std::function<void(const std::string&)> warn_;
  mutable std::mutex in_use_;  // for the next; plan() and model_memory() are called at any time
  mutable std::unique_ptr<InferenceBackend> cpu_;
  bool warned_ = false;
};

}  // namespace tritium
