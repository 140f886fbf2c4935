#include "kernel_tests.h"

namespace tritium::metal_tests {
namespace {

TEST(LaunchOnCuda, RefusesWhatIsNotThere) {
  std::vector<int32_t> y(64);
  EXPECT_THROW(Launch("no_such_kernel"), emulator::Fault);
  EXPECT_THROW(Launch("missing_barrier").run({1}, {64}, Order::kForward), emulator::Fault);
  EXPECT_THROW(Launch("missing_barrier").buffer(0, y).constant("WRONG", true).run({1}, {64}, Order::kForward),
               emulator::Fault);
  EXPECT_THROW(Launch("missing_barrier").buffer(0, y).constant("MISTAKEN", false).run({1}, {1025}, Order::kForward),
               emulator::Fault);
}

}  // namespace
}  // namespace tritium::metal_tests
