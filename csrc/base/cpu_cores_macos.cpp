#include <sys/sysctl.h>

#include <cstddef>
#include <initializer_list>

#include "base/cpu_cores.h"

namespace tritium {

int performance_cores() {
  for (const char* name : {"hw.perflevel0.physicalcpu", "hw.physicalcpu"}) {
    int count = 0;
    size_t bytes = sizeof(count);
    if (sysctlbyname(name, &count, &bytes, nullptr, 0) == 0 && count > 0) return count;
  }
  return 0;
}

int granted_cores() { return 0; }

}  // namespace tritium
