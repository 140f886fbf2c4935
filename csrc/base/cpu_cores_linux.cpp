#include <sched.h>

#include <vector>

#include "base/cpu_cores.h"
#include "base/sysfs_cpus.h"

namespace tritium {

int performance_cores() {
  // Some systems have more CPUs than a cpu_set_t; the call fails until the set is large enough.
  for (int capacity = CPU_SETSIZE; capacity <= 1 << 16; capacity *= 2) {
    std::vector<cpu_set_t> set(capacity / CPU_SETSIZE);
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < capacity; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.data())) cpus.push_back(cpu);
    }
    return count_performance_cores("/", cpus);
  }
  return 0;
}

int granted_cores() { return cgroup_cores("/"); }

}  // namespace tritium
