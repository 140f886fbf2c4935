// Attention of the CPU backend: keys and values are appended to the cache, then tiles of queries pass over its pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/paged_kv_cache.h"
#include "model/model_config.h"
#include "plan/execution_plan.h"

namespace tritium {

struct ForwardPass;

// Consecutive tokens of one sequence. Their queries read each page together.
struct AttentionTile {
  int64_t row;       // of the first token in the pass
  int64_t position;  // of the first token in its sequence
  int64_t tokens;
  const std::vector<uint8_t*>* pages;  // of the sequence
};

// The tiles of one pass; every layer takes them again.
struct AttentionTiles {
  std::vector<AttentionTile> tiles;
  std::vector<int64_t> page_end;  // (tiles) pages that it and all tiles before it see
  bool share_sequences = false;   // whether two tiles belong to one sequence

  int64_t pages() const { return page_end.empty() ? 0 : page_end.back(); }

  // Adds a sequence's tokens [position, position + tokens), rows from `row`, for groups of `group` query heads.
  void add(int64_t row, int64_t position, int64_t tokens, const std::vector<uint8_t*>& pages, int64_t group);
};

// Bytes that attention works in, beside the plan's values.
int64_t attention_scratch_bytes(const ModelConfig& config, const PlanOptions& options, int threads);

void run_attention(const ForwardPass& pass, const Step& step, const AttentionStep& attention);

}  // namespace tritium
