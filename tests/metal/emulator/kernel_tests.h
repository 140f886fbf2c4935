// What the tests of the Metal kernels share.
#pragma once

#include <gtest/gtest.h>

#include "arguments.h"
#include "emulator.h"
#include "kernel_problems.h"

namespace tritium::metal_tests {

using emulator::Launch;
using emulator::Order;
using kernels::padded_columns;
using kernels::panel_count;
using kernels::testing::all_sets;
using kernels::testing::float_of;
using kernels::testing::Numbers;
using kernels::testing::poisoned;
using kernels::testing::same_bits;
using kernels::testing::scalar;
using kernels::testing::TernaryProblem;

inline const float kInfinity = float_of(0x7F800000u);
inline const float kNaN = float_of(0x7FC00000u);

constexpr uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }
constexpr size_t index(int64_t value) { return static_cast<size_t>(value); }

// A test with GetParam() as the order of threads.
class EveryOrder : public ::testing::TestWithParam<Order> {};

inline std::string order_name(const ::testing::TestParamInfo<Order>& info) {
  const char* const names[] = {"forward", "backward", "shuffled"};
  return names[static_cast<int>(info.param)];
}

#define TEST_IN_EVERY_ORDER(suite) \
  INSTANTIATE_TEST_SUITE_P(Threads, suite, ::testing::ValuesIn(emulator::kOrders), order_name)

}  // namespace tritium::metal_tests
