// The kinds of device that a model can run on, and which of them are here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tritium {

enum class DeviceKind { kCpu, kMetal, kMlx };

// "cpu", "metal" or "mlx".
std::string_view device_name(DeviceKind kind);

// The kind that a name stands for; DeviceError lists the known names otherwise.
DeviceKind parse_device(std::string_view name);

bool is_gpu(DeviceKind kind);

struct DeviceCandidate {
  DeviceKind kind;
  std::string missing;  // why it cannot be used: "not in this build"; empty if it can

  bool is_available() const { return missing.empty(); }
};

// Every kind, best first: MLX, Metal, CPU.
std::vector<DeviceCandidate> device_candidates();

// The device that a name stands for; for "auto" the best that is available. `gpu` allows only GPUs, or none of them.
// DeviceError if that cannot be met, with the reason and what is available.
DeviceKind choose_device(std::string_view name, std::optional<bool> gpu = std::nullopt);

}  // namespace tritium
