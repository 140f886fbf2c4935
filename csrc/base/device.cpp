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

std::vector<DeviceCandidate> device_candidates() {
  return {{DeviceKind::kMlx, "not in this build"}, {DeviceKind::kMetal, "not in this build"}, {DeviceKind::kCpu, ""}};
}

DeviceKind choose_device(std::string_view name, std::optional<bool> gpu) {
  const bool any = name == "auto";
  const DeviceKind wanted = any ? DeviceKind::kCpu : parse_device(name);
  std::string reasons, available;
  for (const DeviceCandidate& candidate : device_candidates()) {
    const bool fits = (any || candidate.kind == wanted) && (!gpu || is_gpu(candidate.kind) == *gpu);
    if (fits && candidate.is_available()) return candidate.kind;
    const std::string_view kind = device_name(candidate.kind);
    if (fits) reasons += concat(reasons.empty() ? "" : ", ", kind, " is ", candidate.missing);
    if (candidate.is_available()) available += concat(available.empty() ? "" : ", ", kind);
  }
  if (reasons.empty()) {
    reasons = concat(name, is_gpu(wanted) ? " is a GPU, and GPUs are disabled" : " is no GPU, and one is asked for");
  }
  throw DeviceError(concat("[device] ", reasons, "; available: ", available));
}

}  // namespace tritium
