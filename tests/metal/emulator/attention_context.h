// Attention over the pages of a cache, by the scalar kernels and as the kernels of metal/kernels take it.
#pragma once

#include <numeric>

#include "kernel_tests.h"

namespace tritium::metal_tests {

inline std::string by_width(const char* kernel, int64_t head_dim) {
  return std::string(kernel) + (head_dim <= 128 ? "_128" : "_256");
}

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

  // y (rows, heads, head_dim) of a token of each row, split by pages.
  std::vector<float> by_pages(const std::vector<float>& q, const std::vector<uint32_t>& sequences,
                              const std::vector<uint32_t>& positions, Order order) const {
    const int64_t rows = static_cast<int64_t>(sequences.size());
    const std::vector<uint8_t> joined = joined_pages();
    std::vector<float> parts = poisoned(rows * heads * max_pages * (head_dim + 4)),
                       y = poisoned(rows * heads * head_dim);
    Launch(by_width("attend_pages", head_dim))
        .buffer(0, q)
        .buffer(1, joined)
        .buffer(2, page_table)
        .buffer(3, sequences)
        .buffer(4, positions)
        .buffer(5, parts)
        .argument(6, arguments(rows))
        .run({u32(max_pages), u32(kv_heads), u32(rows)}, {u32(32 * heads / kv_heads)}, order);
    Launch(by_width("merge_pages", head_dim))
        .buffer(0, parts)
        .buffer(1, positions)
        .buffer(2, y)
        .argument(3, arguments(rows))
        .run({u32(heads), u32(rows)}, {32}, order);
    return y;
  }

  // y of the rows of tiles.
  std::vector<float> by_tiles(const std::vector<float>& q, const std::vector<AttentionTile>& tiles, Order order) const {
    const std::vector<uint8_t> joined = joined_pages();
    std::vector<float> y = poisoned(static_cast<int64_t>(q.size()));
    Launch(by_width("attend_tiles", head_dim))
        .buffer(0, q)
        .buffer(1, joined)
        .buffer(2, page_table)
        .buffer(3, tiles)
        .buffer(4, y)
        .argument(5, arguments(static_cast<int64_t>(q.size()) / (heads * head_dim)))
        .run({u32(static_cast<int64_t>(tiles.size())), u32(kv_heads)}, {128}, order);
    return y;
  }

  // The last tokens of each sequence, up to `most` of them, in tiles of 16.
  std::vector<AttentionTile> last_tiles(int64_t most) const {
    std::vector<AttentionTile> tiles;
    int64_t row = 0;
    for (size_t sequence = 0; sequence < lengths.size(); ++sequence) {
      const int64_t length = lengths[sequence];
      for (int64_t position = std::max<int64_t>(0, length - most); position < length; position += 16) {
        const int64_t tokens = std::min<int64_t>(16, length - position);
        tiles.push_back({u32(row), u32(tokens), u32(static_cast<int64_t>(sequence)), u32(position)});
        row += tokens;
      }
    }
    return tiles;
  }
  std::vector<float> by_scalar(const std::vector<float>& q, const std::vector<AttentionTile>& tiles) {
    std::vector<float> y;
    for (const AttentionTile& tile : tiles) {
      for (uint32_t token = 0; token < tile.tokens; ++token) {
        const std::vector<float> one =
            attend(q.data() + (tile.row + token) * heads * head_dim, tile.sequence, tile.position + token);
        y.insert(y.end(), one.begin(), one.end());
      }
    }
    return y;
  }
};

}  // namespace tritium::metal_tests
