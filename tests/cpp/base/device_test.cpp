#include "base/device.h"

#include <gtest/gtest.h>

#include "error_text.h"

namespace tritium {
namespace {

std::string refused(std::string_view name, std::optional<bool> gpu = std::nullopt) {
  return error_text<DeviceError>([&] { choose_device(name, gpu); });
}

TEST(Device, CandidatesAreRankedAndEachSaysWhyItIsMissing) {
  const auto candidates = device_candidates();
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(candidates[0].kind, DeviceKind::kMlx);
  EXPECT_EQ(candidates[1].kind, DeviceKind::kMetal);
  EXPECT_EQ(candidates[2].kind, DeviceKind::kCpu);
  EXPECT_TRUE(candidates[2].is_available());
  for (const DeviceCandidate& candidate : candidates) EXPECT_EQ(candidate.is_available(), candidate.missing.empty());
}

TEST(Device, AutoTakesTheBestThatIsAvailable) {
  for (const DeviceCandidate& candidate : device_candidates()) {
    if (!candidate.is_available()) continue;
    EXPECT_EQ(choose_device("auto"), candidate.kind);
    break;
  }
  EXPECT_EQ(choose_device("auto", false), DeviceKind::kCpu);
  EXPECT_EQ(choose_device("cpu"), DeviceKind::kCpu);
  EXPECT_EQ(choose_device("cpu", false), DeviceKind::kCpu);
}

TEST(Device, AnImpossibleRequestSaysWhyAndWhatThereIs) {
  EXPECT_EQ(refused("metal"), "[device] metal is not in this build; available: cpu");
  EXPECT_EQ(refused("mlx", true), "[device] mlx is not in this build; available: cpu");
  EXPECT_EQ(refused("auto", true), "[device] mlx is not in this build, metal is not in this build; available: cpu");
  EXPECT_EQ(refused("cpu", true), "[device] cpu is no GPU, and one is asked for; available: cpu");
  EXPECT_EQ(refused("metal", false), "[device] metal is a GPU, and GPUs are disabled; available: cpu");
  EXPECT_EQ(refused("tpu"), "[device] unknown device 'tpu'; known are cpu, metal, mlx");
}

}  // namespace
}  // namespace tritium
