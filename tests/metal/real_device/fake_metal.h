// In place of the fake runtime's fake_metal.h where tests of the Metal backend run on a Mac: they get the devices that
// are there.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fake_metal {

struct DeviceSettings {
  std::string name;
  bool is_apple = true;
  double threads_per_second = 0;
};

struct Settings {
  std::vector<DeviceSettings> devices = {{}};
};

inline void configure(const Settings&) {}
inline std::vector<std::string> take_faults() { return {}; }
inline size_t live_objects() { return 0; }

}  // namespace fake_metal
