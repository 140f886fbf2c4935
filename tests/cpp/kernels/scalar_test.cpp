// The scalar set against definitions written independently: plain integers, and doubles within reasoned tolerances.
#include <cmath>
#include <limits>

#include "kernel_problems.h"

namespace tritium::kernels::testing {
namespace scalar_test {

constexpr double kRounding = 0x1p-24;  // relative error of one float operation

TEST(ScalarKernels, PackPanelPutsCodesWhereTheLayoutSays) {
  Numbers numbers(1);
  for (int64_t rows : {1, 5, 16}) {
    for (int64_t columns : {1, 16, 17, 100}) {
      const auto trits = numbers.bytes(rows * columns, -1, 1);
      std::vector<uint8_t> panel(static_cast<size_t>(panel_bytes(columns)));
      scalar().pack_panel(trits.data(), rows, columns, panel.data());
      for (int64_t row = 0; row < 16; ++row) {
        for (int64_t k = 0; k < padded_columns(columns); ++k) {
          const int64_t step = k / 16, j = k % 16 / 4, b = k % 4;
          const int code = (panel[static_cast<size_t>(64 * step + 4 * row + b)] >> (2 * j)) & 3;
          const int weight = row < rows && k < columns ? trits[static_cast<size_t>(row * columns + k)] : 0;
          ASSERT_EQ(code - 1, weight) << "row " << row << ", column " << k;
        }
      }
    }
  }
}

TEST(ScalarKernels, TernaryProductsAreTheSumsOfPlainLoops) {
  Numbers numbers(2);
  for (int64_t rows : {1, 17, 100}) {
    for (int64_t columns : {1, 33, 640}) {
      const auto problem = random_ternary(numbers, rows, columns, 3);
      const auto gemm = problem.gemm(scalar());
      ASSERT_EQ(gemm, problem.gemv(scalar()));
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t row = 0; row < problem.width(); ++row) {
          int64_t sum = 0;
          for (int64_t k = 0; row < rows && k < columns; ++k) {
            sum += problem.trits[static_cast<size_t>(row * columns + k)] *
                   problem.q[static_cast<size_t>(t * padded_columns(columns) + k)];
          }
          ASSERT_EQ(gemm[static_cast<size_t>(t * problem.width() + row)], sum);
        }
      }
    }
  }
}

TEST(ScalarKernels, QuantizeRoundsHalfToEvenAndPadsWithZeros) {
  const std::vector<float> x = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, -0.0f};
  std::vector<int8_t> q(16, 77);
  QuantizedRow row;
  scalar().quantize(x.data(), 10, q.data(), &row);
  EXPECT_EQ(q, (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -2, 126, -126, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(row.absmax, 127.0f);
  EXPECT_EQ(row.sum, 127);
}

TEST(ScalarKernels, QuantizeOfAllZerosUsesTheSmallestAbsmax) {
  const std::vector<float> x(33);
  std::vector<int8_t> q(48, 77);
  QuantizedRow row;
  scalar().quantize(x.data(), 33, q.data(), &row);
  EXPECT_EQ(q, std::vector<int8_t>(48));
  EXPECT_EQ(row.absmax, 1e-5f);
  EXPECT_EQ(row.sum, 0);
}

TEST(ScalarKernels, QuantizeGivesMinus128ForNanAndIgnoresItInTheMaximum) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  std::vector<int8_t> q(16);
  QuantizedRow row;
  const std::vector<float> with_nan = {kNan, 2.0f, -1.0f};
  scalar().quantize(with_nan.data(), 3, q.data(), &row);
  EXPECT_EQ(row.absmax, 2.0f);
  EXPECT_EQ(std::vector<int8_t>(q.begin(), q.begin() + 3), (std::vector<int8_t>{-128, 127, -64}));
  const std::vector<float> with_infinity = {-kInfinity, 2.0f, kInfinity};
  scalar().quantize(with_infinity.data(), 3, q.data(), &row);
  EXPECT_EQ(row.absmax, kInfinity);
  EXPECT_EQ(std::vector<int8_t>(q.begin(), q.begin() + 3), (std::vector<int8_t>{-128, 0, -128}));
}

TEST(ScalarKernels, QuantizeFollowsTheFormulaForRandomNumbers) {
  Numbers numbers(3);
  for (float scale : {1.0f, 1e-3f, 1e4f, 1e-7f}) {
    const auto x = numbers.floats(640, scale);
    std::vector<int8_t> q(640);
    QuantizedRow row;
    scalar().quantize(x.data(), 640, q.data(), &row);
    float absmax = 1e-5f;
    for (float value : x) absmax = std::max(absmax, std::fabs(value));
    ASSERT_EQ(row.absmax, absmax);
    int32_t sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const float scaled = x[i] * ((1.0f / absmax) * 127.0f);
      ASSERT_EQ(q[i], static_cast<int>(std::nearbyint(std::clamp(static_cast<double>(scaled), -128.0, 127.0))));
      sum += q[i];
    }
    ASSERT_EQ(row.sum, sum);
  }
}

// exp as merge_attention computes it: the weight of an earlier part of sum 1 beside a later one of max 0 and sum 0.
float exponential(float x) {
  float value = 0.0f, later = 0.0f;
  AttentionPart total = {x, 1.0f, &value};
  scalar().merge_attention({0.0f, 0.0f, &later}, 1, &total);
  return total.sum;
}

TEST(ScalarKernels, ExpLiesWithinOneUlpOfTheTrueValue) {
  double worst = 0.0;
  for (double at = -87.336; at <= 0.0; at += 4.0e-5) {
    const float x = static_cast<float>(at), got = exponential(x);
    const double wanted = std::exp(static_cast<double>(x));
    const double ulp = std::ldexp(1.0, std::ilogb(wanted) - 23);
    worst = std::max(worst, std::fabs(got - wanted) / ulp);
  }
  EXPECT_LT(worst, 1.0);
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(ScalarKernels, ExpIsExactAtItsEnds) {
  EXPECT_EQ(exponential(0.0f), 1.0f);
  EXPECT_EQ(bits_of(exponential(-0.0f)), bits_of(1.0f));
  EXPECT_EQ(bits_of(exponential(-std::numeric_limits<float>::infinity())), 0u);
  EXPECT_EQ(bits_of(exponential(-1000.0f)), 0u);
  const float least = float_of(0xC2AEAC4Fu), below = float_of(0xC2AEAC50u);
  EXPECT_GE(exponential(least), std::numeric_limits<float>::min());
  EXPECT_NEAR(exponential(least) / std::exp(static_cast<double>(least)), 1.0, 1.5e-7);
  EXPECT_EQ(bits_of(exponential(below)), 0u);
}

// silu(-x) = -x / (1 + exp(x)) shows exp of positive numbers.
TEST(ScalarKernels, SiluFollowsTheDefinitionInDoubleOnBothSides) {
  for (double at = -120.0; at <= 120.0; at += 1.0e-3) {
    const float v = static_cast<float>(at), one = 1.0f;
    float got;
    scalar().gate(&v, &one, Activation::kSilu, 1, &got);
    const double wanted = v / (1.0 + std::exp(-static_cast<double>(v)));
    // Past the overflow of exp the result is -0, where the true value is below 3e-37.
    ASSERT_NEAR(got, wanted, 4e-7 * std::fabs(wanted) + 3e-37) << v;
  }
  const float big = -88.8f, one = 1.0f;
  float got;
  scalar().gate(&big, &one, Activation::kSilu, 1, &got);
  EXPECT_EQ(bits_of(got), 0x80000000u);
}

TEST(ScalarKernels, GateAppliesTheActivationOnly) {
  const std::vector<float> gate = {-2.0f, 3.0f, -0.0f, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> up = {5.0f, 0.5f, 1.0f, 1.0f};
  std::vector<float> y(4);
  scalar().gate(gate.data(), up.data(), Activation::kRelu2, 4, y.data());
  EXPECT_TRUE(same_bits(y, {0.0f, 4.5f, 0.0f, 0.0f}));
  scalar().gate(gate.data(), up.data(), Activation::kRelu, 4, y.data());
  EXPECT_TRUE(same_bits(y, {0.0f, 1.5f, 0.0f, 0.0f}));
  scalar().gate(gate.data(), up.data(), Activation::kIdentity, 4, y.data());
  EXPECT_TRUE(same_bits(y, {-10.0f, 1.5f, -0.0f, std::numeric_limits<float>::quiet_NaN()}));
}

TEST(ScalarKernels, EveryHalfWidensToItsValue) {
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    float got;
    scalar().widen(&half, Element::kBF16, 1, &got);
    ASSERT_EQ(bits_of(got), bits << 16);
    scalar().widen(&half, Element::kF16, 1, &got);
    const int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 1023);
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31 && mantissa != 0) {
      ASSERT_TRUE(std::isnan(got));
    } else if (exponent == 31) {
      ASSERT_EQ(got, sign * std::numeric_limits<double>::infinity());
    } else {
      const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      ASSERT_EQ(got, sign * magnitude);
      ASSERT_EQ(std::signbit(got), sign < 0);
    }
  }
}

TEST(ScalarKernels, DenseMatmulIsWithinTheErrorBoundOfItsSum) {
  Numbers numbers(4);
  for (int64_t columns : {1, 17, 640, 2560}) {
    const auto weights = numbers.floats(3 * columns), x = numbers.floats(2 * columns);
    std::vector<float> y(2 * 3);
    scalar().dense_matmul({weights.data(), Element::kF32, columns, 3, x.data(), 2, y.data(), 3});
    for (int64_t t = 0; t < 2; ++t) {
      for (int64_t row = 0; row < 3; ++row) {
        double sum = 0.0, magnitude = 0.0;
        for (int64_t k = 0; k < columns; ++k) {
          const double term = static_cast<double>(weights[static_cast<size_t>(row * columns + k)]) *
                              x[static_cast<size_t>(t * columns + k)];
          sum += term;
          magnitude += std::fabs(term);
        }
        const double steps = static_cast<double>(columns) / 16 + 5;
        ASSERT_NEAR(y[static_cast<size_t>(t * 3 + row)], sum, steps * kRounding * magnitude);
      }
    }
  }
}

TEST(ScalarKernels, DequantizeMultipliesAndThenAddsBiasAndResidual) {
  const int32_t acc = 16777217;  // rounds to 16777216
  const float bias = 0.25f, residual = -3.0f;
  float y;
  scalar().dequantize(&acc, 1, 0x1p-20f, nullptr, nullptr, &y);
  EXPECT_EQ(y, 16.0f);
  scalar().dequantize(&acc, 1, 0x1p-20f, &bias, &residual, &y);
  EXPECT_EQ(y, 13.25f);
}

TEST(ScalarKernels, RmsNormIsWithinTheErrorBoundOfItsFormula) {
  Numbers numbers(5);
  for (int64_t count : {1, 17, 640, 6912}) {
    const auto x = numbers.floats(count, 3.0f), weight = numbers.floats(count);
    std::vector<float> y(static_cast<size_t>(count));
    scalar().rms_norm(x.data(), weight.data(), count, 1e-5f, y.data());
    double squares = 0.0;
    for (float value : x) squares += static_cast<double>(value) * value;
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(count) + static_cast<double>(1e-5f));
    const double tolerance = (static_cast<double>(count) / 32 + 10) * kRounding;
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], x[i] * r * weight[i], tolerance * std::fabs(x[i] * r * weight[i]));
    }
  }
}

TEST(ScalarKernels, RopeRotatesPairsHalfAVectorApart) {
  std::vector<float> x = {1.0f, 2.0f, 3.0f, 4.0f};
  const std::vector<float> cosine = {0.0f, 1.0f}, sine = {1.0f, 0.0f};
  scalar().rope(x.data(), cosine.data(), sine.data(), 2);
  EXPECT_TRUE(same_bits(x, {-3.0f, 2.0f, 1.0f, 4.0f}));
}

TEST(ScalarKernels, NarrowRoundsHalfToEvenAndLimits) {
  const std::vector<float> x = {1.0f,     1.00048828125f, 1.00146484375f, 65504.0f, 65519.0f,
                                65520.0f, 1e30f,          -1e30f,         0x1p-24f, 0x1p-25f,
                                0x3p-25f, -0x1.8p-25f,    0x1p-14f,       -0.0f,    0x1.ffcp-15f};
  std::vector<uint16_t> halves(x.size());
  std::vector<float> y(x.size());
  scalar().narrow(x.data(), static_cast<int64_t>(x.size()), halves.data());
  scalar().widen(halves.data(), Element::kF16, static_cast<int64_t>(x.size()), y.data());
  EXPECT_TRUE(same_bits(y, {1.0f, 1.0f, 1.001953125f, 65504.0f, 65504.0f, 65504.0f, 65504.0f, -65504.0f, 0x1p-24f, 0.0f,
                            0x1p-23f, -0x1p-24f, 0x1p-14f, -0.0f, 0x1p-14f}));
}

TEST(ScalarKernels, QuantizeQueryKeeps15BitsOfTheLargestNumber) {
  const std::vector<float> q = {1.0f, -2.0f, 0.5f};
  std::vector<int16_t> codes(4, 77);
  float multiplier;
  scalar().quantize_query(q.data(), 3, 0.5f, codes.data(), &multiplier);
  EXPECT_EQ(codes, (std::vector<int16_t>{16384, -32767, 8192, 0}));
  EXPECT_FLOAT_EQ(multiplier, 1.0f / 32767.0f);
}

// Attention in double precision over keys and values (tokens, head_dim).
std::vector<double> exact_attention(const std::vector<float>& q, const std::vector<float>& k,
                                    const std::vector<float>& v, double scale) {
  const size_t head_dim = q.size(), tokens = k.size() / head_dim;
  std::vector<double> scores(tokens), result(head_dim);
  for (size_t j = 0; j < tokens; ++j) {
    for (size_t d = 0; d < head_dim; ++d) scores[j] += scale * q[d] * k[j * head_dim + d];
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (double score : scores) sum += std::exp(score - max);
  for (size_t j = 0; j < tokens; ++j) {
    for (size_t d = 0; d < head_dim; ++d) result[d] += std::exp(scores[j] - max) / sum * v[j * head_dim + d];
  }
  return result;
}

// Pages of keys and values, merged in order.
std::vector<float> attend(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                          float scale, bool int8) {
  Numbers numbers(1);
  const int64_t head_dim = static_cast<int64_t>(q.size()), tokens = static_cast<int64_t>(k.size()) / head_dim;
  std::vector<float> values(q.size()), y(q.size());
  AttentionPart total = {-std::numeric_limits<float>::infinity(), 0.0f, values.data()};
  for (int64_t first = 0; first < tokens; first += kPageTokens) {
    const int64_t count = std::min<int64_t>(kPageTokens, tokens - first);
    PageProblem problem(numbers, int8, 1, head_dim);
    problem.q = q;
    problem.scale = scale;
    problem.seen = {static_cast<int32_t>(count)};
    const auto row = [&](const std::vector<float>& x, int64_t token) {
      return std::vector<float>(x.begin() + token * head_dim, x.begin() + (token + 1) * head_dim);
    };
    for (int64_t j = 0; j < count; ++j) problem.write_token(row(k, first + j), row(v, first + j), j);
    auto part = problem.attend(scalar());
    scalar().merge_attention({part[q.size()], part[q.size() + 1], part.data()}, head_dim, &total);
  }
  scalar().finish_attention(total, head_dim, y.data());
  return y;
}

double rms_difference(const std::vector<float>& y, const std::vector<double>& wanted) {
  double sum = 0.0;
  for (size_t i = 0; i < y.size(); ++i) sum += (y[i] - wanted[i]) * (y[i] - wanted[i]);
  return std::sqrt(sum / static_cast<double>(y.size()));
}

TEST(ScalarKernels, PagesMergedInOrderGiveTheSoftmaxOfTheWholeContext) {
  Numbers numbers(6);
  const int64_t head_dim = 100;
  for (int64_t tokens : {1, 63, 64, 65, 200}) {
    const auto q = numbers.floats(head_dim, 4.0f), v = numbers.floats(tokens * head_dim);
    const auto k = numbers.floats(tokens * head_dim, 4.0f);
    const auto wanted = exact_attention(q, k, v, 0.1f);
    // Scores of size ~5, values below 1: float16 has 11 bits, int8 rows 8.
    EXPECT_LT(rms_difference(attend(q, k, v, 0.1f, false), wanted), 1e-3) << tokens << " tokens";
    EXPECT_LT(rms_difference(attend(q, k, v, 0.1f, true), wanted), 1e-2) << tokens << " tokens";
  }
}

TEST(ScalarKernels, AttentionIsExactButForRoundingWhereKeysAndValuesAreHalves) {
  Numbers numbers(7);
  const int64_t head_dim = 64, tokens = 200;
  const auto q = numbers.floats(head_dim, 4.0f);
  const auto halves = [&](float step) {
    std::vector<float> x(static_cast<size_t>(tokens * head_dim));
    for (float& value : x) value = step * static_cast<float>(numbers.integer(-1024, 1024));
    return x;
  };
  const auto k = halves(0x1p-8f), v = halves(0x1p-10f);
  const auto wanted = exact_attention(q, k, v, 0.125f);
  EXPECT_LT(rms_difference(attend(q, k, v, 0.125f, false), wanted), 5e-6);
}

}  // namespace scalar_test
}  // namespace tritium::kernels::testing
