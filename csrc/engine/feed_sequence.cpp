#include "engine/feed_sequence.h"

#include <algorithm>
#include <cstring>

namespace tritium {
namespace {

constexpr int64_t kLogitsBytesPerPass = int64_t{16} << 20;

}  // namespace

FloatMatrix feed_sequence(InferenceBackend& backend, PreparedModel& prepared, KVCache& cache, SequenceId sequence,
                          std::span<const int32_t> token_ids) {
  const int64_t vocab = prepared.model().config().vocab_size;
  const int64_t rows = std::clamp<int64_t>(kLogitsBytesPerPass / (vocab * 4), 1, prepared.plan().options.max_tokens);
  const int64_t tokens = static_cast<int64_t>(token_ids.size());
  FloatMatrix logits{std::make_unique_for_overwrite<float[]>(static_cast<size_t>(tokens * vocab)), tokens, vocab};
  const int64_t before = cache.length(sequence);
  try {
    for (int64_t first = 0; first < tokens; first += rows) {
      const auto part =
          token_ids.subspan(static_cast<size_t>(first)).first(static_cast<size_t>(std::min(rows, tokens - first)));
      const Batch batch{{{sequence, {part.begin(), part.end()}, Want::kAll}}};
      const BatchOutput output = backend.execute_batch(prepared, cache, batch);
      std::memcpy(logits.data.get() + first * vocab, output.sequences[0].logits,
                  part.size() * static_cast<size_t>(vocab) * 4);
    }
  } catch (...) {
    cache.truncate(sequence, before);
    throw;
  }
  return logits;
}

}  // namespace tritium
