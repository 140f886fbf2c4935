#include "engine/engine_builder.h"

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "base/byte_size.h"
#include "base/device.h"
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
  choose_device(options.device, options.gpu_acceleration);  // the CPU, if any
  if (options.batch_size < 1 || options.batch_size > kMaxBatchSize) {
    throw BatchProcessingError(
        concat("[engine] batch_size must lie in [1, ", kMaxBatchSize, "] samples, got ", options.batch_size));
  }
  if (options.memory_limit == 0 || options.memory_pool_size == 0) {
    throw MemoryLimitError(concat("[memory] limits must be at least 1 byte, got memory_limit ", options.memory_limit,
                                  " and memory_pool_size ", options.memory_pool_size));
  }
  auto pool = std::make_shared<MemoryPool>(options.memory_limit, options.memory_pool_size);
  const int threads = options.threads == 0 ? default_thread_count() : options.threads;
  auto backend = std::make_unique<CpuBackend>(threads, select_kernel_set(), pool, options.cache,
                                              CustomOperators(options.custom_operators));
  EngineSettings settings;
  settings.level = options.level;
  settings.batch_size = options.batch_size;
  if (options.ternary_format != "auto") {
    settings.ternary_format = settings.cached_ternary_format = options.ternary_format;
  } else if (options.level == OptimizationLevel::kAggressive) {
    settings.ternary_format = backend->fastest_ternary_format();
  }
  return std::make_shared<InferenceEngine>(std::move(backend), std::move(pool), std::move(settings));
}

EngineBuilder InferenceEngine::builder() { return {}; }

EngineBuilder& EngineBuilder::memory_pool_size(std::string_view text) {
  return memory_pool_size(parse_byte_size(text));
}

EngineBuilder& EngineBuilder::memory_limit(std::string_view text) { return memory_limit(parse_byte_size(text)); }

}  // namespace tritium
