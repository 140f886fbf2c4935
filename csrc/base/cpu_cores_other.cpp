#include <thread>

#include "base/cpu_cores.h"

namespace tritium {

int performance_cores() { return static_cast<int>(std::thread::hardware_concurrency()); }

int granted_cores() { return 0; }

}  // namespace tritium
