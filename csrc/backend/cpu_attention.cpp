#include "backend/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu_operators.h"
#include "kernels/kv_page.h"

namespace tritium {
namespace {

using kernels::AttentionPart;

// Queries that pass over a page together: they and their results stay in the second-level cache with the page.
constexpr int64_t kTileQueries = 64;

int64_t page_count(int64_t tokens) { return (tokens + kTokensPerPage - 1) / kTokensPerPage; }

int64_t tile_queries(int64_t group) { return std::max(kTileQueries / group, int64_t{1}) * group; }

// What one thread works in.
struct Workspace {
  float* q;              // (queries, head_dim), or int16 codes
  float* q_multipliers;  // (queries)
  float* row;            // (head_dim)
  float* values;         // (2, queries, head_dim)
  AttentionPart* total;  // (queries)
  AttentionPart* part;   // (queries)
  int32_t* seen;         // (queries)

  static int64_t bytes(int64_t queries, int64_t head_dim) {
    const int64_t floats = 3 * queries * head_dim + head_dim + queries;
    const int64_t parts = queries * static_cast<int64_t>(2 * sizeof(AttentionPart) + sizeof(int32_t));
    return aligned(floats * 4 + parts);
  }
  int16_t* q_codes() const { return reinterpret_cast<int16_t*>(q); }
  static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

  Workspace(std::byte* memory, int64_t queries, int64_t head_dim) {
    total = reinterpret_cast<AttentionPart*>(memory);
    part = total + queries;
    q = reinterpret_cast<float*>(part + queries);
    values = q + queries * head_dim;
    row = values + 2 * queries * head_dim;
    q_multipliers = row + head_dim;
    seen = reinterpret_cast<int32_t*>(q_multipliers + queries);
    for (int64_t i = 0; i < queries; ++i) {
      total[i] = {0, 0, values + i * head_dim};
      part[i] = {0, 0, values + (queries + i) * head_dim};
    }
  }
};

// Parts of one token's queries, a page after the other, kept until those of all pages are there.
class KeptParts {
 public:
  static int64_t bytes(int64_t pages, int64_t group, int64_t head_dim) {
    return Workspace::aligned(pages * group * (head_dim + 2) * 4);
  }
  KeptParts(std::byte* memory, int64_t group, int64_t head_dim)
      : memory_(reinterpret_cast<float*>(memory)), group_(group), head_dim_(head_dim) {}

  AttentionPart get(int64_t page, int64_t query) const {
    float* place = at(page, query);
    return {place[head_dim_], place[head_dim_ + 1], place};
  }
  void put(int64_t page, int64_t query, const AttentionPart& part) const {
    float* place = at(page, query);
    std::memcpy(place, part.values, static_cast<size_t>(head_dim_) * sizeof(float));
    place[head_dim_] = part.max;
    place[head_dim_ + 1] = part.sum;
  }

 private:
  float* at(int64_t page, int64_t query) const { return memory_ + (page * group_ + query) * (head_dim_ + 2); }

  float* memory_;
  int64_t group_;
  int64_t head_dim_;
};

// The tokens of a tile for one KV head, and its place in the work of a step, which is counted in pages: those of all
// tiles for the first head, then those for the second, and so on.
struct Item {
  const AttentionTile* tile;
  int64_t kv_head;
  int64_t begin;
  int64_t end;
};

class Attention {
 public:
  Attention(const ForwardPass& pass, const Step& step, const AttentionStep& attention)
      : pass_(pass),
        tiles_(pass.attention_tiles),
        layer_(attention.attention.layer),
        kv_heads_(attention.attention.kv_heads),
        group_(attention.attention.heads / kv_heads_),
        head_dim_(attention.attention.head_dim),
        int8_(pass.cache_shape.dtype == KVDType::kInt8),
        scale_(1.0f / std::sqrt(static_cast<float>(head_dim_))),
        rope_(attention.rotates ? &pass.rope_table(attention.frequencies) : nullptr),
        q_(pass.floats(step.inputs[0])),
        k_(pass.floats(step.inputs[1])),
        v_(pass.floats(step.inputs[2])),
        y_(pass.floats(step.outputs[0])),
        work_(tiles_.pages() * kv_heads_),
        slices_(std::min<int64_t>(pass.threads.size(), work_)) {}

  // Any thread may take any page of a single token; what several threads found is merged in the order of the pages.
  void run() const {
    if (tiles_.share_sequences) {
      const int64_t tiles = static_cast<int64_t>(tiles_.tiles.size());
      pass_.threads.parallel_for(tiles * kv_heads_, [&](int64_t begin, int64_t end, int thread) {
        const Workspace space = workspace(thread);
        for (int64_t i = begin; i < end; ++i) append(tiles_.tiles[static_cast<size_t>(i % tiles)], i / tiles, space);
      });
    }
    pass_.threads.parallel_for(slices_, [&](int64_t slice, int64_t, int thread) { attend_slice(slice, thread); });
    std::vector<Item> cut;
    for (int64_t slice = 1; slice < slices_; ++slice) {
      const Item item = item_at(slice_begin(slice));
      if (item.tile->tokens == 1 && first_cut(item) == slice) cut.push_back(item);
    }
    pass_.threads.parallel_for(static_cast<int64_t>(cut.size()), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) merge_kept(cut[static_cast<size_t>(i)]);
    });
  }

 private:
  int64_t slice_begin(int64_t slice) const { return work_ * slice / slices_; }

  Item item_at(int64_t page) const {
    const int64_t head = page / tiles_.pages(), before = head * tiles_.pages();
    const auto first = tiles_.page_end.begin(), end = std::upper_bound(first, tiles_.page_end.end(), page - before);
    const AttentionTile& tile = tiles_.tiles[static_cast<size_t>(end - first)];
    return {&tile, head, before + (end == first ? 0 : *(end - 1)), before + *end};
  }

  // The first slice that begins inside the item, or slices_.
  int64_t first_cut(const Item& item) const {
    int64_t slice = 1;
    while (slice < slices_ && slice_begin(slice) <= item.begin) ++slice;
    return slice < slices_ && slice_begin(slice) < item.end ? slice : slices_;
  }

  Workspace workspace(int thread) const {
    const int64_t queries = tile_queries(group_);
    return {pass_.attention_scratch + thread * Workspace::bytes(queries, head_dim_), queries, head_dim_};
  }

  KeptParts kept(const Item& item) const {
    const int64_t queries = tile_queries(group_), contexts = page_count(pass_.plan.options.context_size);
    return {pass_.attention_scratch + pass_.threads.size() * Workspace::bytes(queries, head_dim_) +
                (first_cut(item) - 1) * KeptParts::bytes(contexts, group_, head_dim_),
            group_, head_dim_};
  }

  uint8_t* page_of(const Item& item, int64_t page) const {
    return (*item.tile->pages)[static_cast<size_t>(page)] + pass_.cache_shape.offset(layer_, item.kv_head);
  }

  const float* rotated(const float* x, int64_t position, float* row) const {
    if (!rope_) return x;
    std::memcpy(row, x, static_cast<size_t>(head_dim_) * sizeof(float));
    pass_.kernels.rope(row, rope_->cosine(position), rope_->sine(position), head_dim_ / 2);
    return row;
  }

  void append(const AttentionTile& tile, int64_t kv_head, const Workspace& space) const {
    for (int64_t token = 0; token < tile.tokens; ++token) {
      const int64_t position = tile.position + token;
      const int64_t place = ((tile.row + token) * kv_heads_ + kv_head) * head_dim_;
      uint8_t* page =
          (*tile.pages)[static_cast<size_t>(position / kTokensPerPage)] + pass_.cache_shape.offset(layer_, kv_head);
      const float* key = rotated(k_ + place, position, space.row);
      const auto append_token = int8_ ? kernels::append_token_int8 : kernels::append_token_f16;
      append_token(pass_.kernels, key, v_ + place, head_dim_, position % kTokensPerPage, page);
    }
  }

  void attend_slice(int64_t slice, int thread) const {
    const Workspace space = workspace(thread);
    const int64_t end = slice_begin(slice + 1);
    int64_t page = slice_begin(slice);
    while (page < end) {
      const Item item = item_at(page);
      const uint8_t* after = item.end < end ? page_of(item_at(item.end), 0) : nullptr;
      if (item.tile->tokens == 1) {
        attend(item, page - item.begin, std::min(end, item.end) - item.begin, after, space);
      } else if (page == item.begin) {
        attend(item, 0, item.end - item.begin, after, space);
      }
      page = item.end;
    }
  }

  // Pages [first, last) of the item; `after` is what will be read then, or null.
  void attend(const Item& item, int64_t first, int64_t last, const uint8_t* after, const Workspace& space) const {
    const AttentionTile& tile = *item.tile;
    const int64_t pages = item.end - item.begin;
    if (!tiles_.share_sequences && last == pages) append(tile, item.kv_head, space);
    take_queries(item, space);
    for (int64_t page = first; page < last; ++page) {
      const bool whole = first == 0 && page == 0;
      const int64_t token = std::max(page * kTokensPerPage - tile.position, int64_t{0});  // the first that sees it
      const int64_t query = token * group_, queries = (tile.tokens - token) * group_;
      const uint8_t* next = page + 1 < last ? page_of(item, page + 1) : after ? after : page_of(item, page);
      attend_page(item, page, next, token, (whole ? space.total : space.part) + query, space);
      for (int64_t i = query; i < query + queries && !whole; ++i) {
        if (first == 0) {
          pass_.kernels.merge_attention(space.part[i], head_dim_, &space.total[i]);
        } else {
          kept(item).put(page, i, space.part[i]);
        }
      }
    }
    if (first > 0) return;
    for (int64_t i = 0; i < tile.tokens * group_; ++i) {
      last == pages ? finish(item, i, space.total[i]) : kept(item).put(0, i, space.total[i]);
    }
  }

  // The queries of the tile, rotated, in the form that the kernel takes.
  void take_queries(const Item& item, const Workspace& space) const {
    for (int64_t i = 0; i < item.tile->tokens * group_; ++i) {
      const int64_t token = i / group_;
      const float* x = q_ + place_of(item, i);
      float* query = int8_ ? space.row : space.q + i * head_dim_;
      const float* rotated_query = rotated(x, item.tile->position + token, query);
      if (int8_) {
        pass_.kernels.quantize_query(rotated_query, head_dim_, scale_, space.q_codes() + i * codes_width(),
                                     &space.q_multipliers[i]);
      } else if (rotated_query != query) {
        std::memcpy(query, x, static_cast<size_t>(head_dim_) * sizeof(float));
      }
    }
  }

  void attend_page(const Item& item, int64_t page, const uint8_t* next, int64_t first_token, AttentionPart* parts,
                   const Workspace& space) const {
    const int64_t first = first_token * group_, queries = item.tile->tokens * group_ - first;
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t position = item.tile->position + first_token + i / group_;
      space.seen[i] = static_cast<int32_t>(std::min(kTokensPerPage, position + 1 - page * kTokensPerPage));
    }
    const void* q = int8_ ? static_cast<const void*>(space.q_codes() + first * codes_width())
                          : static_cast<const void*>(space.q + first * head_dim_);
    const auto kernel = int8_ ? pass_.kernels.attend_page_int8 : pass_.kernels.attend_page_f16;
    kernel({page_of(item, page), next, q, space.q_multipliers + first, queries, space.seen, head_dim_, scale_}, parts);
  }

  void merge_kept(const Item& item) const {
    const KeptParts parts = kept(item);
    const int64_t first = slice_begin(first_cut(item)) - item.begin, pages = item.end - item.begin;
    for (int64_t i = 0; i < group_; ++i) {
      AttentionPart total = parts.get(0, i);
      for (int64_t page = first; page < pages; ++page) {
        pass_.kernels.merge_attention(parts.get(page, i), head_dim_, &total);
      }
      finish(item, i, total);
    }
  }

  void finish(const Item& item, int64_t query, const AttentionPart& total) const {
    pass_.kernels.finish_attention(total, head_dim_, y_ + place_of(item, query));
  }

  // Of a query of the tile in the rows of q and y.
  int64_t place_of(const Item& item, int64_t query) const {
    const int64_t row = item.tile->row + query / group_, head = item.kv_head * group_ + query % group_;
    return (row * kv_heads_ * group_ + head) * head_dim_;
  }

  int64_t codes_width() const { return 2 * kernels::key_pairs(head_dim_); }

  const ForwardPass& pass_;
  const AttentionTiles& tiles_;
  int64_t layer_, kv_heads_, group_, head_dim_;
  bool int8_;
  float scale_;
  const RopeTable* rope_;
  const float *q_, *k_, *v_;
  float* y_;
  int64_t work_;  // pages
  int64_t slices_;
};

}  // namespace

void AttentionTiles::add(int64_t row, int64_t position, int64_t tokens, const std::vector<uint8_t*>& pages,
                         int64_t group) {
  const int64_t tile_tokens = tile_queries(group) / group;
  share_sequences = share_sequences || tokens > tile_tokens;
  for (int64_t first = 0; first < tokens; first += tile_tokens) {
    const AttentionTile tile{row + first, position + first, std::min(tile_tokens, tokens - first), &pages};
    tiles.push_back(tile);
    page_end.push_back(this->pages() + page_count(tile.position + tile.tokens));
  }
}

int64_t attention_scratch_bytes(const ModelConfig& config, const PlanOptions& options, int threads) {
  const int64_t group = config.heads / config.kv_heads;
  return threads * Workspace::bytes(tile_queries(group), config.head_dim) +
         (threads - 1) * KeptParts::bytes(page_count(options.context_size), group, config.head_dim);
}

void run_attention(const ForwardPass& pass, const Step& step, const AttentionStep& attention) {
  if (!pass.attention_tiles.tiles.empty()) Attention(pass, step, attention).run();
}

}  // namespace tritium
