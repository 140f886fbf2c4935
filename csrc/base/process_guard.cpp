#include "base/process_guard.h"

#include "base/error.h"

#ifdef _WIN32
#include <process.h>
#else
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#endif

namespace tritium {
namespace {

#ifdef _WIN32

int64_t process_id() { return _getpid(); }

#else

std::atomic<int64_t> g_process;

// The number is kept: asking the system takes as long as a fork and join of the pool's threads.
int64_t process_id() {
  static const bool kept = [] {
    g_process = getpid();
    return pthread_atfork(nullptr, nullptr, [] { g_process = getpid(); }) == 0;
  }();
  return kept ? g_process.load(std::memory_order_relaxed) : getpid();
}

#endif

}  // namespace

ProcessGuard::ProcessGuard() : owner_(process_id()) {}

bool ProcessGuard::is_owner() const { return process_id() == owner_; }

void ProcessGuard::check(const char* what) const {
  if (is_owner()) return;
  throw DeviceError(concat("[fork] ", what, " belongs to process ", owner_, " and cannot be used in its child ",
                           process_id(), "; make a new one after fork()"));
}

}  // namespace tritium
