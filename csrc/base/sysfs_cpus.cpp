#include "base/sysfs_cpus.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <string>

namespace tritium {
namespace {

namespace fs = std::filesystem;

// Hybrid CPUs have gaps well below this; favoured cores of equal ones vary by about 10 %.
constexpr double kPerformanceShare = 0.7;

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double read_number(const fs::path& path) {
  std::ifstream file(path);
  double number = 0;
  file >> number;
  return file ? number : 0;
}

fs::path cpu_folder(const fs::path& root, int cpu) {
  return root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu));
}

std::vector<int> without_efficiency_cores(const fs::path& root, const std::vector<int>& cpus) {
  const std::vector<int> listed = parse_cpu_list(read_line(root / "sys/devices/cpu_core/cpus"));
  std::vector<int> kept;
  for (int cpu : cpus) {
    if (std::find(listed.begin(), listed.end(), cpu) != listed.end()) kept.push_back(cpu);
  }
  if (!kept.empty()) return kept;

  for (const char* measure : {"cpu_capacity", "cpufreq/cpuinfo_max_freq"}) {
    std::vector<double> speeds;
    for (int cpu : cpus) speeds.push_back(read_number(cpu_folder(root, cpu) / measure));
    const double best = speeds.empty() ? 0 : *std::max_element(speeds.begin(), speeds.end());
    if (best <= 0) continue;
    for (size_t i = 0; i < cpus.size(); ++i) {
      if (speeds[i] >= kPerformanceShare * best) kept.push_back(cpus[i]);
    }
    return kept;
  }
  return cpus;
}

// Calls visit(folder) for the control group and each of its parents up to the mount. In a container the group's path
// may be the host's, which does not exist below the mount; the parents that do exist are visited.
template <class Visit>
void for_each_group(const fs::path& mount, const std::string& group, const Visit& visit) {
  fs::path relative = fs::path(group).relative_path().lexically_normal();
  if (!relative.empty() && *relative.begin() == "..") relative.clear();
  for (;; relative = relative.parent_path()) {
    visit(mount / relative);
    if (relative.empty()) return;
  }
}

}  // namespace

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    int first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc()) return cpus;
    int last = first;
    if (parsed.ptr != end && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, end, last);
      if (parsed.ec != std::errc()) return cpus;
    }
    constexpr int kMostCpus = 1 << 16;
    if (first < 0 || last >= kMostCpus) return cpus;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (parsed.ptr == end || *parsed.ptr != ',') return cpus;
    at = parsed.ptr + 1;
  }
}

int count_performance_cores(const fs::path& root, const std::vector<int>& cpus) {
  int count = 0;
  std::set<std::string> seen;
  for (int cpu : without_efficiency_cores(root, cpus)) {
    const std::string siblings = read_line(cpu_folder(root, cpu) / "topology/thread_siblings_list");
    if (siblings.empty() || seen.insert(siblings).second) ++count;
  }
  return count;
}

int cgroup_cores(const fs::path& root) {
  double least = INFINITY;
  const auto consider = [&](double quota, double period) {
    if (quota > 0 && period > 0) least = std::min(least, quota / period);
  };
  const auto consider_v1 = [&](const fs::path& folder) {
    consider(read_number(folder / "cpu.cfs_quota_us"), read_number(folder / "cpu.cfs_period_us"));
  };
  const auto consider_v2 = [&](const fs::path& folder) {
    std::ifstream file(folder / "cpu.max");
    double quota = 0;
    double period = 0;
    if (file >> quota >> period) consider(quota, period);  // "max 100000" sets no limit and does not parse
  };

  std::ifstream groups(root / "proc/self/cgroup");
  const fs::path mounts = root / "sys/fs/cgroup";
  for (std::string line; std::getline(groups, line);) {  // "hierarchy:controllers:path"
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      for (const char* mount : {"", "unified"}) for_each_group(mounts / mount, group, consider_v2);
    } else if (controllers.find(",cpu,") != std::string::npos) {
      for (const char* mount : {"cpu", "cpu,cpuacct", "cpuacct,cpu"}) {
        for_each_group(mounts / mount, group, consider_v1);
      }
    }
  }
  return std::isinf(least) ? 0 : std::max(1, static_cast<int>(std::ceil(std::min(least, 1e6))));
}

}  // namespace tritium
