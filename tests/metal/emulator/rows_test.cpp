// Kernels over rows and elements of floats, against the scalar kernels: the same bits.
#include "kernel_tests.h"

namespace tritium::metal_tests {
namespace {

constexpr float kEps = 1e-5f;
constexpr uint32_t kThreads = 96;  // of a threadgroup; they do not divide kStagedTerms

emulator::Size groups_for(int64_t count) { return {u32((count + kThreads - 1) / kThreads)}; }

const kernels::Activation kActivations[] = {kernels::Activation::kIdentity, kernels::Activation::kRelu,
                                            kernels::Activation::kRelu2, kernels::Activation::kSilu,
                                            kernels::Activation::kGelu};

// Numbers of all sizes, and those that are special.
std::vector<float> varied(Numbers& numbers, int64_t count) {
  std::vector<float> x = numbers.floats(count, 1.0f);
  for (float& value : x) value *= float_of(u32(numbers.integer(100, 140)) << 23);
  const float special[] = {0.0f, -0.0f, kInfinity, -kInfinity, kNaN, 16.0f, -16.0f, 1e-30f, -13.218f, -13.215f,
                           // beside the limits of the exponential
                           float_of(0xC2AEAC4Fu), float_of(0xC2AEAC50u), float_of(0x42B17217u), float_of(0x42B17218u),
                           float_of(0x42AEAC4Fu), float_of(0x42AEAC50u), float_of(0xC2B17217u), float_of(0xC2B17218u)};
  for (int64_t i = 0; i < std::min<int64_t>(count, std::size(special)); ++i) x[index(i)] = special[i];
  return x;
}

class Rows : public EveryOrder {};
TEST_IN_EVERY_ORDER(Rows);

const int64_t kColumns[] = {1, 3, 15, 16, 17, 100, 640, 4100};

TEST_P(Rows, RmsNormGivesTheSameBitsAsScalar) {
  Numbers numbers(1);
  for (const int64_t columns : kColumns) {
    SCOPED_TRACE(columns);
    const std::vector<float> weight = numbers.floats(columns);
    std::vector<float> x = numbers.floats(2 * columns, 9.0f), wanted = x;
    for (int64_t row = 0; row < 2; ++row) {
      float* values = wanted.data() + row * columns;
      scalar().rms_norm(values, weight.data(), columns, kEps, values);
    }
    Launch("rms_norm")
        .buffer(0, x)
        .buffer(1, weight)
        .buffer(2, x)
        .argument(3, RowArguments{u32(columns), 0, kEps})
        .run({2}, {kThreads}, GetParam());
    EXPECT_TRUE(same_bits(x, wanted));
  }
}

TEST_P(Rows, LayerNormGivesTheSameBitsAsScalar) {
  Numbers numbers(2);
  for (const int64_t columns : kColumns) {
    for (const bool has_bias : {false, true}) {
      SCOPED_TRACE(columns);
      const std::vector<float> weight = numbers.floats(columns), bias = numbers.floats(columns);
      std::vector<float> x = numbers.floats(2 * columns, 9.0f), wanted = x;
      for (int64_t row = 0; row < 2; ++row) {
        float* values = wanted.data() + row * columns;
        scalar().layer_norm(values, weight.data(), has_bias ? bias.data() : nullptr, columns, kEps, values);
      }
      Launch launch("layer_norm");
      launch.buffer(0, x).buffer(1, weight).buffer(3, x).argument(4, RowArguments{u32(columns), 0, kEps});
      has_bias ? launch.buffer(2, bias) : launch.unused(2);
      launch.constant("HAS_NORM_BIAS", has_bias).run({2}, {kThreads}, GetParam());
      EXPECT_TRUE(same_bits(x, wanted));
    }
  }
}

TEST_P(Rows, SoftmaxGivesTheSameBitsAsScalar) {
  Numbers numbers(3);
  for (const int64_t columns : kColumns) {
    SCOPED_TRACE(columns);
    std::vector<float> x = numbers.floats(5 * columns, 9.0f);
    std::fill(x.begin() + columns, x.begin() + 2 * columns, -kInfinity);
    x[index(2 * columns)] = kNaN;
    std::fill(x.begin() + 3 * columns, x.begin() + 4 * columns, -0.0f);
    std::vector<float> wanted = x;
    for (int64_t row = 0; row < 5; ++row) {
      float* values = wanted.data() + row * columns;
      scalar().softmax(values, columns, values);
    }
    Launch("softmax")
        .buffer(0, x)
        .buffer(1, x)
        .argument(2, RowArguments{u32(columns), 0, 0})
        .run({5}, {kThreads}, GetParam());
    EXPECT_TRUE(same_bits(x, wanted));
  }
}

TEST(Elements, SumsActivationsAndGatesGiveTheSameBitsAsScalar) {
  Numbers numbers(4);
  for (const int64_t count : {1, 63, 64, 65, 3000}) {
    SCOPED_TRACE(count);
    const std::vector<float> x = varied(numbers, count), z = numbers.floats(count, 3.0f);
    std::vector<float> wanted = x, y = poisoned(count);
    scalar().add(x.data(), z.data(), count, wanted.data());
    Launch("add")
        .buffer(0, x)
        .buffer(1, z)
        .buffer(2, y)
        .argument(3, u32(count))
        .run(groups_for(count), {kThreads}, Order::kForward);
    EXPECT_TRUE(same_bits(y, wanted));
    for (const kernels::Activation activation : kActivations) {
      SCOPED_TRACE(static_cast<int>(activation));
      scalar().activate(x.data(), activation, count, wanted.data());
      Launch("activate")
          .buffer(0, x)
          .buffer(1, y)
          .argument(2, u32(count))
          .argument(3, static_cast<int>(activation))
          .run(groups_for(count), {kThreads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, wanted));
      scalar().gate(x.data(), z.data(), activation, count, wanted.data());
      Launch("gate")
          .buffer(0, x)
          .buffer(1, z)
          .buffer(2, y)
          .argument(3, u32(count))
          .argument(4, static_cast<int>(activation))
          .run(groups_for(count), {kThreads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, wanted));
    }
  }
}

TEST(Elements, RopeGivesTheSameBitsAsScalar) {
  Numbers numbers(5);
  const int64_t rows = 3, heads = 5, positions = 9;
  for (const int64_t pairs : {1, 8, 64}) {
    SCOPED_TRACE(pairs);
    const std::vector<float> cosines = numbers.floats(positions * pairs), sines = numbers.floats(positions * pairs);
    const std::vector<uint32_t> position = {8, 0, 3};
    std::vector<float> x = numbers.floats(rows * heads * 2 * pairs), wanted = x;
    for (int64_t head = 0; head < rows * heads; ++head) {
      const int64_t turn = position[index(head / heads)] * pairs;
      scalar().rope(wanted.data() + head * 2 * pairs, cosines.data() + turn, sines.data() + turn, pairs);
    }
    Launch("rope")
        .buffer(0, x)
        .buffer(1, x)
        .buffer(2, cosines)
        .buffer(3, sines)
        .buffer(4, position)
        .argument(5, RopeArguments{u32(rows), u32(heads), u32(pairs)})
        .run(groups_for(rows * heads * pairs), {kThreads}, Order::kForward);
    EXPECT_TRUE(same_bits(x, wanted));
  }
}

// ---- dense matrices

struct Format {
  kernels::Element element;
  const char* name;
  size_t bytes;
};
const Format kFormats[] = {
    {kernels::Element::kF32, "f32", 4}, {kernels::Element::kF16, "f16", 2}, {kernels::Element::kBF16, "bf16", 2}};

std::vector<uint8_t> weights_of(Numbers& numbers, const Format& format, int64_t count) {
  const std::vector<float> values = numbers.floats(count, 2.0f);
  std::vector<uint8_t> bytes(index(count) * format.bytes);
  std::vector<uint16_t> halves(index(count));
  scalar().narrow(values.data(), count, halves.data());
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = kernels::testing::bits_of(values[index(i)]);
    const uint16_t half =
        format.element == kernels::Element::kF16 ? halves[index(i)] : static_cast<uint16_t>(bits >> 16);
    if (format.bytes == 4) {
      std::memcpy(bytes.data() + 4 * i, &bits, 4);
    } else {
      std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
  }
  return bytes;
}

TEST(Dense, EmbeddingsAreWidenedExactly) {
  Numbers numbers(6);
  for (const Format& format : kFormats) {
    for (const int64_t columns : {1, 5, 64, 200}) {
      SCOPED_TRACE(format.name);
      std::vector<uint8_t> table = weights_of(numbers, format, 7 * columns);
      if (format.bytes == 2) {  // every class of number: infinite, NaN, the least
        const uint16_t special[] = {0x7C00, 0x7E00, 0xFF80, 0x0001, 0x8000};
        std::memcpy(table.data(), special, std::min<size_t>(sizeof special, index(2 * columns)));
      }
      const std::vector<int32_t> ids = {6, 0, 3};
      std::vector<float> wanted(index(3 * columns)), y = poisoned(3 * columns);
      for (size_t i = 0; i < ids.size(); ++i) {
        const auto from = index(ids[i] * columns) * format.bytes;
        scalar().widen(table.data() + from, format.element, columns, wanted.data() + static_cast<int64_t>(i) * columns);
      }
      Launch(std::string("embedding_") + format.name)
          .buffer(0, table)
          .buffer(1, ids)
          .buffer(2, y)
          .argument(3, u32(columns))
          .run({groups_for(columns).x, 3}, {kThreads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, wanted));
    }
  }
}

class Dense : public EveryOrder {};
TEST_IN_EVERY_ORDER(Dense);

TEST_P(Dense, ProductsGiveTheSameBitsAsScalar) {
  Numbers numbers(7);
  for (const Format& format : kFormats) {
    for (const int64_t columns : {1, 5, 16, 20, 64, 100, 333}) {
      for (const int64_t tokens : {1, 2, 5}) {
        for (const bool has_bias : {false, true}) {
          const int64_t rows = 37;
          SCOPED_TRACE(std::string(format.name) + ", " + std::to_string(columns) + " columns, " +
                       std::to_string(tokens) + " tokens");
          const std::vector<uint8_t> weights = weights_of(numbers, format, rows * columns);
          const std::vector<float> x = numbers.floats(tokens * columns), bias = numbers.floats(rows);
          std::vector<float> wanted(index(tokens * rows)), y = poisoned(tokens * rows);
          scalar().dense_matmul({weights.data(), format.element, columns, rows, x.data(), tokens, wanted.data(), rows});
          for (int64_t token = 0; token < tokens && has_bias; ++token) {
            scalar().add(wanted.data() + token * rows, bias.data(), rows, wanted.data() + token * rows);
          }
          Launch launch(std::string("dense_matmul_") + format.name + (tokens > 1 ? "_4" : ""));
          launch.buffer(0, weights)
              .buffer(1, x)
              .buffer(3, y)
              .argument(4, DenseArguments{u32(rows), u32(columns), u32(tokens)});
          has_bias ? launch.buffer(2, bias) : launch.unused(2);
          launch.constant("HAS_DENSE_BIAS", has_bias);
          launch.run({u32((rows + kThreads / 4 - 1) / (kThreads / 4)), u32(tokens > 1 ? (tokens + 3) / 4 : 1)},
                     {kThreads}, GetParam());
          EXPECT_TRUE(same_bits(y, wanted));
        }
      }
    }
  }
}

// ---- the largest

struct Found {
  std::vector<float> values;  // (rows, k)
  std::vector<int32_t> ids;
};

// All rounds: what each finds is what the next looks through.
Found largest(const std::vector<float>& values, int64_t rows, int64_t k, Order order) {
  Found found{values, {}};
  int64_t columns = static_cast<int64_t>(values.size()) / rows;
  bool has_ids = false;
  for (;;) {
    const int64_t chunks = (columns + kTopKChunk - 1) / kTopKChunk;
    Found next{poisoned(rows * chunks * k), std::vector<int32_t>(index(rows * chunks * k), 99)};
    Launch launch("top_k");
    launch.buffer(0, found.values).buffer(2, next.values).buffer(3, next.ids);
    has_ids ? launch.buffer(1, found.ids) : launch.unused(1);
    launch.argument(4, TopKArguments{u32(columns), u32(k), has_ids});
    launch.run({u32(chunks), u32(rows)}, {128}, order);
    found = next;
    columns = chunks * k;
    has_ids = true;
    if (chunks == 1) return found;
  }
}

Found largest_by_sorting(const std::vector<float>& values, int64_t rows, int64_t k) {
  Found found;
  const int64_t columns = static_cast<int64_t>(values.size()) / rows;
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = values.data() + row * columns;
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < columns; ++i) {
      if (x[i] > -kInfinity) ids.push_back(i);
    }
    std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return x[a] != x[b] ? x[a] > x[b] : a < b; });
    for (int64_t i = 0; i < k; ++i) {
      const bool there = i < static_cast<int64_t>(ids.size());
      found.values.push_back(there ? x[ids[index(i)]] : -kInfinity);
      found.ids.push_back(there ? ids[index(i)] : -1);
    }
  }
  return found;
}

class TopK : public EveryOrder {};
TEST_IN_EVERY_ORDER(TopK);

TEST_P(TopK, AreThoseOfASort) {
  Numbers numbers(8);
  for (const int64_t columns : {1, 31, 1000, 9000}) {
    for (const int64_t k : {1, 5, 40}) {
      SCOPED_TRACE(std::to_string(k) + " of " + std::to_string(columns));
      std::vector<float> values(index(2 * columns));
      for (float& value : values) value = static_cast<float>(numbers.integer(-300, 300));  // many are equal
      values[0] = kNaN;
      if (columns > 30) values[7] = kInfinity, values[8] = kInfinity, values[9] = -kInfinity;
      const Found got = largest(values, 2, k, GetParam()), wanted = largest_by_sorting(values, 2, k);
      EXPECT_EQ(got.ids, wanted.ids);
      EXPECT_TRUE(same_bits(got.values, wanted.values));
    }
  }
}

}  // namespace
}  // namespace tritium::metal_tests
