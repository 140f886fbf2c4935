#include "engine/devices.h"

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/device_speed.h"
#include "engine/engine_builder.h"
#include "metal/metal_backend.h"

namespace tritium {
namespace {

constexpr DeviceKind kBestFirst[] = {DeviceKind::kMlx, DeviceKind::kMetal, DeviceKind::kCpu};

int thread_count(const EngineOptions& options) {
  return options.threads == 0 ? default_thread_count() : options.threads;
}

std::unique_ptr<InferenceBackend> make_cpu(const EngineOptions& options, std::shared_ptr<MemoryPool> pool) {
  return std::make_unique<CpuBackend>(thread_count(options), select_kernel_set(), std::move(pool), options.cache,
                                      CustomOperators(options.custom_operators));
}

std::unique_ptr<InferenceBackend> make_metal(const EngineOptions& options, std::shared_ptr<MemoryPool> pool) {
  return make_metal_backend({thread_count(options), options.cache}, std::move(pool),
                            CustomOperators(options.custom_operators));
}

std::unique_ptr<InferenceBackend> no_mlx(const EngineOptions&, std::shared_ptr<MemoryPool>) {
  throw DeviceError("[device] mlx is not in this build");
}

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  void set(DeviceKind kind, BackendProvider provider) {
    std::lock_guard lock(in_use_);
    providers_[kind] = std::move(provider);
    seconds_.erase(kind);
  }
  BackendProvider get(DeviceKind kind) {
    std::lock_guard lock(in_use_);
    return providers_.at(kind);
  }

  // What measure_device says, measured once.
  double seconds(DeviceKind kind) {
    std::lock_guard measuring(measuring_);
    {
      std::lock_guard lock(in_use_);
      if (const auto known = seconds_.find(kind); known != seconds_.end()) return known->second;
    }
    EngineOptions options;
    options.cache.reset();
    const double seconds = measure_device(*get(kind).create(options, std::make_shared<MemoryPool>(SIZE_MAX)));
    std::lock_guard lock(in_use_);
    return seconds_[kind] = seconds;
  }

 private:
  std::mutex measuring_;
  std::mutex in_use_;
  std::map<DeviceKind, double> seconds_;
  std::map<DeviceKind, BackendProvider> providers_ = {
      {DeviceKind::kMlx, {[] { return DeviceCandidate{DeviceKind::kMlx, "not in this build", {}, {}}; }, no_mlx}},
      {DeviceKind::kMetal,
       {[] { return DeviceCandidate{DeviceKind::kMetal, metal_missing(), {}, metal_names()}; }, make_metal}},
      {DeviceKind::kCpu, {[] { return DeviceCandidate{DeviceKind::kCpu, {}, {}, {}}; }, make_cpu}},
  };
};

}  // namespace

void register_backend(DeviceKind kind, BackendProvider provider) {
  Registry::instance().set(kind, std::move(provider));
}

std::vector<DeviceCandidate> device_candidates() {
  std::vector<DeviceCandidate> candidates;
  for (DeviceKind kind : kBestFirst) candidates.push_back(Registry::instance().get(kind).look());
  return candidates;
}

std::vector<DeviceKind> choose_devices(std::string_view name, std::optional<bool> gpu) {
  const bool any = name == "auto";
  const DeviceKind wanted = any ? DeviceKind::kCpu : parse_device(name);
  const auto fits = [&](DeviceKind kind) { return (any || kind == wanted) && (!gpu || is_gpu(kind) == *gpu); };
  std::vector<DeviceKind> chosen;
  for (DeviceKind kind : kBestFirst) {
    const BackendProvider provider = Registry::instance().get(kind);
    if (!fits(kind) || (any && !provider.automatic)) continue;
    const DeviceCandidate candidate = provider.look();
    if (any ? candidate.is_automatic() : candidate.is_available()) chosen.push_back(kind);
  }
  if (!chosen.empty()) return chosen;
  std::string reasons, available;
  for (const DeviceCandidate& candidate : device_candidates()) {
    const std::string_view kind = device_name(candidate.kind);
    const std::string& why = candidate.is_available() ? candidate.not_chosen : candidate.missing;
    if (fits(candidate.kind)) reasons += concat(reasons.empty() ? "" : ", ", kind, " is ", why);
    if (candidate.is_available()) available += concat(available.empty() ? "" : ", ", kind);
  }
  if (reasons.empty()) {
    reasons = concat(name, is_gpu(wanted) ? " is a GPU, and GPUs are disabled" : " is no GPU, and one is asked for");
  }
  throw DeviceError(concat("[device] ", reasons, "; available: ", available));
}

DeviceKind preferred_device(const std::vector<DeviceKind>& devices) {
  if (devices.size() == 1) return devices[0];
  constexpr double kAboutAsFast = 1.1;
  double least = std::numeric_limits<double>::infinity();
  std::vector<std::pair<DeviceKind, double>> measured;
  std::string reasons;
  for (DeviceKind device : devices) {
    try {
      measured.emplace_back(device, Registry::instance().seconds(device));
      least = std::min(least, measured.back().second);
    } catch (const TritiumError& error) {
      reasons += concat(reasons.empty() ? "" : "; ", device_name(device), ": ", error.what());
    }
  }
  for (const auto& [device, seconds] : measured) {
    if (seconds <= kAboutAsFast * least) return device;
  }
  throw DeviceError(concat("[device] no device works: ", reasons));
}

std::unique_ptr<InferenceBackend> make_backend(DeviceKind kind, const EngineOptions& options,
                                               std::shared_ptr<MemoryPool> pool) {
  return Registry::instance().get(kind).create(options, std::move(pool));
}

}  // namespace tritium
