// Which backends this process can make, and the choice among them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/inference_backend.h"
#include "base/device.h"
#include "memory/memory_pool.h"

namespace tritium {

struct EngineOptions;

struct DeviceCandidate {
  DeviceKind kind;
  std::string missing;     // why it cannot be used: "not in this build"; empty if it can
  std::string not_chosen;  // why "auto" leaves it alone though it can: "without a GPU here"; empty if it does not
  std::string detail;      // what it is: "Apple M2"; may be empty

  bool is_available() const { return missing.empty(); }
  bool is_automatic() const { return is_available() && not_chosen.empty(); }
};

// How backends of one kind are made.
struct BackendProvider {
  std::function<DeviceCandidate()> look;  // may cost time and memory
  // DeviceError if the device cannot be used after all.
  std::function<std::unique_ptr<InferenceBackend>(const EngineOptions&, std::shared_ptr<MemoryPool>)> create;
  // Whether "auto" looks at all. Where it does not, look() says why the device is not chosen.
  bool automatic = true;
};

// Takes the place of the provider of this kind. Those of CPU and Metal are there from the start; that of MLX, which
// runs from Python, comes from the Python package. At any time, from any thread.
void register_backend(DeviceKind kind, BackendProvider provider);

// Every kind, best first: MLX, Metal, CPU.
std::vector<DeviceCandidate> device_candidates();

// The devices that a name allows, best first: one for a name, those that are automatic for "auto". `gpu` allows only
// GPUs, or none of them. DeviceError if there is none, with the reason and what is available.
std::vector<DeviceKind> choose_devices(std::string_view name, std::optional<bool> gpu = std::nullopt);

// Of several devices, best first, the first that is about as fast as the fastest by measure_device, which is asked once
// a process and provider. Devices that fail are left out; DeviceError with their reasons if all do.
DeviceKind preferred_device(const std::vector<DeviceKind>& devices);

// DeviceError if it cannot be made.
std::unique_ptr<InferenceBackend> make_backend(DeviceKind kind, const EngineOptions& options,
                                               std::shared_ptr<MemoryPool> pool);

}  // namespace tritium
