#include "engine/engine_builder.h"

#include <cstdlib>

#include "base/byte_size.h"
#include "base/device.h"
#include "base/error.h"
#include "engine/devices.h"
#include "engine/fallback_backend.h"

namespace tritium {
namespace {

std::string device_option(const EngineOptions& options) {
  const char* chosen = std::getenv("TRITIUM_DEVICE");
  return options.device == "auto" && chosen && *chosen ? chosen : options.device;
}

std::unique_ptr<InferenceBackend> make_chosen_backend(const EngineOptions& options, std::shared_ptr<MemoryPool> pool) {
  const std::vector<DeviceKind> devices = choose_devices(device_option(options), options.gpu_acceleration);
  return make_backend(preferred_device(devices), options, std::move(pool));
}

std::unique_ptr<InferenceBackend> make_backend_with_fallback(const EngineOptions& options,
                                                             const std::shared_ptr<MemoryPool>& pool) {
  const auto make_cpu = [options, pool] { return make_backend(DeviceKind::kCpu, options, pool); };
  if (const std::string name = device_option(options); name != "auto") parse_device(name);  // a known one
  std::unique_ptr<InferenceBackend> backend;
  try {
    backend = make_chosen_backend(options, pool);
  } catch (const DeviceError& error) {
    backend = make_cpu();
    options.warn(concat("models run on the CPU: ", error.what()));
  }
  if (backend->device() == DeviceKind::kCpu) return backend;
  return std::make_unique<FallbackBackend>(std::move(backend), make_cpu, options.warn);
}

}  // namespace

std::optional<CacheOptions> EngineOptions::default_cache() {
  const std::optional<std::filesystem::path> folder = default_cache_folder();
  if (!folder) return std::nullopt;
  CacheOptions options;
  options.folder = *folder;
  return options;
}

std::shared_ptr<InferenceEngine> build_engine(const EngineOptions& options) {
  if (options.batch_size && (*options.batch_size < 1 || *options.batch_size > kMaxBatchSize)) {
    throw BatchProcessingError(
        concat("[engine] batch_size must lie in [1, ", kMaxBatchSize, "] samples, got ", *options.batch_size));
  }
  if (options.memory_limit == 0 || options.memory_pool_size == 0) {
    throw MemoryLimitError(concat("[memory] limits must be at least 1 byte, got memory_limit ", options.memory_limit,
                                  " and memory_pool_size ", options.memory_pool_size));
  }
  auto pool = std::make_shared<MemoryPool>(options.memory_limit, options.memory_pool_size);
  auto backend = options.fallback ? make_backend_with_fallback(options, pool) : make_chosen_backend(options, pool);
  EngineSettings settings;
  settings.level = options.level;
  settings.batch_size =
      options.batch_size.value_or(is_gpu(backend->device()) ? kDefaultGpuBatchSize : kDefaultBatchSize);
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
