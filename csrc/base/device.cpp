#include "base/device.h"

#include "base/error.h"

namespace tritium {

std::string_view device_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kMetal:
      return "metal";
    case DeviceKind::kMlx:
      return "mlx";
  }
  throw DeviceError(concat("[device] no device has the number ", static_cast<int>(kind)));
}

DeviceKind parse_device(std::string_view name) {
  for (DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kMetal, DeviceKind::kMlx}) {
    if (device_name(kind) == name) return kind;
  }
  throw DeviceError(concat("[device] unknown device '", name, "'; known are cpu, metal, mlx"));
}

bool is_gpu(DeviceKind kind) { return kind != DeviceKind::kCpu; }

}  // namespace tritium
