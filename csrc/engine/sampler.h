// Sampler: chooses the next token of one sequence from its logits, or from those candidates that can matter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backend/batch.h"

namespace tritium {

struct SamplingOptions {
  float temperature = 0;         // 0 is greedy
  int32_t top_k = 0;             // keep the k largest; 0 keeps all
  float top_p = 1;               // keep the fewest whose probabilities reach p
  float min_p = 0;               // drop those below min_p times the largest probability
  float repetition_penalty = 1;  // divides positive and multiplies negative logits of recent tokens (arXiv:1909.05858)
  int32_t repetition_window = 64;  // recent tokens that are penalised, the prompt's among them
  uint64_t seed = 0;
  int32_t logprobs = -1;  // report the chosen token's and this many best tokens' log-probabilities; -1: none
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // added to logits, by id, each id once; -inf forbids a token

  // BatchProcessingError names the option, its value and its range.
  void validate() const;
  // BatchProcessingError for a bias of an id outside [0, vocab).
  void check_ids(int64_t vocab) const;
};

struct SampledToken {
  int32_t id = -1;
  std::optional<float> logprob;                         // of the id, natural logarithm, before any option is applied
  std::vector<std::pair<int32_t, float>> top_logprobs;  // best first
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  const SamplingOptions& options() const { return options_; }
  // Whether the largest logit decides and nothing else is asked for.
  bool wants_argmax_only() const;
  // The candidates that decide, if it is not all logits.
  std::optional<CandidateQuery> query() const;
  const std::vector<int32_t>& recent() const { return recent_; }
  // Tells it what was fed, prompt and sampled tokens alike.
  void observe(std::span<const int32_t> token_ids);
  // Takes back the last `count` tokens; those that had left the window do not return.
  void forget(int64_t count);
  // Applies repetition penalty, logit bias, temperature, top-k, top-p and min-p in this order, then draws. The lowest
  // id wins among equals.
  SampledToken sample(std::span<const float> logits);
  // The same from the answer to query(), with the same result as from all logits.
  SampledToken sample(std::vector<Candidate> candidates);

 private:
  // What the options change about one token's logit.
  struct Change {
    int32_t id;
    bool penalised;
    float bias;
  };
  std::vector<Change> changes() const;
  float changed(const Change& change, float logit) const;
  bool needs_all() const;
  float margin() const;
  // Ends of sample(), on changed logits.
  int32_t choose(std::vector<Candidate> candidates);
  int32_t choose_among_all(std::span<const float> logits);
  double draw();  // uniform in [0, 1)

  SamplingOptions options_;
  std::vector<int32_t> recent_;
  uint64_t state_;
};

}  // namespace tritium
