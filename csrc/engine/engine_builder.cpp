#include "engine/engine_builder.h"

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace tritium {

std::optional<CacheOptions> EngineOptions::default_cache() {
  const std::optional<std::filesystem::path> folder = default_cache_folder();
  if (!folder) return std::nullopt;
  CacheOptions options;
  options.folder = *folder;
  return options;
}

std::shared_ptr<InferenceEngine> build_engine(const EngineOptions& options) {
  if (options.device != "auto" && parse_device(options.device) != DeviceKind::kCpu) {
    throw DeviceError(concat("[device] '", options.device, "' is not in this build; available: cpu"));
  }
  auto pool = std::make_shared<MemoryPool>(options.memory_limit);
  const int threads = options.threads == 0 ? default_thread_count() : options.threads;
  auto backend = std::make_unique<CpuBackend>(threads, select_kernel_set(), pool, options.cache,
                                              CustomOperators(options.custom_operators));
  std::string format = options.ternary_format;
  if (format == "auto") {
    format = options.level == OptimizationLevel::kAggressive ? backend->fastest_ternary_format() : "2bit";
  }
  return std::make_shared<InferenceEngine>(std::move(backend), std::move(pool), options.level, std::move(format));
}

}  // namespace tritium
