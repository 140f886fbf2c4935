// Every kernel of every compiled set against scalar, bit for bit, at awkward sizes.
#include <cmath>
#include <limits>

#include "kernel_problems.h"

namespace tritium::kernels::testing {
namespace same_bits_test {

class KernelSetTest : public EverySet {};
INSTANTIATE_TEST_SUITE_P(, KernelSetTest, ::testing::ValuesIn(all_sets()), set_name);

const std::vector<int64_t> kCounts = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 640, 2560, 6912};

TEST_P(KernelSetTest, PackPanelGivesTheSameBitsAsScalar) {
  Numbers numbers(1);
  for (size_t format : formats_of(set())) {
    const TernaryFormat &packing = set().ternary[format], &expected = scalar().ternary[format];
    for (int64_t rows = 1; rows <= kPanelRows; ++rows) {
      for (int64_t columns : kAwkwardColumns) {
        const auto trits = numbers.bytes(rows * columns, -1, 1);
        std::vector<uint8_t> got(static_cast<size_t>(expected.layout.panel_bytes(columns)), 0xA5), wanted(got);
        packing.pack_panel(trits.data(), rows, columns, got.data());
        expected.pack_panel(trits.data(), rows, columns, wanted.data());
        ASSERT_EQ(got, wanted) << packing.layout.name << ", " << rows << " rows, " << columns << " columns";
      }
    }
  }
}

TEST_P(KernelSetTest, QuantizeGivesTheSameBitsAsScalar) {
  Numbers numbers(2);
  for (int64_t columns : kAwkwardColumns) {
    for (float scale : {1.0f, 1e-38f, 3e38f, 0.0f, 1e-5f}) {
      auto x = numbers.floats(columns, scale);
      for (float special : {0.25f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        if (special != 0.25f) x[static_cast<size_t>(numbers.integer(0, columns - 1))] = special;
        std::vector<int8_t> got(static_cast<size_t>(padded_columns(columns)), 77), wanted(got);
        QuantizedRow got_row, wanted_row;
        set().quantize(x.data(), columns, got.data(), &got_row);
        scalar().quantize(x.data(), columns, wanted.data(), &wanted_row);
        ASSERT_EQ(got, wanted) << columns << " columns";
        ASSERT_EQ(bits_of(got_row.absmax), bits_of(wanted_row.absmax)) << columns << " columns";
        ASSERT_EQ(got_row.sum, wanted_row.sum) << columns << " columns";
      }
    }
  }
}

TEST_P(KernelSetTest, TernaryGemvGivesTheSameBitsAsScalar) {
  Numbers numbers(3);
  for (int64_t columns : kAwkwardColumns) {
    for (int64_t rows : kAwkwardRows) {
      const auto problem = random_ternary(numbers, rows, columns, 1);
      for (size_t format : formats_of(set())) {
        ASSERT_EQ(problem.gemv(set(), format), problem.gemv(scalar(), format))
            << set().ternary[format].layout.name << ", " << rows << " rows, " << columns << " columns";
      }
    }
  }
}

TEST_P(KernelSetTest, TernaryGemmGivesTheSameBitsAsScalar) {
  Numbers numbers(4);
  for (int64_t columns : kAwkwardColumns) {
    for (int64_t rows : kAwkwardRows) {
      for (int64_t tokens : kAwkwardTokens) {
        if (rows * columns * tokens > 20'000'000) continue;
        const auto problem = random_ternary(numbers, rows, columns, tokens);
        for (size_t format : formats_of(set())) {
          ASSERT_EQ(problem.gemm(set(), format), problem.gemm(scalar(), 0))
              << set().ternary[format].layout.name << ", " << rows << " rows, " << columns << " columns, " << tokens
              << " tokens";
        }
      }
    }
  }
}

TEST_P(KernelSetTest, TernaryProductsOfShapesUpTo300GiveTheSameBitsAsScalar) {
  Numbers numbers(20);
  for (int i = 0; i < 400; ++i) {
    const int64_t rows = numbers.integer(1, 300), columns = numbers.integer(1, 300), tokens = numbers.integer(1, 12);
    const auto problem = random_ternary(numbers, rows, columns, tokens);
    const auto wanted = problem.gemm(scalar(), 0);
    for (size_t format : formats_of(set())) {
      ASSERT_EQ(problem.gemm(set(), format), wanted)
          << set().ternary[format].layout.name << ", " << rows << " rows, " << columns << " columns, " << tokens;
      ASSERT_EQ(problem.gemv(set(), format), wanted)
          << set().ternary[format].layout.name << ", " << rows << " rows, " << columns << " columns, " << tokens;
    }
  }
}

TEST_P(KernelSetTest, TernaryGemmOfManyTokensGivesTheSameBitsAsScalar) {
  Numbers numbers(5);
  for (int64_t columns : {640, 8640}) {
    const auto problem = random_ternary(numbers, 33, columns, 257);
    const auto wanted = problem.gemm(scalar(), 0);
    for (size_t format : formats_of(set())) ASSERT_EQ(problem.gemm(set(), format), wanted) << columns << " columns";
  }
}

TEST_P(KernelSetTest, TernaryGemmAndGemvAgreeInEveryFormat) {
  Numbers numbers(6);
  const auto problem = random_ternary(numbers, 100, 3200, 33);
  const auto wanted = problem.gemm(set(), 0);
  for (size_t format : formats_of(set())) {
    EXPECT_EQ(problem.gemm(set(), format), wanted);
    EXPECT_EQ(problem.gemv(set(), format), wanted);
  }
}

TEST_P(KernelSetTest, DequantizeGivesTheSameBitsAsScalar) {
  Numbers numbers(7);
  for (int64_t count : kCounts) {
    std::vector<int32_t> acc(static_cast<size_t>(count));
    for (int32_t& value : acc) value = static_cast<int32_t>(numbers.integer(-(1 << 30), 1 << 30));
    const auto bias = numbers.floats(count), residual = numbers.floats(count, 100.0f);
    for (const float* b : {static_cast<const float*>(nullptr), bias.data()}) {
      for (const float* r : {static_cast<const float*>(nullptr), residual.data()}) {
        auto got = poisoned(count), wanted = poisoned(count);
        set().dequantize(acc.data(), count, 1.7e-7f, b, r, got.data());
        scalar().dequantize(acc.data(), count, 1.7e-7f, b, r, wanted.data());
        ASSERT_TRUE(same_bits(got, wanted)) << count;
      }
    }
    auto in_place = residual;
    auto wanted = poisoned(count);
    set().dequantize(acc.data(), count, 1.7e-7f, nullptr, in_place.data(), in_place.data());
    scalar().dequantize(acc.data(), count, 1.7e-7f, nullptr, residual.data(), wanted.data());
    ASSERT_TRUE(same_bits(in_place, wanted)) << count;
  }
}

TEST_P(KernelSetTest, DenseMatmulGivesTheSameBitsAsScalar) {
  Numbers numbers(8);
  for (Element element : {Element::kF32, Element::kF16, Element::kBF16}) {
    const int64_t size = element == Element::kF32 ? 4 : 2;
    for (int64_t columns : {1, 7, 8, 15, 16, 17, 31, 33, 100, 640, 2560}) {
      for (int64_t rows : {1, 2, 3, 4, 5, 16, 17}) {
        for (int64_t tokens : kAwkwardTokens) {
          std::vector<unsigned char> weights(static_cast<size_t>(rows * columns * size));
          for (int64_t i = 0; i < rows * columns; ++i) {
            const uint32_t bits = bits_of(numbers.number());
            const auto f16 = static_cast<uint16_t>(numbers.integer(0, 0x7BFF));
            const auto half = element == Element::kBF16 ? static_cast<uint16_t>(bits >> 16) : f16;
            unsigned char* at = weights.data() + i * size;
            size == 4 ? std::memcpy(at, &bits, 4) : std::memcpy(at, &half, 2);
          }
          const auto x = numbers.floats(tokens * columns);
          const int64_t stride = rows + 3;
          auto got = poisoned(tokens * stride), wanted = poisoned(tokens * stride);
          set().dense_matmul({weights.data(), element, columns, rows, x.data(), tokens, got.data(), stride});
          scalar().dense_matmul({weights.data(), element, columns, rows, x.data(), tokens, wanted.data(), stride});
          ASSERT_TRUE(same_bits(got, wanted)) << rows << " rows, " << columns << " columns, " << tokens << " tokens";
        }
      }
    }
  }
}

// A lane without a term in the last, partial step keeps the -0 to which its tiny negative product rounded. Were +0
// added to one of them, the sum would be +0.
TEST_P(KernelSetTest, DenseMatmulLeavesLanesWithoutATermAsTheyAre) {
  for (int64_t columns : {17, 24, 31}) {
    const int64_t rows = 7, tokens = 5;
    const std::vector<float> weights(static_cast<size_t>(rows * columns), -1e-30f);
    const std::vector<float> x(static_cast<size_t>(tokens * columns), 1e-30f);
    auto got = poisoned(rows * tokens);
    set().dense_matmul({weights.data(), Element::kF32, columns, rows, x.data(), tokens, got.data(), rows});
    EXPECT_TRUE(same_bits(got, std::vector<float>(got.size(), -0.0f))) << columns << " columns";
  }
}

TEST_P(KernelSetTest, WidenGivesTheSameBitsAsScalarForEveryHalf) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (Element element : {Element::kF16, Element::kBF16}) {
    for (int64_t count : {int64_t{1}, int64_t{7}, int64_t{9}, int64_t{100}, int64_t{1} << 16}) {
      auto got = poisoned(count), wanted = poisoned(count);
      set().widen(halves.data(), element, count, got.data());
      scalar().widen(halves.data(), element, count, wanted.data());
      ASSERT_EQ(0, std::memcmp(got.data(), wanted.data(), got.size() * sizeof(float))) << count;
    }
  }
}

TEST_P(KernelSetTest, RmsNormGivesTheSameBitsAsScalar) {
  Numbers numbers(9);
  for (int64_t count : kCounts) {
    for (float scale : {1.0f, 1e-25f, 1e18f, 0.0f}) {
      const auto x = numbers.floats(count, scale), weight = numbers.floats(count);
      auto got = x, wanted = poisoned(count);
      set().rms_norm(got.data(), weight.data(), count, 1e-5f, got.data());
      scalar().rms_norm(x.data(), weight.data(), count, 1e-5f, wanted.data());
      ASSERT_TRUE(same_bits(got, wanted)) << count;
    }
  }
}

TEST_P(KernelSetTest, AddGivesTheSameBitsAsScalar) {
  Numbers numbers(10);
  for (int64_t count : kCounts) {
    const auto x = numbers.floats(count), z = numbers.floats(count, 1e-3f);
    auto got = poisoned(count), wanted = poisoned(count), in_place = z;
    set().add(x.data(), z.data(), count, got.data());
    set().add(x.data(), in_place.data(), count, in_place.data());
    scalar().add(x.data(), z.data(), count, wanted.data());
    ASSERT_TRUE(same_bits(got, wanted)) << count;
    ASSERT_TRUE(same_bits(in_place, wanted)) << count;
  }
}

TEST_P(KernelSetTest, GateGivesTheSameBitsAsScalar) {
  Numbers numbers(11);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (Activation activation : {Activation::kIdentity, Activation::kRelu, Activation::kRelu2, Activation::kSilu}) {
    for (int64_t count : kCounts) {
      for (float scale : {4.0f, 130.0f, 1e-38f}) {
        auto gate = numbers.floats(count, scale);
        if (count > 16) {
          const float special[] = {kInfinity, -kInfinity, -0.0f, std::numeric_limits<float>::quiet_NaN(), -88.722836f};
          std::copy(std::begin(special), std::end(special), gate.begin() + 3);
        }
        const auto up = numbers.floats(count);
        auto got = poisoned(count), wanted = poisoned(count), in_place = gate;
        set().gate(gate.data(), up.data(), activation, count, got.data());
        set().gate(in_place.data(), up.data(), activation, count, in_place.data());
        scalar().gate(gate.data(), up.data(), activation, count, wanted.data());
        ASSERT_TRUE(same_bits(got, wanted)) << count;
        ASSERT_TRUE(same_bits(in_place, wanted)) << count;
      }
    }
  }
}

TEST_P(KernelSetTest, RopeGivesTheSameBitsAsScalar) {
  Numbers numbers(12);
  for (int64_t half : {1, 4, 7, 8, 9, 16, 32, 50, 64, 128}) {
    auto got = numbers.floats(2 * half), wanted = got;
    const auto cosine = numbers.floats(half), sine = numbers.floats(half);
    set().rope(got.data(), cosine.data(), sine.data(), half);
    scalar().rope(wanted.data(), cosine.data(), sine.data(), half);
    ASSERT_TRUE(same_bits(got, wanted)) << half;
  }
}

TEST_P(KernelSetTest, NarrowGivesTheSameBitsAsScalarForEveryHalfAndItsNeighbours) {
  std::vector<float> x;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    float value;
    scalar().widen(&bits, Element::kF16, 1, &value);
    if (value != value) continue;
    const float next = std::nextafter(value, 1e38f);
    for (float other : {value, next, value * 1.00048828125f, value * 1.000244140625f, value * 0.99951171875f}) {
      x.push_back(other);
    }
  }
  for (float extreme : {65504.0f, 65519.0f, 65520.0f, 1e10f, 3.4e38f, std::numeric_limits<float>::infinity(), 1e-45f}) {
    x.push_back(extreme);
    x.push_back(-extreme);
  }
  std::vector<uint16_t> got(x.size(), 77), wanted(x.size(), 78);
  set().narrow(x.data(), static_cast<int64_t>(x.size()), got.data());
  scalar().narrow(x.data(), static_cast<int64_t>(x.size()), wanted.data());
  EXPECT_EQ(got, wanted);
  for (int64_t count : kCounts) {
    std::vector<uint16_t> some(static_cast<size_t>(count) + 8, 77);
    set().narrow(x.data() + 31000, count, some.data());
    for (size_t i = 0; i < some.size(); ++i) {
      ASSERT_EQ(some[i], static_cast<int64_t>(i) < count ? wanted[31000 + i] : 77) << i << " of " << count;
    }
  }
}

TEST_P(KernelSetTest, NarrowKeepsNaN) {
  std::vector<float> x(17, std::numeric_limits<float>::quiet_NaN()), y(17);
  std::vector<uint16_t> halves(17);
  set().narrow(x.data(), 17, halves.data());
  scalar().widen(halves.data(), Element::kF16, 17, y.data());
  for (float value : y) EXPECT_TRUE(std::isnan(value));
}

class AttendTest : public EverySet {
 protected:
  static void expect_same_parts(const PageProblem& problem) {
    const auto got = problem.attend(set()), wanted = problem.attend(scalar());
    ASSERT_TRUE(same_bits(got, wanted)) << problem.name();
  }
};
INSTANTIATE_TEST_SUITE_P(, AttendTest, ::testing::ValuesIn(all_sets()), set_name);

TEST_P(AttendTest, GivesTheSameBitsAsScalarForEveryNumberOfTokens) {
  Numbers numbers(13);
  for (bool int8 : {false, true}) {
    for (int64_t head_dim : {1, 8, 20, 64, 100, 128, 256}) {
      for (int64_t tokens = 1; tokens <= kPageTokens; ++tokens) {
        PageProblem problem(numbers, int8, 1 + tokens % 5, head_dim);
        std::fill(problem.seen.begin(), problem.seen.end(), static_cast<int32_t>(tokens));
        expect_same_parts(problem);
      }
    }
  }
}

TEST_P(AttendTest, GivesTheSameBitsAsScalarForEveryGroupOfQueries) {
  Numbers numbers(14);
  for (bool int8 : {false, true}) {
    for (int64_t queries = 1; queries <= 17; ++queries) {
      PageProblem problem(numbers, int8, queries, 72);
      for (int32_t& seen : problem.seen) seen = static_cast<int32_t>(numbers.integer(1, kPageTokens));
      expect_same_parts(problem);
    }
  }
}

// What a query sees must not depend on the queries beside it, nor on what a page holds beyond it: stale tokens, or
// those of later queries.
TEST_P(AttendTest, AQueryGetsTheSameBitsAloneAndIgnoresWhatItDoesNotSee) {
  Numbers numbers(15);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (bool int8 : {false, true}) {
    for (int64_t head_dim : {7, 24, 128}) {
      const int64_t queries = 6;
      PageProblem problem(numbers, int8, queries, head_dim);
      for (size_t i = 0; i < problem.seen.size(); ++i) problem.seen[i] = static_cast<int32_t>(29 + i);
      const auto together = problem.attend(set());
      for (int64_t i = 0; i < queries; ++i) {
        PageProblem alone = problem.only(i);
        for (int64_t slot = alone.seen[0]; slot < kPageTokens; ++slot) {
          alone.write_token(std::vector<float>(static_cast<size_t>(head_dim), nan),
                            std::vector<float>(static_cast<size_t>(head_dim), nan), slot);
        }
        const auto part = alone.attend(set());
        EXPECT_TRUE(same_bits(part, PageProblem::part_of(together, i, head_dim))) << problem.name() << ", query " << i;
      }
    }
  }
}

TEST_P(AttendTest, GivesTheSameBitsAsScalarForExtremeNumbers) {
  Numbers numbers(16);
  for (bool int8 : {false, true}) {
    // Equal scores; huge ones of both signs; tiny numbers; numbers beyond a float16.
    for (float key : {0.0f, 1.0f, 3e4f, -3e4f, 1e-7f, 1e-40f, 1e6f, 3e38f}) {
      for (float query : {0.0f, 1.0f, -100.0f, 1e-30f, 1e20f}) {
        PageProblem problem(numbers, int8, 4, 36);
        problem.fill_queries(query);
        for (int64_t slot = 0; slot < kPageTokens; ++slot) {
          problem.write_token(std::vector<float>(36, slot % 7 == 3 ? -key : key), numbers.floats(36, key), slot);
        }
        for (int32_t seen : {1, 5, 64}) {
          std::fill(problem.seen.begin(), problem.seen.end(), seen);
          const auto got = problem.attend(set());
          EXPECT_TRUE(same_bits(got, problem.attend(scalar()))) << problem.name() << " " << key << " " << query;
          for (float value : got) ASSERT_TRUE(std::isfinite(value)) << problem.name() << " " << key << " " << query;
        }
      }
    }
  }
}

TEST_P(AttendTest, GivesTheSameSignOfAZeroMaximum) {
  Numbers numbers(17);
  for (bool int8 : {false, true}) {
    PageProblem problem(numbers, int8, 1, 1);
    problem.scale = -1.0f;
    problem.fill_queries(1.0f);
    for (int64_t slot = 0; slot < kPageTokens; ++slot) problem.write_token({slot % 3 ? -0.0f : 0.0f}, {1.0f}, slot);
    problem.seen = {kPageTokens};
    EXPECT_EQ(bits_of(problem.attend(set())[1]), 0u);
  }
}

TEST_P(AttendTest, QuantizeQueryGivesTheSameBitsAsScalar) {
  Numbers numbers(18);
  for (int64_t head_dim : {1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 100, 128, 511, 512}) {
    for (float scale : {1.0f, 1e-38f, 3e38f, 0.0f, 1e-5f}) {
      for (float special : {0.25f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto q = numbers.floats(head_dim, scale);
        if (special != 0.25f) q[static_cast<size_t>(numbers.integer(0, head_dim - 1))] = special;
        std::vector<int16_t> got(static_cast<size_t>(2 * key_pairs(head_dim)) + 8, 77), wanted(got);
        float got_multiplier, wanted_multiplier;
        set().quantize_query(q.data(), head_dim, 0.1f, got.data(), &got_multiplier);
        scalar().quantize_query(q.data(), head_dim, 0.1f, wanted.data(), &wanted_multiplier);
        ASSERT_EQ(got, wanted) << head_dim << " head_dim, scale " << scale;
        ASSERT_EQ(bits_of(got_multiplier), bits_of(wanted_multiplier)) << head_dim;
      }
    }
  }
}

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kRelu2, Activation::kSilu,
                                       Activation::kGelu};

// Floats of every exponent and sign, with zeros, infinities and NaN among them.
std::vector<float> floats_of_every_kind() {
  std::vector<float> values;
  for (uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += 0x10001u * 13) values.push_back(float_of(uint32_t(bits)));
  return values;
}

TEST_P(KernelSetTest, ActivateGivesTheSameBitsAsScalarForFloatsOfEveryKind) {
  const std::vector<float> x = floats_of_every_kind();
  const int64_t count = static_cast<int64_t>(x.size());
  for (Activation activation : kActivations) {
    auto got = poisoned(count), wanted = poisoned(count);
    set().activate(x.data(), activation, count, got.data());
    scalar().activate(x.data(), activation, count, wanted.data());
    ASSERT_TRUE(same_bits(got, wanted)) << static_cast<int>(activation);
    std::vector<float> in_place = x;
    set().activate(in_place.data(), activation, count, in_place.data());
    ASSERT_TRUE(same_bits(in_place, wanted)) << static_cast<int>(activation);
  }
}

TEST_P(KernelSetTest, GateWithActivationIsActivateTimesUp) {
  Numbers numbers(21);
  for (Activation activation : kActivations) {
    const auto x = numbers.floats(100, 8.0f), up = numbers.floats(100);
    auto got = poisoned(100), activated = poisoned(100);
    set().gate(x.data(), up.data(), activation, 100, got.data());
    set().activate(x.data(), activation, 100, activated.data());
    for (size_t i = 0; i < up.size(); ++i) activated[i] *= up[i];
    ASSERT_TRUE(same_bits(got, activated)) << static_cast<int>(activation);
  }
}

TEST_P(KernelSetTest, SoftmaxGivesTheSameBitsAsScalar) {
  Numbers numbers(22);
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t count : kCounts) {
    for (float scale : {1.0f, 1e-38f, 100.0f, 3e38f, 0.0f}) {
      for (float special : {0.25f, nan, infinity, -infinity}) {
        auto x = numbers.floats(count, scale);
        if (special != 0.25f) x[static_cast<size_t>(numbers.integer(0, count - 1))] = special;
        auto got = poisoned(count), wanted = poisoned(count);
        set().softmax(x.data(), count, got.data());
        scalar().softmax(x.data(), count, wanted.data());
        ASSERT_TRUE(same_bits(got, wanted)) << count << " of " << scale << " with " << special;
        set().softmax(x.data(), count, x.data());
        ASSERT_TRUE(same_bits(x, wanted)) << count;
      }
    }
  }
}

TEST_P(KernelSetTest, LayerNormGivesTheSameBitsAsScalar) {
  Numbers numbers(23);
  for (int64_t count : kCounts) {
    for (float scale : {1.0f, 1e-38f, 1e18f, 3e38f, 0.0f}) {
      auto x = numbers.floats(count, scale);
      for (float& value : x) value += 3.0f * scale;
      const auto weight = numbers.floats(count), bias = numbers.floats(count);
      for (const float* added : {static_cast<const float*>(nullptr), bias.data()}) {
        auto got = poisoned(count), wanted = poisoned(count);
        set().layer_norm(x.data(), weight.data(), added, count, 1e-5f, got.data());
        scalar().layer_norm(x.data(), weight.data(), added, count, 1e-5f, wanted.data());
        ASSERT_TRUE(same_bits(got, wanted)) << count << " of " << scale;
      }
    }
  }
}

TEST_P(KernelSetTest, DequantizeRowsGivesTheBitsOfDequantizeWithTheMultiplierOfEachRow) {
  Numbers numbers(24);
  for (int64_t count : kCounts) {
    std::vector<int32_t> acc(static_cast<size_t>(count));
    for (int32_t& value : acc) value = static_cast<int32_t>(numbers.integer(-(1 << 30), 1 << 30));
    auto scale = numbers.floats(count);
    for (float& value : scale) value = value * value + 1e-3f;
    const auto bias = numbers.floats(count), residual = numbers.floats(count, 100.0f);
    for (bool divides : {false, true}) {
      for (bool more : {false, true}) {
        auto got = poisoned(count), wanted = poisoned(count);
        set().dequantize_rows(acc.data(), count, {scale.data(), 1.7e-3f, divides}, more ? bias.data() : nullptr,
                              more ? residual.data() : nullptr, got.data());
        for (size_t i = 0; i < acc.size(); ++i) {
          const float multiplier = divides ? 1.7e-3f / scale[i] : scale[i] * 1.7e-3f;
          scalar().dequantize(&acc[i], 1, multiplier, more ? &bias[i] : nullptr, more ? &residual[i] : nullptr,
                              &wanted[i]);
        }
        ASSERT_TRUE(same_bits(got, wanted)) << count << (divides ? " divides" : "");
      }
    }
  }
}

TEST_P(KernelSetTest, MergeAndFinishAttentionGiveTheSameBitsAsScalar) {
  Numbers numbers(14);
  for (int64_t head_dim : {1, 7, 8, 9, 64, 100, 128}) {
    for (float max : {-std::numeric_limits<float>::infinity(), -100.0f, -1.0f, 0.5f, 90.0f}) {
      auto later = numbers.floats(head_dim), got = numbers.floats(head_dim), wanted = got;
      const AttentionPart part = {0.25f, 3.0f, later.data()};
      AttentionPart got_total = {max, 2.0f, got.data()}, wanted_total = {max, 2.0f, wanted.data()};
      set().merge_attention(part, head_dim, &got_total);
      scalar().merge_attention(part, head_dim, &wanted_total);
      ASSERT_TRUE(same_bits(got, wanted)) << head_dim;
      ASSERT_TRUE(same_bits({got_total.max, got_total.sum}, {wanted_total.max, wanted_total.sum})) << head_dim;
      auto got_y = poisoned(head_dim), wanted_y = poisoned(head_dim);
      set().finish_attention(got_total, head_dim, got_y.data());
      scalar().finish_attention(wanted_total, head_dim, wanted_y.data());
      ASSERT_TRUE(same_bits(got_y, wanted_y)) << head_dim;
    }
  }
}

}  // namespace same_bits_test
}  // namespace tritium::kernels::testing
