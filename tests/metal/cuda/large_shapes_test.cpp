// The kernels at the shapes of BitNet b1.58 2B-4T, which a GPU runs and the emulator would not in a day: the same bits.
#include "attention_context.h"
#include "ternary_product.h"

namespace tritium::metal_tests {
namespace {

std::string kernel_for(int64_t tokens) {
  return tokens == 1 ? "ternary_gemv" : tokens <= 8 ? "ternary_gemm_8" : "ternary_gemm_32";
}

TEST(LargeShapes, ProductsOfEveryMatrixOfAModelGiveTheSameBitsAsScalar) {
  const int64_t shapes[][2] = {{2560, 2560}, {640, 2560}, {3840, 2560}, {6912, 2560}, {13824, 2560}, {2560, 6912}};
  Numbers numbers(1);
  for (const auto& [rows, columns] : shapes) {
    for (const int64_t tokens : {1, 2, 5, 8, 33, 128}) {
      const Product product(numbers, {rows, columns, tokens, 1, tokens % 2 == 0, tokens > 2, tokens > 1, tokens == 8});
      SCOPED_TRACE(product.matrix.name());
      const std::vector<float> wanted = product.by_scalar();
      EXPECT_TRUE(same_bits(product.by_metal(kernel_for(tokens), Order::kForward), wanted));
      if (tokens > 8) continue;
      EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", Order::kForward), wanted));
      EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv_dp4a", Order::kForward), wanted));
    }
  }
}

TEST(LargeShapes, ProductsOfUpTo512TokensGiveTheSameBitsAsScalar) {
  Numbers numbers(2);
  for (const int64_t tokens : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 255, 256, 257, 511, 512}) {
    const Product product(numbers, {655, 2560, tokens, 1, true, false, true, true, kRelu2});
    SCOPED_TRACE(product.matrix.name());
    const std::vector<float> wanted = product.by_scalar();
    for (const char* kernel : {"ternary_gemv", "ternary_gemv_dp4a", "ternary_gemm_8", "ternary_gemm_32"}) {
      EXPECT_TRUE(same_bits(product.by_metal(kernel, Order::kForward), wanted)) << kernel;
    }
  }
  const Product product(numbers, {13824, 2560, 512});
  EXPECT_TRUE(same_bits(product.by_metal("ternary_gemm_32", Order::kForward), product.by_scalar()));
}

TEST(LargeShapes, GroupsOfColumnsGiveTheSameBitsAsScalar) {
  Numbers numbers(3);
  for (const int64_t columns_of_group : {16, 128, 256}) {
    for (const int64_t tokens : {1, 6, 40}) {
      for (const bool divides : {false, true}) {
        const Product product(
            numbers, {2560, 6912 / 256 * 256, tokens, 6912 / 256 * 256 / columns_of_group, true, divides, true});
        SCOPED_TRACE(product.matrix.name());
        const std::vector<float> wanted = product.by_scalar();
        EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv", Order::kForward), wanted));
        EXPECT_TRUE(same_bits(product.by_metal("ternary_gemv_dp4a", Order::kForward), wanted));
        EXPECT_TRUE(same_bits(product.by_metal(kernel_for(std::max<int64_t>(tokens, 2)), Order::kForward), wanted));
      }
    }
  }
}

TEST(LargeShapes, AttentionOverLongContextsGivesTheSameBitsAsScalar) {
  Numbers numbers(4);
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{4096}, {1, 700, 2048}, {8191, 513}}) {
    Context context(numbers, 20, 5, 128, lengths);
    SCOPED_TRACE(context.name());
    std::vector<AttentionTile> tokens = context.last_tiles(1);
    std::vector<uint32_t> sequences, positions;
    for (const AttentionTile& tile : tokens) {
      sequences.push_back(tile.sequence);
      positions.push_back(tile.position);
    }
    const int64_t width = context.heads * context.head_dim;
    const std::vector<float> q = numbers.floats(static_cast<int64_t>(tokens.size()) * width, 2.0f);
    EXPECT_TRUE(same_bits(context.by_pages(q, sequences, positions, Order::kForward), context.by_scalar(q, tokens)));

    const std::vector<AttentionTile> tiles = context.last_tiles(100);
    const std::vector<float> prompt = numbers.floats((tiles.back().row + tiles.back().tokens) * width, 2.0f);
    EXPECT_TRUE(same_bits(context.by_tiles(prompt, tiles, Order::kForward), context.by_scalar(prompt, tiles)));
  }
}

TEST(LargeShapes, RowsGiveTheSameBitsAsScalar) {
  Numbers numbers(5);
  const float eps = 1e-5f;
  for (const int64_t columns : {2560, 6912, 13824, 128256}) {
    for (const uint32_t threads : {32u, 256u, 1024u}) {
      SCOPED_TRACE(std::to_string(columns) + " columns, " + std::to_string(threads) + " threads");
      const int64_t rows = 7;
      const std::vector<float> x = numbers.floats(rows * columns, 30.0f), weight = numbers.floats(columns, 2.0f);
      std::vector<float> normalised(x.size()), exponentials(x.size()), centred(x.size()), y = poisoned(rows * columns);
      std::vector<int8_t> codes(x.size()), q(x.size());
      std::vector<float> maxima(index(rows)), absmax = poisoned(rows);
      std::vector<int32_t> code_sums(index(rows)), sums(index(rows));
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t at = row * columns;
        scalar().rms_norm(x.data() + at, weight.data(), columns, eps, normalised.data() + at);
        scalar().layer_norm(x.data() + at, weight.data(), weight.data(), columns, eps, centred.data() + at);
        scalar().softmax(x.data() + at, columns, exponentials.data() + at);
        kernels::QuantizedRow quantized;
        scalar().quantize(normalised.data() + at, columns, codes.data() + at, &quantized);
        maxima[index(row)] = quantized.absmax;
        code_sums[index(row)] = quantized.sum;
      }
      const RowArguments arguments = {u32(columns), u32(columns), eps};
      Launch("rms_norm")
          .buffer(0, x)
          .buffer(1, weight)
          .buffer(2, y)
          .argument(3, arguments)
          .run({u32(rows)}, {threads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, normalised));
      Launch("layer_norm")
          .buffer(0, x)
          .buffer(1, weight)
          .buffer(2, weight)
          .buffer(3, y)
          .argument(4, arguments)
          .constant("HAS_NORM_BIAS", true)
          .run({u32(rows)}, {threads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, centred));
      Launch("softmax").buffer(0, x).buffer(1, y).argument(2, arguments).run({u32(rows)}, {threads}, Order::kForward);
      EXPECT_TRUE(same_bits(y, exponentials));
      Launch("norm_quantize")
          .buffer(0, x)
          .buffer(1, weight)
          .buffer(2, q)
          .buffer(3, absmax)
          .buffer(4, sums)
          .argument(5, arguments)
          .run({u32(rows)}, {threads}, Order::kForward);
      EXPECT_EQ(q, codes);
      EXPECT_TRUE(same_bits(absmax, maxima));
      EXPECT_EQ(sums, code_sums);
    }
  }
}

TEST(LargeShapes, TheHeadGivesTheSameBitsAsScalar) {
  Numbers numbers(6);
  const int64_t rows = 16032, columns = 2560;  // an eighth of it
  std::vector<uint16_t> weights(index(rows * columns));
  for (uint16_t& weight : weights) {
    weight = static_cast<uint16_t>(kernels::testing::bits_of(numbers.number()) >> 16);
  }
  for (const int64_t tokens : {1, 5}) {
    const std::vector<float> x = numbers.floats(tokens * columns);
    std::vector<float> wanted(index(tokens * rows)), y = poisoned(tokens * rows);
    scalar().dense_matmul(
        {weights.data(), kernels::Element::kBF16, columns, rows, x.data(), tokens, wanted.data(), rows});
    Launch(tokens == 1 ? "dense_matmul_bf16" : "dense_matmul_bf16_4")
        .buffer(0, weights)
        .buffer(1, x)
        .unused(2)
        .buffer(3, y)
        .argument(4, DenseArguments{u32(rows), u32(columns), u32(tokens)})
        .constant("HAS_DENSE_BIAS", false)
        .run({u32((rows + 63) / 64), u32((tokens + 3) / 4)}, {256}, Order::kForward);
    EXPECT_TRUE(same_bits(y, wanted));
  }
}

}  // namespace
}  // namespace tritium::metal_tests
