#define NOMINMAX
#include <windows.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/cpu_cores.h"

namespace tritium {

int performance_cores() {
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
  std::vector<std::byte> records(bytes);
  if (bytes == 0 ||
      !GetLogicalProcessorInformationEx(
          RelationProcessorCore, reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(records.data()), &bytes)) {
    return 0;
  }
  // The mask speaks of one processor group; a process that spans several has none, given as 0.
  DWORD_PTR allowed = 0;
  DWORD_PTR system = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &allowed, &system)) allowed = 0;

  int best_class = -1;
  int count = 0;
  for (size_t at = 0; at < bytes;) {
    const auto* record = reinterpret_cast<const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(records.data() + at);
    at += record->Size;
    const PROCESSOR_RELATIONSHIP& core = record->Processor;
    if (allowed != 0 && (core.GroupMask[0].Mask & allowed) == 0) continue;
    const int core_class = core.EfficiencyClass;
    if (core_class > best_class) {
      best_class = core_class;
      count = 0;
    }
    if (core_class == best_class) ++count;
  }
  return count;
}

int granted_cores() {
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate = {};
  if (!QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof(rate), nullptr)) return 0;
  constexpr DWORD kHardCap = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
  if ((rate.ControlFlags & kHardCap) != kHardCap) return 0;
  const DWORD cores = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);  // CpuRate: hundredths of a percent of them
  return std::max(1, static_cast<int>((static_cast<unsigned long long>(cores) * rate.CpuRate + 9999) / 10000));
}

}  // namespace tritium
