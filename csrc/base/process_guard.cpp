#include "base/process_guard.h"

#include "base/error.h"

#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

namespace tritium {
namespace {

int64_t process_id() {
#ifdef _WIN32
  return _getpid();
#else
  return getpid();
#endif
}

}  // namespace

ProcessGuard::ProcessGuard() : owner_(process_id()) {}

bool ProcessGuard::is_owner() const { return process_id() == owner_; }

void ProcessGuard::check(const char* what) const {
  if (is_owner()) return;
  throw DeviceError(concat("[fork] ", what, " belongs to process ", owner_, " and cannot be used in its child ",
                           process_id(), "; make a new one after fork()"));
}

}  // namespace tritium
