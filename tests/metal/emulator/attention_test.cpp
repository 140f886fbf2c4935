// Attention over pages, against the scalar kernels page by page: the same bits.
#include "kernel_tests.h"

#include <numeric>

namespace tritium::metal_tests {
namespace {

// Sequences of a cache with a page table that is not in order, and rows of a pass over them.
struct Context {
  int64_t heads, kv_heads, head_dim;
  std::vector<int64_t> lengths;  // tokens of each sequence
  int64_t layers = 2, layer = 1;
  int64_t max_pages = 0;
  std::vector<uint32_t> page_table;
  std::vector<std::vector<uint8_t>> pages;  // as the CPU has them
  std::vector<float> keys, values;          // (tokens of all sequences, kv_heads, head_dim)

  Context(Numbers& numbers, int64_t h, int64_t kv, int64_t width, std::vector<int64_t> tokens)
      : heads(h), kv_heads(kv), head_dim(width), lengths(std::move(tokens)) {
    const int64_t all = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    keys = numbers.floats(all * kv_heads * head_dim, 3.0f);
    values = numbers.floats(all * kv_heads * head_dim, 2.0f);
    const float special[] = {65519.0f, 65520.0f, -65520.0f, 1e-7f};  // at the ends of float16
    std::copy(std::begin(special), std::end(special), values.begin());
    values.back() = kNaN;  // what does not see the last token does not see this
    for (const int64_t length : lengths) max_pages = std::max(max_pages, page_count(length));
    const int64_t count = max_pages * static_cast<int64_t>(lengths.size());
    page_table.resize(index(count));
    std::iota(page_table.rbegin(), page_table.rend(), 0u);
    // What lies beyond the tokens must not matter: bytes of NaN.
    pages.assign(index(count), std::vector<uint8_t>(index(page_bytes()), 0xFF));
    int64_t token = 0;
    for (size_t sequence = 0; sequence < lengths.size(); ++sequence) {
      for (int64_t position = 0; position < lengths[sequence]; ++position, ++token) {
        for (int64_t head = 0; head < kv_heads; ++head) {
          const int64_t at = (token * kv_heads + head) * head_dim;
          kernels::append_token_f16(scalar(), keys.data() + at, values.data() + at, head_dim,
                                    position % kernels::kPageTokens, head_page(sequence, position, head));
        }
      }
    }
  }

  static int64_t page_count(int64_t tokens) { return (tokens + kernels::kPageTokens - 1) / kernels::kPageTokens; }
  int64_t page_bytes() const { return layers * kv_heads * kernels::f16_page_bytes(head_dim); }
  uint8_t* head_page(size_t sequence, int64_t position, int64_t head) {
    const uint32_t page = page_table[sequence * index(max_pages) + index(position / kernels::kPageTokens)];
    return pages[page].data() + (layer * kv_heads + head) * kernels::f16_page_bytes(head_dim);
  }
  std::vector<uint8_t> joined_pages() const {
    std::vector<uint8_t> bytes;
    for (const auto& page : pages) bytes.insert(bytes.end(), page.begin(), page.end());
    return bytes;
  }
  AttentionArguments arguments(int64_t rows) const {
    return {u32(rows),      u32(heads), u32(kv_heads), u32(head_dim), u32(layer), u32(page_bytes() / 2),
            u32(max_pages), 0.21f};
  }
  std::string name() const {
    return std::to_string(heads) + " heads of " + std::to_string(head_dim) + ", " + std::to_string(kv_heads) +
           " of keys, first sequence " + std::to_string(lengths[0]);
  }

  // y (heads, head_dim) of a query (heads, head_dim) at a position.
  std::vector<float> attend(const float* q, size_t sequence, int64_t position) {
    std::vector<float> y(index(heads * head_dim));
    for (int64_t head = 0; head < heads; ++head) {
      std::vector<float> total_values(index(head_dim)), part_values(index(head_dim));
      kernels::AttentionPart total = {0, 0, total_values.data()}, part = {0, 0, part_values.data()};
      for (int64_t begin = 0; begin <= position; begin += kernels::kPageTokens) {
        const int32_t seen = static_cast<int32_t>(std::min<int64_t>(kernels::kPageTokens, position + 1 - begin));
        const uint8_t* page = head_page(sequence, begin, head / (heads / kv_heads));
        scalar().attend_page_f16({page, page, q + head * head_dim, nullptr, 1, &seen, head_dim, 0.21f},
                                 begin == 0 ? &total : &part);
        if (begin > 0) scalar().merge_attention(part, head_dim, &total);
      }
      scalar().finish_attention(total, head_dim, y.data() + head * head_dim);
    }
    return y;
  }
};

std::string by_width(const char* kernel, int64_t head_dim) {
  return std::string(kernel) + (head_dim <= 128 ? "_128" : "_256");
}

std::vector<Context> contexts(Numbers& numbers) {
  std::vector<Context> all;
  all.emplace_back(numbers, 4, 1, 128, std::vector<int64_t>{1, 64, 65, 200});
  all.emplace_back(numbers, 2, 2, 4, std::vector<int64_t>{63, 130});
  all.emplace_back(numbers, 6, 2, 80, std::vector<int64_t>{129});
  all.emplace_back(numbers, 2, 1, 132, std::vector<int64_t>{70});
  all.emplace_back(numbers, 1, 1, 256, std::vector<int64_t>{66});
  return all;
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
    EXPECT_TRUE(pages == wanted);
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
    const std::vector<uint8_t> pages = context.joined_pages();
    std::vector<float> parts = poisoned(rows * context.heads * context.max_pages * (context.head_dim + 4));
    std::vector<float> y = poisoned(rows * width);
    Launch(by_width("attend_pages", context.head_dim))
        .buffer(0, q)
        .buffer(1, pages)
        .buffer(2, context.page_table)
        .buffer(3, sequences)
        .buffer(4, positions)
        .buffer(5, parts)
        .argument(6, context.arguments(rows))
        .run({u32(context.max_pages), u32(context.kv_heads), u32(rows)}, {u32(32 * context.heads / context.kv_heads)},
             GetParam());
    Launch(by_width("merge_pages", context.head_dim))
        .buffer(0, parts)
        .buffer(1, positions)
        .buffer(2, y)
        .argument(3, context.arguments(rows))
        .run({u32(context.heads), u32(rows)}, {32}, GetParam());
    EXPECT_TRUE(same_bits(y, wanted));
  }
}

// The last tokens of each sequence, up to 70 of them, in tiles of 16.
TEST_P(Attention, OfTilesOfAPromptGivesTheSameBitsAsScalar) {
  Numbers numbers(3);
  for (Context& context : contexts(numbers)) {
    SCOPED_TRACE(context.name());
    const int64_t width = context.heads * context.head_dim;
    std::vector<AttentionTile> tiles;
    int64_t rows = 0;
    for (size_t sequence = 0; sequence < context.lengths.size(); ++sequence) {
      const int64_t length = context.lengths[sequence];
      for (int64_t position = std::max<int64_t>(0, length - 70); position < length; position += 16) {
        const int64_t tokens = std::min<int64_t>(16, length - position);
        tiles.push_back({u32(rows), u32(tokens), u32(static_cast<int64_t>(sequence)), u32(position)});
        rows += tokens;
      }
    }
    const std::vector<float> q = numbers.floats(rows * width, 2.0f);
    std::vector<float> wanted, y = poisoned(rows * width);
    for (const AttentionTile& tile : tiles) {
      for (uint32_t token = 0; token < tile.tokens; ++token) {
        const std::vector<float> one =
            context.attend(q.data() + (tile.row + token) * width, tile.sequence, tile.position + token);
        wanted.insert(wanted.end(), one.begin(), one.end());
      }
    }
    const std::vector<uint8_t> pages = context.joined_pages();
    Launch(by_width("attend_tiles", context.head_dim))
        .buffer(0, q)
        .buffer(1, pages)
        .buffer(2, context.page_table)
        .buffer(3, tiles)
        .buffer(4, y)
        .argument(5, context.arguments(rows))
        .run({u32(static_cast<int64_t>(tiles.size())), u32(context.kv_heads)}, {128}, GetParam());
    EXPECT_TRUE(same_bits(y, wanted));
  }
}

}  // namespace
}  // namespace tritium::metal_tests
