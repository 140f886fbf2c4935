// Integer sums at their worst: the int16 partial sums of a SIMD set must not overflow. Closed forms are expected.
#include "kernel_problems.h"

namespace tritium::kernels::testing {
namespace accumulator_test {

class AccumulatorTest : public EverySet {};
INSTANTIATE_TEST_SUITE_P(, AccumulatorTest, ::testing::ValuesIn(all_sets()), set_name);

TEST_P(AccumulatorTest, ExtremeWeightsAndActivationsGiveExactSums) {
  for (int64_t columns : {16, 128, 144, 256, 272, 8640, 65536}) {
    for (int weight : {-1, 1}) {
      for (int q : {-128, 127}) {
        for (int64_t tokens : {1, 2, 5, 9}) {
          if (columns == 65536 && tokens == 5) continue;
          const std::vector<int8_t> weights(static_cast<size_t>(16 * columns), static_cast<int8_t>(weight));
          const std::vector<int8_t> activations(static_cast<size_t>(tokens * columns), static_cast<int8_t>(q));
          const TernaryProblem problem(16, columns, tokens, weights, activations);
          const auto sum = static_cast<int32_t>(columns * weight * q);
          const std::vector<int32_t> wanted(static_cast<size_t>(tokens * 16), sum);
          ASSERT_EQ(problem.gemm(set()), wanted) << columns << " columns, weight " << weight << ", q " << q;
          ASSERT_EQ(problem.gemv(set()), wanted) << columns << " columns, weight " << weight << ", q " << q;
        }
      }
    }
  }
}

TEST_P(AccumulatorTest, OnePairOfColumnsAtTheExtremeIsSeenByItsRowAlone) {
  const int64_t columns = 640;
  for (int64_t column = 0; column < columns; column += 37) {
    for (int64_t row : {0, 7, 8, 15}) {
      std::vector<int8_t> trits(static_cast<size_t>(16 * columns));
      trits[static_cast<size_t>(row * columns + column)] = 1;
      const TernaryProblem problem(16, columns, 9, std::move(trits), std::vector<int8_t>(9 * 640, -128));
      std::vector<int32_t> wanted(9 * 16);
      for (size_t t = 0; t < 9; ++t) wanted[t * 16 + static_cast<size_t>(row)] = -128;
      ASSERT_EQ(problem.gemm(set()), wanted) << "row " << row << ", column " << column;
      ASSERT_EQ(problem.gemv(set()), wanted) << "row " << row << ", column " << column;
    }
  }
}

}  // namespace accumulator_test
}  // namespace tritium::kernels::testing
