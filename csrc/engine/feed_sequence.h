// Feeds one sequence in passes that the plan can hold, and collects the logits of every token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/inference_backend.h"

namespace tritium {

// A result that owns its memory.
struct FloatMatrix {
  std::unique_ptr<float[]> data;  // (rows, columns)
  int64_t rows = 0;
  int64_t columns = 0;
};

// Logits (tokens, vocab). The sequence is as before after an error.
FloatMatrix feed_sequence(InferenceBackend& backend, PreparedModel& prepared, KVCache& cache, SequenceId sequence,
                          std::span<const int32_t> token_ids);

}  // namespace tritium
