#include <algorithm>
#include <thread>

#include "base/cpu_cores.h"
#include "base/thread_pool.h"

namespace tritium {

int default_thread_count() {
  int threads = performance_cores();
  if (threads < 1) threads = static_cast<int>(std::thread::hardware_concurrency());
  if (const int granted = granted_cores(); granted > 0) threads = std::min(threads, granted);
  return std::clamp(threads, 1, kMaxThreads);
}

}  // namespace tritium
