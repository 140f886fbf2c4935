#include "base/sysfs_cpus.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

namespace tritium {
namespace {

using Cpus = std::vector<int>;

// A folder that stands for "/".
class SysfsCpus : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = std::filesystem::path(testing::TempDir()) / ("tritium_sysfs_" + std::string(info->name()));
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  void write_cpu(int cpu, const std::string& file, const std::string& text) {
    write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/" + file, text);
  }

  std::filesystem::path root_;
};

TEST(ParseCpuList, ReadsRangesAndSingles) {
  EXPECT_EQ(parse_cpu_list("0-3,8,10-11\n"), (Cpus{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_cpu_list("5"), (Cpus{5}));
}

TEST(ParseCpuList, StopsAtNonsense) {
  EXPECT_EQ(parse_cpu_list(""), Cpus{});
  EXPECT_EQ(parse_cpu_list("none"), Cpus{});
  EXPECT_EQ(parse_cpu_list("1,x"), (Cpus{1}));
  EXPECT_EQ(parse_cpu_list("1,2-"), (Cpus{1}));
  EXPECT_EQ(parse_cpu_list("0-999999999"), Cpus{});
  EXPECT_EQ(parse_cpu_list("-1"), Cpus{});
}

TEST_F(SysfsCpus, CountsEveryCpuWhereNothingIsKnown) {
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2}), 3);
  EXPECT_EQ(count_performance_cores(root_, {}), 0);
}

TEST_F(SysfsCpus, CountsHyperThreadsOnce) {
  for (int cpu : {0, 2}) write_cpu(cpu, "topology/thread_siblings_list", "0,2");
  for (int cpu : {1, 3}) write_cpu(cpu, "topology/thread_siblings_list", "1,3");
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2, 3}), 2);
  EXPECT_EQ(count_performance_cores(root_, {0, 2}), 1);
  EXPECT_EQ(count_performance_cores(root_, {0, 1}), 2);
}

TEST_F(SysfsCpus, LeavesOutEfficiencyCoresByTheKernelsList) {
  write("sys/devices/cpu_core/cpus", "0-3");
  write("sys/devices/cpu_atom/cpus", "4-7");
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2, 3, 4, 5, 6, 7}), 4);
  EXPECT_EQ(count_performance_cores(root_, {4, 5}), 2) << "with only efficiency cores allowed, those count";
}

TEST_F(SysfsCpus, LeavesOutEfficiencyCoresByCapacity) {
  for (int cpu : {0, 1, 2, 3}) write_cpu(cpu, "cpu_capacity", "414");
  for (int cpu : {4, 5, 6}) write_cpu(cpu, "cpu_capacity", "870");
  write_cpu(7, "cpu_capacity", "1024");
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2, 3, 4, 5, 6, 7}), 4);
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2, 3}), 4);
}

TEST_F(SysfsCpus, LeavesOutEfficiencyCoresByFrequencyButKeepsFavouredAndPlainCores) {
  write_cpu(0, "cpufreq/cpuinfo_max_freq", "5700000");
  write_cpu(1, "cpufreq/cpuinfo_max_freq", "5200000");
  write_cpu(2, "cpufreq/cpuinfo_max_freq", "3300000");
  EXPECT_EQ(count_performance_cores(root_, {0, 1, 2}), 2);
}

TEST_F(SysfsCpus, FindsNoQuotaWhereThereIsNone) {
  EXPECT_EQ(cgroup_cores(root_), 0);
  write("proc/self/cgroup", "0::/");
  EXPECT_EQ(cgroup_cores(root_), 0);
  write("sys/fs/cgroup/cpu.max", "max 100000");
  EXPECT_EQ(cgroup_cores(root_), 0);
}

TEST_F(SysfsCpus, RoundsAQuotaUp) {
  write("proc/self/cgroup", "0::/");
  write("sys/fs/cgroup/cpu.max", "200000 100000");
  EXPECT_EQ(cgroup_cores(root_), 2);
  write("sys/fs/cgroup/cpu.max", "210000 100000");
  EXPECT_EQ(cgroup_cores(root_), 3);
  write("sys/fs/cgroup/cpu.max", "5000 100000");
  EXPECT_EQ(cgroup_cores(root_), 1);
}

TEST_F(SysfsCpus, TakesTheSmallestQuotaOfAGroupAndItsParents) {
  write("proc/self/cgroup", "0::/user.slice/job");
  write("sys/fs/cgroup/user.slice/cpu.max", "300000 100000");
  write("sys/fs/cgroup/user.slice/job/cpu.max", "800000 100000");
  EXPECT_EQ(cgroup_cores(root_), 3);
}

TEST_F(SysfsCpus, ReadsQuotasOfControlGroupsVersionOne) {
  write("proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n2:cpuset:/");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cgroup_cores(root_), 2) << "the mount of a container, whose own path does not exist there";
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
  EXPECT_EQ(cgroup_cores(root_), 0);
}

TEST_F(SysfsCpus, IgnoresNonsenseInControlGroups) {
  write("proc/self/cgroup", "nonsense\n::\n0::/../../etc");
  write("sys/fs/cgroup/cpu.max", "0 0");
  EXPECT_EQ(cgroup_cores(root_), 0);
  write("sys/fs/cgroup/cpu.max", "-5 100000");
  EXPECT_EQ(cgroup_cores(root_), 0);
}

}  // namespace
}  // namespace tritium
