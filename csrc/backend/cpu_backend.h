// The CPU backend: walks a plan with one kernel set and one thread pool.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/inference_backend.h"
#include "backend/packed_cache.h"
#include "backend/prepared_list.h"
#include "base/thread_pool.h"
#include "kernels/kernel_set.h"
#include "memory/memory_pool.h"
#include "model/custom_operator.h"

namespace tritium {

class CpuModel;
struct PackedHead;
struct PackedWeights;

class CpuBackend final : public InferenceBackend {
 public:
  // Everything that it allocates comes from `pool`. Packed weights are kept in a cache if one is given; `operators` are
  // those that networks may name.
  CpuBackend(int threads, const kernels::KernelSet& kernels, std::shared_ptr<MemoryPool> pool,
             std::optional<CacheOptions> cache = std::nullopt, CustomOperators operators = {});
  ~CpuBackend() override;

  DeviceKind device() const override { return DeviceKind::kCpu; }
  int threads() const override { return threads_.size(); }
  std::string kernel_set() const override { return kernels_.name; }
  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override;
  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override;
  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override;
  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override;
  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override;
  std::vector<ModelMemory> model_memory() const override;
  void trim() override;
  DeviceLimits measure_limits(size_t bytes) override;
  std::string fastest_ternary_format() override;

 private:
  // OptimizationError if the kernel set does not have it.
  const kernels::TernaryFormat& format(const PlanOptions& options) const;
  std::shared_ptr<const PackedWeights> packed(const Model& model, const kernels::TernaryFormat& format) const;
  std::shared_ptr<const PackedHead> packed_head(const Model& model, int bits) const;
  std::byte* network_arena(int64_t bytes);

  ThreadPool threads_;
  const kernels::KernelSet& kernels_;
  std::shared_ptr<MemoryPool> pool_;
  PackedCaches caches_;
  const CustomOperators operators_;
  MemoryPool::Buffer arena_;  // of all networks, which run one at a time; as large as the largest needed
  // Weights in use, so that a model is packed once in a format.
  std::map<std::pair<const Model*, const kernels::TernaryFormat*>, std::weak_ptr<const PackedWeights>> packed_;
  // Small copies of heads in use, by model and bits.
  std::map<std::pair<const Model*, int>, std::weak_ptr<const PackedHead>> heads_;
  PreparedList<CpuModel> prepared_;
};

}  // namespace tritium
