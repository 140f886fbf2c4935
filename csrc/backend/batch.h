// Batch: what a backend is asked to run in one pass, and what it gives back.
#pragma once

#include <cstdint>
#include <vector>

#include "memory/memory_pool.h"

namespace tritium {

using SequenceId = int64_t;

enum class Want {
  kNothing,  // the tokens only enter the cache
  kArgmax,   // id and logit of the largest logit after the last token; the lowest id among equals
  kLast,     // all logits after the last token
  kAll,      // all logits after every token
};

struct SequenceInput {
  SequenceId sequence = -1;        // of the cache
  std::vector<int32_t> token_ids;  // to feed, at least one
  Want want = Want::kNothing;
};

struct Batch {
  std::vector<SequenceInput> sequences;  // each sequence at most once
};

struct SequenceOutput {
  int32_t argmax = -1;            // for kArgmax
  float argmax_logit = 0;         // for kArgmax
  const float* logits = nullptr;  // (rows, vocab), inside BatchOutput::logits; null if none were wanted
  int64_t rows = 0;
};

struct BatchOutput {
  std::vector<SequenceOutput> sequences;  // in the order of the batch
  MemoryPool::Buffer logits;
};

}  // namespace tritium
