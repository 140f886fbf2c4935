#include "backend/measure_limits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "error_text.h"
#include "kernels/dispatch.h"
#include "kernels/multiply_peak.h"

namespace tritium {
namespace {

TEST(MeasureLimits, GivesARateOfReadingForEveryThreadCount) {
  const std::vector<std::byte> memory(size_t{1} << 20, std::byte{1});
  for (const int count : {1, 3}) {
    ThreadPool threads(count);
    const double rate = measure_read_rate(threads, memory);
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 0);
  }
}

TEST(MeasureLimits, HasALoopForEveryKernelSetOfThisBuild) {
  ThreadPool threads(2);
  for (const kernels::KernelSet* const* set = kernels::compiled_kernel_sets(); *set; ++set) {
    ASSERT_NE(kernels::find_multiply_peak((*set)->name), nullptr) << (*set)->name;
    if (!kernels::is_supported(**set)) continue;
    const double rate = measure_multiply_rate(threads, (*set)->name);
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 0) << (*set)->name;
  }
}

TEST(MeasureLimits, RefusesAKernelSetWithoutALoop) {
  ThreadPool threads(1);
  const std::string text = error_text<DeviceError>([&] { measure_multiply_rate(threads, "abacus"); });
  EXPECT_TRUE(contains(text, "'abacus'"));
}

}  // namespace
}  // namespace tritium
