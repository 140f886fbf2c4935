#include "base/device.h"

#include <gtest/gtest.h>

#include "error_text.h"

namespace tritium {
namespace {

TEST(Device, ItsNameLeadsBackToIt) {
  for (DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kMetal, DeviceKind::kMlx}) {
    EXPECT_EQ(parse_device(device_name(kind)), kind);
    EXPECT_EQ(is_gpu(kind), kind != DeviceKind::kCpu);
  }
}

TEST(Device, AnUnknownNameIsAnErrorThatListsTheKnownOnes) {
  EXPECT_EQ(error_text<DeviceError>([] { parse_device("tpu"); }),
            "[device] unknown device 'tpu'; known are cpu, metal, mlx");
}

}  // namespace
}  // namespace tritium
