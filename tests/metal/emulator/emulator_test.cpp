// That the emulator finds the mistakes that it is there to find: each kernel of faults/faults.metal is right without
// its mistake and is found out with it.
#include "kernel_tests.h"

namespace tritium::metal_tests {
namespace {

constexpr int64_t kThreads = 64;

template <class T>
std::vector<T> run(const char* kernel, bool mistaken, Order order) {
  std::vector<T> y(index(kThreads), T{7});
  Launch(kernel).buffer(0, y).constant("MISTAKEN", mistaken).run({1}, {u32(kThreads)}, order);
  return y;
}

// What the launch throws, or nothing.
std::string fault_of(const char* kernel, bool mistaken) {
  try {
    run<int32_t>(kernel, mistaken, Order::kForward);
  } catch (const emulator::Fault& fault) {
    return fault.what();
  }
  return "";
}

template <class T>
bool all_orders_agree(const char* kernel, bool mistaken) {
  const std::vector<T> first = run<T>(kernel, mistaken, Order::kForward);
  for (const Order order : emulator::kOrders) {
    if (run<T>(kernel, mistaken, order) != first) return false;
  }
  return true;
}

TEST(Emulator, FindsAMissingBarrierBeforeARead) {
  EXPECT_TRUE(all_orders_agree<int32_t>("missing_barrier", false));
  EXPECT_FALSE(all_orders_agree<int32_t>("missing_barrier", true));
}

TEST(Emulator, FindsAMissingBarrierBeforeTheNextWrite) {
  EXPECT_TRUE(all_orders_agree<int32_t>("missing_second_barrier", false));
  EXPECT_FALSE(all_orders_agree<int32_t>("missing_second_barrier", true));
}

TEST(Emulator, FindsABarrierThatNotAllThreadsReach) {
  EXPECT_EQ(fault_of("divergent_barrier", false), "");
  EXPECT_NE(fault_of("divergent_barrier", true)
                .find("[divergent_barrier] divergence: of 64 threads 32 have returned, "
                      "32 are at threadgroup_barrier"),
            std::string::npos);
}

TEST(Emulator, FindsThreadsAtDifferentBarriers) {
  EXPECT_EQ(fault_of("two_barriers", false), "");
  EXPECT_NE(fault_of("two_barriers", true).find("[two_barriers] threads are at threadgroup_barrier"),
            std::string::npos);
}

TEST(Emulator, FindsAFunctionOfASimdgroupThatNotAllLanesReach) {
  EXPECT_EQ(fault_of("divergent_sum", false), "");
  EXPECT_NE(fault_of("divergent_sum", true).find("14 are at simd_sum"), std::string::npos);
  EXPECT_EQ(fault_of("sum_and_maximum", false), "");
  EXPECT_NE(fault_of("sum_and_maximum", true).find("lanes of a simdgroup are at simd_sum"), std::string::npos);
}

TEST(Emulator, GivesPoisonForALaneThatIsGone) {
  EXPECT_EQ(run<int32_t>("shuffle_from_a_lane_that_is_gone", false, Order::kForward)[0], 31);
  EXPECT_EQ(run<int32_t>("shuffle_from_a_lane_that_is_gone", true, Order::kForward)[0], -1);
}

TEST(Emulator, PoisonsThreadgroupMemory) {
  for (int time = 0; time < 2; ++time) {
    EXPECT_EQ(run<float>("uninitialised_threadgroup_memory", false, Order::kForward)[5], 1.0f);
    const float value = run<float>("uninitialised_threadgroup_memory", true, Order::kForward)[5];
    EXPECT_NE(value, value);
  }
}

TEST(Emulator, KnowsHowMuchThreadgroupMemoryThereIs) {
  EXPECT_NE(fault_of("too_much_threadgroup_memory", false).find("32772 bytes of threadgroup memory, 32768 can be had"),
            std::string::npos);
}

TEST(Emulator, RefusesWhatMetalRefusesToLaunch) {
  const auto fault = [](auto launch) -> std::string {
    try {
      launch();
    } catch (const emulator::Fault& found) {
      return found.what();
    }
    return "";
  };
  std::vector<int32_t> y(64);
  const RowArguments row = {64, 64, 0.0f};
  EXPECT_EQ(fault([] { Launch("no_such_kernel"); }), "no kernel is called no_such_kernel");
  EXPECT_EQ(fault([&] { Launch("divergent_barrier").constant("MISTAKEN", false).run({1}, {64}, Order::kForward); }),
            "[divergent_barrier] nothing is bound to y");
  EXPECT_EQ(fault([&] { Launch("divergent_barrier").buffer(0, y).run({1}, {64}, Order::kForward); }),
            "[divergent_barrier] the function constant MISTAKEN has no value in threadgroup (0, 0, 0)");
  EXPECT_EQ(
      fault([&] { Launch("divergent_barrier").buffer(0, y).constant("MISTAKEN", 1).run({1}, {64}, Order::kForward); }),
      "[divergent_barrier] no function constant is called MISTAKEN and has this type");
  EXPECT_EQ(fault([&] {
              Launch("divergent_barrier").buffer(0, y).constant("MISTAKEN", false).run({1}, {1025}, Order::kForward);
            }),
            "[divergent_barrier] 1025 threads in a threadgroup, at most 1024 are possible");
  EXPECT_EQ(fault([&] {
              Launch("divergent_barrier")
                  .buffer(0, y)
                  .argument(1, row)
                  .constant("MISTAKEN", false)
                  .run({1}, {64}, Order::kForward);
            }),
            "[divergent_barrier] 2 buffers are bound to 1 parameters");
  EXPECT_EQ(fault([&] {
              Launch launch("quantize");
              for (int i = 0; i < 5; ++i) launch.unused(i);
              launch.argument(5, row.columns).run({1}, {64}, Order::kForward);
            }),
            "[quantize] 4 bytes are bound to row_args, which has 12");
}

#if defined(TRITIUM_EMULATOR_FLAT)  // with sanitizers

TEST(EmulatorDeathTest, OverrunsAreFound) {
  run<int32_t>("overrun_of_a_buffer", false, Order::kForward);
  EXPECT_DEATH(run<int32_t>("overrun_of_a_buffer", true, Order::kForward), "heap-buffer-overflow");
  run<int32_t>("overrun_of_threadgroup_memory", false, Order::kForward);
  EXPECT_DEATH(run<int32_t>("overrun_of_threadgroup_memory", true, Order::kForward), "global-buffer-overflow");
}

TEST(EmulatorDeathTest, MisalignedAccessIsFound) {
  run<int32_t>("misaligned", false, Order::kForward);
  EXPECT_DEATH(run<int32_t>("misaligned", true, Order::kForward), "misaligned address");
}

TEST(EmulatorDeathTest, OverflowIsFound) {
  run<int32_t>("overflow", false, Order::kForward);
  EXPECT_DEATH(run<int32_t>("overflow", true, Order::kForward), "signed integer overflow");
}

#endif

}  // namespace
}  // namespace tritium::metal_tests
