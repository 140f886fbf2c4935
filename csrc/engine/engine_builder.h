// Builds an engine on a device of this machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/packed_cache.h"
#include "engine/engine.h"
#include "model/custom_operator.h"

namespace tritium {

struct EngineOptions {
  std::string device = "auto";     // "auto", "cpu", "metal" or "mlx"
  int threads = 0;                 // 0: default_thread_count()
  size_t memory_limit = SIZE_MAX;  // bytes, of everything that the engine allocates
  OptimizationLevel level = OptimizationLevel::kBasic;
  // "auto": "2bit", or what is measured to be fastest at level kAggressive. OptimizationError when a model is planned
  // if the kernel set does not have it.
  std::string ternary_format = "auto";
  // Where the CPU backend keeps packed weights; nullopt: nowhere.
  std::optional<CacheOptions> cache = default_cache();
  // Those that networks may name; OptimizationError if two have one name. They must not use the engine themselves.
  std::vector<CustomOperator> custom_operators = {};

  static std::optional<CacheOptions> default_cache();  // in default_cache_folder(), if there is one
};

// DeviceError if the device, the thread count or TRITIUM_KERNELS cannot be met.
std::shared_ptr<InferenceEngine> build_engine(const EngineOptions& options);

}  // namespace tritium
