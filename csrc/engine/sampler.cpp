#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tritium {
namespace {

struct Candidate {
  int32_t id;
  float logit;
  double weight;  // not normalised
};

bool before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

template <class T>
void require(const char* name, T value, bool holds, const char* range) {
  if (!holds) throw BatchProcessingError(concat("[sampling] ", name, " must lie in ", range, ", got ", value));
}

double log_sum(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - max);
  return max + std::log(sum);
}

std::vector<std::pair<int32_t, float>> best_logprobs(std::span<const float> logits, double log_total, size_t count) {
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  count = std::min(count, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<std::pair<int32_t, float>> best;
  for (size_t i = 0; i < count; ++i) best.emplace_back(ids[i], static_cast<float>(logits[ids[i]] - log_total));
  return best;
}

std::vector<Candidate> largest(std::span<const float> logits, size_t count) {
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) candidates[i] = {static_cast<int32_t>(i), logits[i], 0};
  count = count == 0 ? candidates.size() : std::min(count, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end(),
                    before);
  candidates.resize(count);
  return candidates;
}

}  // namespace

void SamplingOptions::validate() const {
  require("temperature", temperature, temperature >= 0 && std::isfinite(temperature), "[0, inf)");
  require("top_k", top_k, top_k >= 0, "[0, inf)");
  require("top_p", top_p, top_p > 0 && top_p <= 1, "(0, 1]");
  require("min_p", min_p, min_p >= 0 && min_p <= 1, "[0, 1]");
  require("repetition_penalty", repetition_penalty, repetition_penalty > 0 && std::isfinite(repetition_penalty),
          "(0, inf)");
  require("repetition_window", repetition_window, repetition_window >= 0, "[0, inf)");
  require("logprobs", logprobs, logprobs >= -1, "[-1, inf)");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) { options_.validate(); }

bool Sampler::wants_argmax_only() const {
  return options_.temperature == 0 && options_.repetition_penalty == 1 && options_.logprobs < 0;
}

void Sampler::observe(std::span<const int32_t> token_ids) {
  recent_.insert(recent_.end(), token_ids.begin(), token_ids.end());
  const size_t window = static_cast<size_t>(options_.repetition_window);
  if (recent_.size() > window) recent_.erase(recent_.begin(), recent_.end() - static_cast<std::ptrdiff_t>(window));
}

void Sampler::forget(int64_t count) {
  recent_.resize(recent_.size() - std::min(recent_.size(), static_cast<size_t>(count)));
}

// splitmix64: one 64-bit state, full period.
double Sampler::draw() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

SampledToken Sampler::sample(std::span<const float> logits) {
  std::vector<float> adjusted(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) {
    std::vector<int32_t> seen = recent_;
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (int32_t id : seen) {
      float& logit = adjusted[static_cast<size_t>(id)];
      logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    }
  }

  SampledToken result;
  if (options_.temperature == 0) {
    result.id = static_cast<int32_t>(std::max_element(adjusted.begin(), adjusted.end()) - adjusted.begin());
  } else {
    std::vector<Candidate> candidates = largest(adjusted, static_cast<size_t>(options_.top_k));
    double total = 0;
    for (Candidate& candidate : candidates) {
      candidate.weight = std::exp((static_cast<double>(candidate.logit) - candidates[0].logit) /
                                  static_cast<double>(options_.temperature));
      total += candidate.weight;
    }
    size_t kept = candidates.size();
    if (options_.top_p < 1) {
      double sum = 0;
      kept = 0;
      while (kept < candidates.size() && sum < options_.top_p * total) sum += candidates[kept++].weight;
    }
    while (kept > 1 && candidates[kept - 1].weight < options_.min_p * candidates[0].weight) --kept;
    double kept_total = 0;
    for (size_t i = 0; i < kept; ++i) kept_total += candidates[i].weight;
    double left = draw() * kept_total;
    size_t chosen = 0;
    while (chosen + 1 < kept && left >= candidates[chosen].weight) left -= candidates[chosen++].weight;
    result.id = candidates[chosen].id;
  }

  if (options_.logprobs >= 0) {
    const double log_total = log_sum(logits);
    result.logprob = static_cast<float>(logits[static_cast<size_t>(result.id)] - log_total);
    result.top_logprobs = best_logprobs(logits, log_total, static_cast<size_t>(options_.logprobs));
  }
  return result;
}

}  // namespace tritium
