// Session: sequences of one model on one engine, each with its cache and its sampler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"

namespace tritium {

struct Feed {
  SequenceId sequence = -1;
  std::vector<int32_t> token_ids;  // at least one
  bool sample = false;             // whether to choose the token that follows the last one
};

class Session {
 public:
  // MemoryLimitError, before anything is allocated, if the plan's estimate does not fit the engine's memory; errors of
  // options as in InferenceEngine::plan_options and InferenceBackend::plan.
  Session(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
          const SessionOptions& options = {});

  const ExecutionPlan& plan() const { return prepared_->plan(); }
  // What the screened head has done so far; zeros for another head.
  HeadStatistics head_statistics();
  int64_t context_size() const { return plan().options.context_size; }

  // BatchProcessingError if max_sequences are open, or for a bias of an id outside the vocabulary.
  SequenceId open(const SamplingOptions& sampling);
  // A new sequence with the same past.
  SequenceId fork(SequenceId sequence, const SamplingOptions& sampling);
  // DeviceError in the child after fork(), as of every other call.
  void check_process() const { engine_->check_process(); }
  // Frees the sequence's pages; unknown ids are ignored.
  void close(SequenceId sequence);
  int64_t length(SequenceId sequence);
  void truncate(SequenceId sequence, int64_t length);

  // Feeds every sequence's tokens, in as few passes as the plan allows; one result a feed, in order, with id -1 where
  // nothing was to be sampled. BatchProcessingError for ids or lengths that do not fit; after any error no sequence
  // has changed.
  std::vector<SampledToken> step(const std::vector<Feed>& feeds);

  // Feeds tokens of one sequence; logits (token_ids.size(), vocab).
  FloatMatrix logits(SequenceId sequence, std::span<const int32_t> token_ids);

 private:
  void check_room_for_sequence() const;
  void check(const std::vector<Feed>& feeds) const;
  Sampler& sampler(SequenceId sequence);
  SampledToken choose(const SequenceInput& input, const SequenceOutput& output);

  std::shared_ptr<InferenceEngine> engine_;
  std::shared_ptr<PreparedModel> prepared_;
  std::unique_ptr<KVCache> cache_;
  std::map<SequenceId, Sampler> samplers_;
};

}  // namespace tritium
