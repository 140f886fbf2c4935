// ProcessGuard: threads and locks do not survive fork(); whoever owns them asks before each use.
#pragma once

#include <cstdint>

namespace tritium {

class ProcessGuard {
 public:
  ProcessGuard();  // remembers the process

  bool is_owner() const;
  // DeviceError, naming `what` and both processes, in a child after fork().
  void check(const char* what) const;

 private:
  int64_t owner_;
};

}  // namespace tritium
