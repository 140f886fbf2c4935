// Builds an engine on a device of this machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/packed_cache.h"
#include "engine/engine.h"
#include "model/custom_operator.h"

namespace tritium {

inline constexpr size_t kDefaultMemoryPoolSize = 512'000'000;  // bytes

struct EngineOptions {
  // "cpu", "metal", "mlx", or "auto": $TRITIUM_DEVICE if it is set, else the best that is available. Where several are,
  // each is measured once a process, and a better one is passed over if it is slower.
  std::string device = "auto";
  // Whether "auto" takes GPUs only, or none of them; nullopt: either.
  std::optional<bool> gpu_acceleration = {};
  // Whether the CPU runs what the device cannot, and all if the device cannot be used; `warn` says so, once.
  bool fallback = false;
  std::function<void(const std::string&)> warn = CacheOptions::print_warning;
  int threads = 0;  // of the CPU; 0: default_thread_count()
  // The most samples of a network that one pass takes; nullopt: kDefaultBatchSize, on a GPU kDefaultGpuBatchSize.
  std::optional<int64_t> batch_size = {};
  size_t memory_pool_size =
      kDefaultMemoryPoolSize;      // bytes, of arenas, staging and outputs; taken when they are needed
  size_t memory_limit = SIZE_MAX;  // bytes, of everything that the engine allocates, weights and KV pages, too
  OptimizationLevel level = OptimizationLevel::kBasic;
  // "auto": "2bit"; at level kAggressive, for models larger than the caches, what is measured to be fastest.
  // OptimizationError when a model is planned if the kernel set does not have it.
  std::string ternary_format = "auto";
  // Where the CPU backend keeps packed weights; nullopt: nowhere.
  std::optional<CacheOptions> cache = default_cache();
  // Those that networks may name; OptimizationError if two have one name. They must not use the engine themselves.
  std::vector<CustomOperator> custom_operators = {};

  static std::optional<CacheOptions> default_cache();  // in default_cache_folder(), if there is one
};

// DeviceError if the device, the thread count or TRITIUM_KERNELS cannot be met; BatchProcessingError if batch_size lies
// outside [1, kMaxBatchSize]; MemoryLimitError for a limit of 0 bytes.
std::shared_ptr<InferenceEngine> build_engine(const EngineOptions& options);

// EngineOptions one after the other:
//
//   const auto engine = InferenceEngine::builder().threads(2).memory_pool_size("64MB").build();
class EngineBuilder {
 public:
  EngineBuilder& device(std::string name) { return set(options_.device, std::move(name)); }
  EngineBuilder& enable_gpu_acceleration(bool enabled = true) { return set(options_.gpu_acceleration, enabled); }
  EngineBuilder& fallback(bool enabled = true) { return set(options_.fallback, enabled); }
  EngineBuilder& threads(int count) { return set(options_.threads, count); }
  EngineBuilder& batch_size(int64_t samples) { return set(options_.batch_size, samples); }
  // Text as parse_byte_size reads it.
  EngineBuilder& memory_pool_size(size_t bytes) { return set(options_.memory_pool_size, bytes); }
  EngineBuilder& memory_pool_size(std::string_view text);
  EngineBuilder& memory_limit(size_t bytes) { return set(options_.memory_limit, bytes); }
  EngineBuilder& memory_limit(std::string_view text);
  EngineBuilder& optimization_level(OptimizationLevel level) { return set(options_.level, level); }
  EngineBuilder& optimization_level(std::string_view name) {
    return optimization_level(parse_optimization_level(name));
  }
  EngineBuilder& ternary_format(std::string name) { return set(options_.ternary_format, std::move(name)); }
  EngineBuilder& with_custom_operators(std::vector<CustomOperator> operators) {
    return set(options_.custom_operators, std::move(operators));
  }
  EngineBuilder& cache(std::optional<CacheOptions> options) { return set(options_.cache, std::move(options)); }

  const EngineOptions& options() const { return options_; }
  std::shared_ptr<InferenceEngine> build() const { return build_engine(options_); }

 private:
  template <class Option, class Value>
  EngineBuilder& set(Option& option, Value&& value) {
    option = std::forward<Value>(value);
    return *this;
  }

  EngineOptions options_;
};

}  // namespace tritium
