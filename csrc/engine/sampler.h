// Sampler: chooses the next token of one sequence from its logits.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

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

  // BatchProcessingError names the option, its value and its range.
  void validate() const;
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
  const std::vector<int32_t>& recent() const { return recent_; }
  // Tells it what was fed, prompt and sampled tokens alike.
  void observe(std::span<const int32_t> token_ids);
  // Takes back the last `count` tokens; those that had left the window do not return.
  void forget(int64_t count);
  // Applies repetition penalty, temperature, top-k, top-p and min-p in this order, then draws. The lowest id wins
  // among equals.
  SampledToken sample(std::span<const float> logits);

 private:
  double draw();  // uniform in [0, 1)

  SamplingOptions options_;
  std::vector<int32_t> recent_;
  uint64_t state_;
};

}  // namespace tritium
