// Integer sums at their worst: the int16 partial sums of a SIMD set and the int32 sums of weights that are masked in
// place must not overflow. Closed forms are expected.
#include "kernel_problems.h"

namespace tritium::kernels::testing {
namespace accumulator_test {

class AccumulatorTest : public EverySet {};
INSTANTIATE_TEST_SUITE_P(, AccumulatorTest, ::testing::ValuesIn(all_sets()), set_name);

TEST_P(AccumulatorTest, ExtremeWeightsAndActivationsGiveExactSums) {
  for (int64_t columns : {16, 128, 144, 256, 272, 512, 528, 8640, 65536}) {
    for (int weight : {-1, 1}) {
      for (int q : {-128, 127}) {
        for (int64_t tokens : {1, 2, 5, 9}) {
          if (columns == 65536 && tokens == 5) continue;
          const std::vector<int8_t> weights(static_cast<size_t>(16 * columns), static_cast<int8_t>(weight));
          const std::vector<int8_t> activations(static_cast<size_t>(tokens * columns), static_cast<int8_t>(q));
          const TernaryProblem problem(16, columns, tokens, weights, activations);
          const auto sum = static_cast<int32_t>(columns * weight * q);
          const std::vector<int32_t> wanted(static_cast<size_t>(tokens * 16), sum);
          for (size_t format : formats_of(set())) {
            ASSERT_EQ(problem.gemm(set(), format), wanted) << columns << " columns, weight " << weight << ", q " << q;
            ASSERT_EQ(problem.gemv(set(), format), wanted) << columns << " columns, weight " << weight << ", q " << q;
          }
        }
      }
    }
  }
}

// A panel of equal weights, -1 or 1, in runs of equal bytes: 2^22 columns need no packing.
std::vector<uint8_t> equal_weights(const PanelLayout& layout, int64_t columns, int weight) {
  const auto bytes = static_cast<size_t>(layout.panel_bytes(columns));
  if (weight < 0) return std::vector<uint8_t>(bytes, 0);
  if (layout.block_columns == kStepColumns) return std::vector<uint8_t>(bytes, 0xAA);
  std::vector<uint8_t> panel(bytes, 3 * 80 + 0);  // without a fifth code
  const int64_t whole = columns / layout.block_columns * layout.block_bytes;
  std::fill(panel.begin(), panel.begin() + whole, uint8_t{3 * 80 + 2});
  return panel;
}

TEST_P(AccumulatorTest, ExtremeWeightsOfTheLongestRowsGiveExactSums) {
  constexpr int64_t kTokens = 2;
  // Around 2^19 columns, where a sum of codes * 64 reaches -2^31, and the most there may be.
  for (int64_t columns : {int64_t{1} << 19, (int64_t{1} << 19) + 16, (int64_t{1} << 19) + 48, kMaxColumns}) {
    for (int weight : {-1, 1}) {
      for (int q : {-128, 127}) {
        const std::vector<int8_t> activations(static_cast<size_t>(kTokens * columns), static_cast<int8_t>(q));
        const std::vector<int32_t> q_sum(kTokens, static_cast<int32_t>(columns * q));
        const std::vector<int32_t> wanted(kTokens * kPanelRows, static_cast<int32_t>(columns * weight * q));
        for (size_t i : formats_of(set())) {
          const TernaryFormat& format = set().ternary[i];
          const std::vector<uint8_t> panel = equal_weights(format.layout, columns, weight);
          std::vector<int32_t> gemm(wanted.size()), gemv(wanted.size());
          format.gemm({panel.data(), 1, columns, activations.data(), q_sum.data(), kTokens, gemm.data()});
          ASSERT_EQ(gemm, wanted) << columns << " columns, weight " << weight << ", q " << q;
          for (int64_t t = 0; t < kTokens; ++t) {
            format.gemv({panel.data(), 1, columns, activations.data() + t * columns, q_sum.data() + t, 1,
                         gemv.data() + t * kPanelRows});
          }
          ASSERT_EQ(gemv, wanted) << columns << " columns, weight " << weight << ", q " << q;
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
      for (size_t format : formats_of(set())) {
        ASSERT_EQ(problem.gemm(set(), format), wanted) << "row " << row << ", column " << column;
        ASSERT_EQ(problem.gemv(set(), format), wanted) << "row " << row << ", column " << column;
      }
    }
  }
}

}  // namespace accumulator_test
}  // namespace tritium::kernels::testing
