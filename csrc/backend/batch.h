// Batch: what a backend is asked to run in one pass, and what it gives back.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "memory/memory_pool.h"

namespace tritium {

using SequenceId = int64_t;

enum class Want {
  kNothing,     // the tokens only enter the cache
  kArgmax,      // id and logit of the largest logit after the last token; the lowest id among equals
  kCandidates,  // what the query asks for, of the logits after the last token
  kLast,        // all logits after the last token
  kAll,         // all logits after every token
};

struct Candidate {
  int32_t id = -1;
  float logit = 0;
};

// The logits of `forced`, and of all other tokens whose logits are no less than the `best` largest of the others, or,
// with a margin, that lie within `margin` of the largest of the others; perhaps of some more.
// Whoever then changes the logits of forced tokens alone and takes the `best` largest, or those within `margin` of the
// largest, gets what the whole row would give: an other token among the best of all is among the best of the others,
// and the largest of all is no less than the largest of the others.
struct CandidateQuery {
  int64_t best = 1;
  std::optional<float> margin;
  std::vector<int32_t> forced;  // ids in order, each once
};

struct SequenceInput {
  SequenceId sequence = -1;        // of the cache
  std::vector<int32_t> token_ids;  // to feed, at least one
  Want want = Want::kNothing;
  CandidateQuery query = {};  // for kCandidates
};

struct Batch {
  std::vector<SequenceInput> sequences;  // each sequence at most once
};

struct SequenceOutput {
  int32_t argmax = -1;            // for kArgmax
  float argmax_logit = 0;         // for kArgmax
  const float* logits = nullptr;  // (rows, vocab), inside BatchOutput::logits; null if none were wanted or computed
  int64_t rows = 0;
  std::vector<Candidate> candidates;  // for kCandidates and kArgmax where not all logits were computed; in any order
};

struct BatchOutput {
  std::vector<SequenceOutput> sequences;   // in the order of the batch
  std::vector<MemoryPool::Buffer> logits;  // what the outputs point to
};

}  // namespace tritium
