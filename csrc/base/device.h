// The kinds of device that a model can run on.
#pragma once

#include <string_view>

namespace tritium {

enum class DeviceKind { kCpu, kMetal, kMlx };

// "cpu", "metal" or "mlx".
std::string_view device_name(DeviceKind kind);

// The kind that a name stands for; DeviceError lists the known names otherwise.
DeviceKind parse_device(std::string_view name);

bool is_gpu(DeviceKind kind);

}  // namespace tritium
