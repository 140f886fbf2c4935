#include "base/error.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "base/device.h"
#include "error_text.h"

namespace tritium {
namespace {

TEST(Concat, JoinsTextAndNumbers) {
  EXPECT_EQ(concat("[batch] ", 3, " lengths given for ", size_t{4}, " sequences"),
            "[batch] 3 lengths given for 4 sequences");
}

template <class Error>
class EveryError : public testing::Test {};
using Errors = testing::Types<ModelLoadError, DeviceError, BatchProcessingError, MemoryLimitError, OptimizationError>;
TYPED_TEST_SUITE(EveryError, Errors);

TYPED_TEST(EveryError, IsATritiumErrorAndKeepsItsText) {
  static_assert(std::is_base_of_v<TritiumError, TypeParam>);
  try {
    throw TypeParam("[where] what");
  } catch (const TritiumError& error) {
    EXPECT_STREQ(error.what(), "[where] what");
  }
}

TEST(Device, IsFoundByItsName) {
  for (DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kMetal, DeviceKind::kMlx}) {
    EXPECT_EQ(parse_device(device_name(kind)), kind);
  }
}

TEST(Device, ThatIsUnknownGivesAnErrorWithTheKnownNames) {
  for (const char* name : {"", "CPU", "cuda"}) {
    EXPECT_EQ(error_text<DeviceError>([&] { parse_device(name); }),
              concat("[device] unknown device '", name, "'; known are cpu, metal, mlx"));
  }
}

}  // namespace
}  // namespace tritium
