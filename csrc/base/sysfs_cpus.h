// What Linux tells about CPUs and control groups in /sys and /proc.
// `root` is "/" outside tests.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace tritium {

// The numbers of a list such as "0-3,8,10-11"; reading stops at the first character that fits no list.
std::vector<int> parse_cpu_list(std::string_view text);

// Performance cores among `cpus`. A hybrid CPU's efficiency cores are those outside cpu_core/cpus or, without such a
// list, those below 70 % of the best cpu_capacity or maximum frequency.
int count_performance_cores(const std::filesystem::path& root, const std::vector<int>& cpus);

// The smallest CPU quota of this process's control groups (v1 or v2) and their parents, in cores, rounded up;
// 0 if there is none.
int cgroup_cores(const std::filesystem::path& root);

}  // namespace tritium
