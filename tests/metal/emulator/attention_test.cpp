// Attention over pages, against the scalar kernels page by page: the same bits.
#include <numeric>

#include "attention_context.h"

namespace tritium::metal_tests {
namespace {

std::vector<Context> contexts(Numbers& numbers) {
  std::vector<Context> all;
  all.emplace_back(numbers, 4, 1, 128, std::vector<int64_t>{1, 64, 65, 200});
  all.emplace_back(numbers, 2, 2, 4, std::vector<int64_t>{63, 130});
  all.emplace_back(numbers, 6, 2, 80, std::vector<int64_t>{129});
  all.emplace_back(numbers, 2, 1, 132, std::vector<int64_t>{70});
  all.emplace_back(numbers, 1, 1, 256, std::vector<int64_t>{66});
  return all;
}

// Float16 numbers, whose NaN may have any bits.
std::vector<float> widened(const std::vector<uint8_t>& halves) {
  std::vector<float> values(halves.size() / 2);
  scalar().widen(halves.data(), kernels::Element::kF16, static_cast<int64_t>(values.size()), values.data());
  return values;
}

class Attention : public EveryOrder {};
TEST_IN_EVERY_ORDER(Attention);

TEST_P(Attention, AppendedKeysAndValuesLieAsOnTheCpu) {
  Numbers numbers(1);
  for (Context& context : contexts(numbers)) {
    SCOPED_TRACE(context.name());
    std::vector<uint32_t> sequences, positions;
    for (size_t sequence = 0; sequence < context.lengths.size(); ++sequence) {
      for (int64_t position = 0; position < context.lengths[sequence]; ++position) {
        sequences.push_back(u32(static_cast<int64_t>(sequence)));
        positions.push_back(u32(position));
      }
    }
    const int64_t rows = static_cast<int64_t>(positions.size());
    const std::vector<uint8_t> wanted = context.joined_pages();
    std::vector<uint8_t> pages(wanted.size(), 0xFF);
    Launch("append_kv")
        .buffer(0, context.keys)
        .buffer(1, context.values)
        .buffer(2, pages)
        .buffer(3, context.page_table)
        .buffer(4, sequences)
        .buffer(5, positions)
        .argument(6, context.arguments(rows))
        .run({u32((rows * context.kv_heads * context.head_dim + 255) / 256)}, {256}, GetParam());
    EXPECT_TRUE(same_bits(widened(pages), widened(wanted)));
  }
}

// The last token of each sequence.
TEST_P(Attention, OfSingleTokensSplitByPagesGivesTheSameBitsAsScalar) {
  Numbers numbers(2);
  for (Context& context : contexts(numbers)) {
    SCOPED_TRACE(context.name());
    const int64_t rows = static_cast<int64_t>(context.lengths.size()), width = context.heads * context.head_dim;
    const std::vector<float> q = numbers.floats(rows * width, 2.0f);
    std::vector<uint32_t> sequences(index(rows)), positions;
    std::iota(sequences.begin(), sequences.end(), 0u);
    std::vector<float> wanted;
    for (int64_t row = 0; row < rows; ++row) {
      positions.push_back(u32(context.lengths[index(row)] - 1));
      const std::vector<float> y = context.attend(q.data() + row * width, index(row), positions.back());
      wanted.insert(wanted.end(), y.begin(), y.end());
    }
    EXPECT_TRUE(same_bits(context.by_pages(q, sequences, positions, GetParam()), wanted));
  }
}

TEST_P(Attention, OfTilesOfAPromptGivesTheSameBitsAsScalar) {
  Numbers numbers(3);
  for (Context& context : contexts(numbers)) {
    SCOPED_TRACE(context.name());
    const std::vector<AttentionTile> tiles = context.last_tiles(70);
    const std::vector<float> q =
        numbers.floats((tiles.back().row + tiles.back().tokens) * context.heads * context.head_dim, 2.0f);
    EXPECT_TRUE(same_bits(context.by_tiles(q, tiles, GetParam()), context.by_scalar(q, tiles)));
  }
}

}  // namespace
}  // namespace tritium::metal_tests
