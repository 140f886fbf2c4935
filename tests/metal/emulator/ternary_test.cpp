// Quantisation and the products of ternary matrices, against the scalar kernels: the same bits.
#include <algorithm>
#include <numeric>

#include "ternary_product.h"

namespace tritium::metal_tests {
namespace {

// ---- quantisation

struct QuantizedRows {
  std::vector<int8_t> q;      // (rows, padded columns)
  std::vector<float> absmax;  // (rows)
  std::vector<int32_t> sums;  // (rows)

  QuantizedRows(int64_t rows, int64_t columns)
      : q(index(rows * padded_columns(columns)), 99), absmax(poisoned(rows)), sums(index(rows), 0x5A5A5A5A) {}
};

constexpr float kEps = 1e-5f;

QuantizedRows quantized_by_scalar(const std::vector<float>& x, const std::vector<float>* weight, int64_t columns) {
  const int64_t rows = static_cast<int64_t>(x.size()) / columns;
  QuantizedRows result(rows, columns);
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> values(x.begin() + row * columns, x.begin() + (row + 1) * columns);
    if (weight) scalar().rms_norm(values.data(), weight->data(), columns, kEps, values.data());
    kernels::QuantizedRow quantized;
    scalar().quantize(values.data(), columns, result.q.data() + row * padded_columns(columns), &quantized);
    result.absmax[index(row)] = quantized.absmax;
    result.sums[index(row)] = quantized.sum;
  }
  return result;
}

QuantizedRows quantized_by_metal(const std::vector<float>& x, const std::vector<float>* weight, int64_t columns,
                                 uint32_t threads, Order order) {
  const int64_t rows = static_cast<int64_t>(x.size()) / columns;
  QuantizedRows result(rows, columns);
  Launch launch(weight ? "norm_quantize" : "quantize");
  launch.buffer(0, x).buffer(2, result.q).buffer(3, result.absmax).buffer(4, result.sums);
  weight ? launch.buffer(1, *weight) : launch.unused(1);
  launch.argument(5, RowArguments{u32(columns), u32(padded_columns(columns)), kEps});
  launch.run({u32(rows)}, {threads}, order);
  return result;
}

void expect_same(const QuantizedRows& got, const QuantizedRows& wanted) {
  EXPECT_EQ(got.q, wanted.q);
  EXPECT_TRUE(same_bits(got.absmax, wanted.absmax));
  EXPECT_EQ(got.sums, wanted.sums);
}

class Quantization : public EveryOrder {};
TEST_IN_EVERY_ORDER(Quantization);

TEST_P(Quantization, GivesTheSameBitsAsScalar) {
  Numbers numbers(1);
  for (const int64_t columns : {1, 15, 16, 17, 100, 640, 2560}) {
    for (const uint32_t threads : {32u, 256u}) {
      SCOPED_TRACE(std::to_string(columns) + " columns, " + std::to_string(threads) + " threads");
      const std::vector<float> x = numbers.floats(3 * columns, 5.0f);
      expect_same(quantized_by_metal(x, nullptr, columns, threads, GetParam()),
                  quantized_by_scalar(x, nullptr, columns));
    }
  }
}

TEST_P(Quantization, AfterRmsNormGivesTheSameBitsAsScalar) {
  Numbers numbers(2);
  for (const int64_t columns : {1, 15, 16, 17, 100, 2560, 4096, 4097, 6912}) {
    for (const uint32_t threads : {32u, 256u}) {
      SCOPED_TRACE(std::to_string(columns) + " columns, " + std::to_string(threads) + " threads");
      const std::vector<float> x = numbers.floats(2 * columns, 30.0f), weight = numbers.floats(columns, 2.0f);
      expect_same(quantized_by_metal(x, &weight, columns, threads, GetParam()),
                  quantized_by_scalar(x, &weight, columns));
    }
  }
}

TEST_P(Quantization, OfHalvesZerosAndNotANumberIsThatOfScalar) {
  const int64_t columns = 40;
  std::vector<float> x(index(4 * columns), 0.0f);
  for (int64_t i = 0; i < columns; ++i) x[index(i)] = static_cast<float>(i) + 0.5f - 20.0f;
  x[3] = 127.0f;
  x[index(2 * columns)] = kNaN;
  x[index(2 * columns + 1)] = -3.0f;
  x[index(3 * columns)] = 1e-7f;
  expect_same(quantized_by_metal(x, nullptr, columns, 64, GetParam()), quantized_by_scalar(x, nullptr, columns));
}

// ---- products

std::vector<Matrix> variants(int64_t tokens) {
  std::vector<Matrix> all;
  for (const int scales : {0, 1, 2, 3}) {
    const int added = 3 - scales;  // each kind of scale and each addition once
    const bool rows = (scales & 1) != 0, divides = (scales & 2) != 0;
    const bool has_bias = (added & 1) != 0, has_residual = (added & 2) != 0;
    all.push_back({33, 100, tokens, 1, rows, divides, has_bias, has_residual});
    all.push_back({17, 192, tokens, 3, rows, divides, has_residual, has_bias});
  }
  for (const ActivationFunction activation : {kRelu, kRelu2, kSilu, kGelu}) {
    all.push_back({20, 64, tokens, 1, false, false, true, true, activation});
  }
  for (const int64_t groups : {5, 8}) all.push_back({40, groups * 160, tokens, groups, true, false, true, true});
  return all;
}

class TernaryGemv : public EveryOrder {};
TEST_IN_EVERY_ORDER(TernaryGemv);

TEST_P(TernaryGemv, SumsAreThoseOfScalarAtAwkwardShapes) {
  Numbers numbers(3);
  for (const int64_t columns : {1, 15, 16, 17, 31, 33, 100, 128, 129, 512, 640, 2560}) {
    for (const int64_t rows : {1, 15, 16, 17, 100}) {
      Product product(numbers, {rows, columns, 1});
      product.scale_by_one();
      SCOPED_TRACE(product.matrix.name());
      EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", GetParam()), product.by_scalar()));
    }
  }
}

TEST_P(TernaryGemv, ScalesGroupsBiasResidualAndActivationGiveTheSameBitsAsScalar) {
  Numbers numbers(4);
  for (const int64_t tokens : {1, 3}) {
    for (const Matrix& matrix : variants(tokens)) {
      const Product product(numbers, matrix);
      SCOPED_TRACE(matrix.name());
      EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", GetParam()), product.by_scalar()));
    }
  }
}

TEST(TernaryGemv, SumsAreExactWhereTheyAreLargest) {
  Numbers numbers(5);
  for (const int8_t weight : {-1, 1}) {
    for (const int8_t code : {-128, 127}) {
      Product product(numbers, {16, 65536, 1}, weight, code);
      product.scale_by_one();
      SCOPED_TRACE(std::to_string(weight) + " * " + std::to_string(code));
      EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", Order::kForward), product.by_scalar()));
    }
  }
}

// The matrices of BitNet b1.58 2B-4T, of which some rows suffice.
TEST(TernaryGemv, SumsAreThoseOfScalarAtShapesOfModels) {
  Numbers numbers(6);
  for (const int64_t columns : {2560, 6912}) {
    Product product(numbers, {640, columns, 1});
    product.scale_by_one();
    SCOPED_TRACE(product.matrix.name());
    EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", Order::kShuffled), product.by_scalar()));
  }
}

class TernaryGemm : public EveryOrder {};
TEST_IN_EVERY_ORDER(TernaryGemm);

const char* const kGemms[] = {"ternary_gemm_8", "ternary_gemm_32"};

TEST_P(TernaryGemm, SumsAreThoseOfScalarAtAwkwardShapes) {
  Numbers numbers(7);
  for (const char* kernel : kGemms) {
    for (const int64_t tokens : {2, 7, 8, 9, 33}) {
      for (const int64_t columns : {1, 16, 33, 100}) {
        for (const int64_t rows : {1, 17, 64, 65}) {
          Product product(numbers, {rows, columns, tokens});
          product.scale_by_one();
          SCOPED_TRACE(kernel + (": " + product.matrix.name()));
          EXPECT_TRUE(same_bits(product.by_metal(kernel, GetParam()), product.by_scalar()));
        }
      }
    }
  }
}

TEST_P(TernaryGemm, ScalesGroupsBiasResidualAndActivationGiveTheSameBitsAsScalar) {
  Numbers numbers(8);
  for (const char* kernel : kGemms) {
    for (const Matrix& matrix : variants(5)) {
      const Product product(numbers, matrix);
      SCOPED_TRACE(kernel + (": " + matrix.name()));
      EXPECT_TRUE(same_bits(product.by_metal(kernel, GetParam()), product.by_scalar()));
    }
  }
}

TEST(TernaryGemm, SumsAreExactWhereTheyAreLargest) {
  Numbers numbers(9);
  Product product(numbers, {16, kMaxGemmColumns, 2}, -1, -128);
  product.scale_by_one();
  EXPECT_TRUE(same_bits(product.by_metal("ternary_gemm_8", Order::kForward), product.by_scalar()));
}

TEST(TernaryGemm, SumsAreThoseOfScalarAtAShapeOfAModel) {
  Numbers numbers(10);
  Product product(numbers, {128, 2560, 32});
  product.scale_by_one();
  EXPECT_TRUE(same_bits(product.by_metal("ternary_gemm_32", Order::kShuffled), product.by_scalar()));
}

}  // namespace
}  // namespace tritium::metal_tests
