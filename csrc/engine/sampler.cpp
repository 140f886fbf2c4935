#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "backend/candidates.h"
#include "base/error.h"

namespace tritium {
namespace {

template <class T>
void require(const char* name, T value, bool holds, const char* range) {
  if (!holds) throw BatchProcessingError(concat("[sampling] ", name, " must lie in ", range, ", got ", value));
}

constexpr float kLeastExponent = -87;  // exp() of less is subnormal

// y[i] = exp(x[i]) for x[i] <= 0, within a few units in the last place; 0 below kLeastExponent and for NaN. Three
// loops, because each alone becomes vector instructions.
void exponentials(const float* x, size_t count, float* y) {
  for (size_t i = 0; i < count; ++i) y[i] = x[i] > kLeastExponent ? x[i] : kLeastExponent;
  for (size_t i = 0; i < count; ++i) {
    const float t = y[i] * 0x1.715476p+0f + 12582912.0f;
    const float n = t - 12582912.0f;
    const float r = (y[i] - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float p = 0x1.6d113cp-10f;
    p = p * r + 0x1.120ba2p-7f;
    p = p * r + 0x1.55551ap-5f;
    p = p * r + 0x1.5554dcp-3f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    y[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(t) << 23));
  }
  for (size_t i = 0; i < count; ++i) y[i] = x[i] > kLeastExponent ? y[i] : 0.0f;
}

float largest(std::span<const float> logits) {
  constexpr size_t kLanes = 16;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float logit = logits[i + lane];
      lanes[lane] = logit > lanes[lane] ? logit : lanes[lane];
    }
  }
  for (; i < logits.size(); ++i) lanes[0] = std::max(lanes[0], logits[i]);
  return *std::max_element(lanes, lanes + kLanes);
}

// Weights exp((logit - largest) / temperature) of all logits, in blocks.
class Softmax {
 public:
  static constexpr size_t kBlock = 1024;

  Softmax(std::span<const float> logits, float temperature)
      : logits_(logits), temperature_(temperature), largest_(largest(logits)), weights_(logits.size()) {
    float exponents[kBlock];
    for (size_t first = 0; first < logits.size(); first += kBlock) {
      const size_t last = std::min(first + kBlock, logits.size());
      this->exponents(first, last, exponents);
      exponentials(exponents, last - first, weights_.data() + first);
      block_sums_.push_back(sum(first, last));
    }
    total_ = std::accumulate(block_sums_.begin(), block_sums_.end(), 0.0);
  }

  // Of exp(): at most 0.
  float exponent(size_t i) const { return (logits_[i] - largest_) / temperature_; }
  float weight(size_t i) const { return weights_[i]; }
  double total() const { return total_; }
  double log_total() const { return static_cast<double>(largest_) + std::log(total_); }

  // exponent(i), a block at a time.
  void exponents(size_t first, size_t last, float* to) const {
    const float top = largest_, temperature = temperature_;
    for (size_t i = first; i < last; ++i) to[i - first] = (logits_[i] - top) / temperature;
  }

  // The token at `left` of the total, in the order of ids.
  size_t at(double left) const {
    size_t block = 0;
    while (block + 1 < block_sums_.size() && left >= block_sums_[block]) left -= block_sums_[block++];
    const size_t last = std::min((block + 1) * kBlock, weights_.size());
    size_t chosen = block * kBlock;
    for (size_t i = chosen; i < last; ++i) {
      if (!(weights_[i] > 0)) continue;
      chosen = i;
      if (left < static_cast<double>(weights_[i])) break;
      left -= static_cast<double>(weights_[i]);
    }
    return chosen;
  }

 private:
  double sum(size_t first, size_t last) const {
    double lanes[8] = {};
    size_t i = first;
    for (; i + 8 <= last; i += 8) {
      for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += static_cast<double>(weights_[i + lane]);
    }
    for (; i < last; ++i) lanes[0] += static_cast<double>(weights_[i]);
    return std::accumulate(lanes, lanes + 8, 0.0);
  }

  std::span<const float> logits_;
  float temperature_;
  float largest_;
  std::vector<float> weights_;  // (vocab)
  std::vector<double> block_sums_;
  double total_ = 0;
};

// The tokens of a softmax in the order of their logits, of which only those are sorted that a question is about: equal
// steps of the exponent are buckets.
class Buckets {
 public:
  Buckets(const Softmax& softmax, size_t tokens) : softmax_(softmax), buckets_(tokens), sums_(kCount) {
    float exponents[Softmax::kBlock];
    for (size_t first = 0; first < tokens; first += Softmax::kBlock) {
      const size_t count = std::min(Softmax::kBlock, tokens - first);
      softmax.exponents(first, first + count, exponents);
      int32_t* buckets = buckets_.data() + first;
      for (size_t i = 0; i < count; ++i) buckets[i] = bucket_of(exponents[i]);
      for (size_t i = 0; i < count; ++i) {
        sums_[static_cast<size_t>(buckets[i])] += static_cast<double>(softmax.weight(first + i));
      }
    }
  }

  // Draws with `draw` in [0, 1) among the fewest tokens whose probabilities reach top_p, without those less probable
  // than min_p times the most probable one.
  int32_t choose(double top_p, double min_p, double draw) const {
    const double wanted = top_p * softmax_.total();
    size_t last = 0;
    double sum = 0;
    while (last + 1 < kCount && sum + sums_[last] < wanted) sum += sums_[last++];
    std::vector<Candidate> end = sorted(last);
    // Sums of buckets and of their tokens are rounded apart: the last bucket may be one further.
    size_t kept = 0;
    double kept_total = sum;
    while (kept < end.size() && (kept_total < wanted || (kept == 0 && last == 0))) kept_total += weight(end[kept++]);

    const float least = min_p > 0 ? static_cast<float>(std::log(min_p)) : -std::numeric_limits<float>::infinity();
    if (const auto cut = static_cast<size_t>(bucket_of(least)); cut <= last && min_p > 0) {
      if (cut < last) {
        end = sorted(cut);
        kept = end.size();
        last = cut;
        sum = std::accumulate(sums_.begin(), sums_.begin() + static_cast<std::ptrdiff_t>(last), 0.0);
      }
      const auto below = [&](const Candidate& token) {
        return softmax_.exponent(static_cast<size_t>(token.id)) < least;
      };
      while (kept > (last == 0 ? 1u : 0u) && below(end[kept - 1])) --kept;
      kept_total = sum;
      for (size_t i = 0; i < kept; ++i) kept_total += weight(end[i]);
    }

    double left = draw * kept_total;
    size_t at = 0;
    while (at < last && left >= sums_[at]) left -= sums_[at++];
    while (at > 0 && (at < last ? sums_[at] == 0 : kept == 0)) --at;  // rounding led past the last token
    std::vector<Candidate> tokens = at < last ? sorted(at) : std::move(end);
    if (at == last && kept > 0) tokens.resize(kept);
    size_t chosen = 0;
    while (chosen + 1 < tokens.size() && left >= weight(tokens[chosen])) left -= weight(tokens[chosen++]);
    return tokens[chosen].id;
  }

 private:
  static constexpr size_t kCount = 2048;
  static constexpr float kPerUnit = 16;

  static int32_t bucket_of(float exponent) {
    const float place = -exponent * kPerUnit;
    constexpr float kLast = kCount - 1;
    return static_cast<int32_t>(place < kLast ? place : kLast);
  }
  double weight(const Candidate& token) const {
    return static_cast<double>(softmax_.weight(static_cast<size_t>(token.id)));
  }
  std::vector<Candidate> sorted(size_t wanted) const {
    std::vector<Candidate> tokens;
    for_each_passing(
        buckets_.data(), 0, static_cast<int64_t>(buckets_.size()),
        [&](int32_t bucket) { return bucket == static_cast<int32_t>(wanted); },
        [&](int64_t i) { tokens.push_back({static_cast<int32_t>(i), softmax_.exponent(static_cast<size_t>(i))}); });
    std::sort(tokens.begin(), tokens.end(), before);
    return tokens;
  }

  const Softmax& softmax_;
  std::vector<int32_t> buckets_;  // (vocab)
  std::vector<double> sums_;      // (buckets) of weights
};

// The `count` largest logits in order; at least one token.
std::vector<Candidate> best_of(std::span<const float> logits, size_t count) {
  std::vector<Candidate> best;
  if (count < logits.size() / 16) {
    Largest found(std::max<size_t>(count, 1));
    found.add(logits.data(), 0, static_cast<int64_t>(logits.size()));
    best = found.values();
    std::sort(best.begin(), best.end(), before);
    if (best.empty()) best.push_back({0, logits[0]});
    return best;
  }
  for (size_t i = 0; i < logits.size(); ++i) best.push_back({static_cast<int32_t>(i), logits[i]});
  count = std::min(count, best.size());
  const auto end = best.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(best.begin(), end == best.end() ? end - 1 : end, best.end(), before);
  best.resize(count);
  std::sort(best.begin(), best.end(), before);
  return best;
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
  std::vector<int32_t> ids;
  for (const auto& [id, bias] : logit_bias) {
    require("the id of a logit_bias", id, id >= 0, "[0, inf)");
    require("a logit_bias", bias, bias < std::numeric_limits<float>::infinity(), "[-inf, inf)");
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice != ids.end()) {
    throw BatchProcessingError(concat("[sampling] logit_bias holds token id ", *twice, " twice"));
  }
}

void SamplingOptions::check_ids(int64_t vocab) const {
  for (const auto& [id, bias] : logit_bias) {
    if (id >= vocab) {
      throw BatchProcessingError(
          concat("[sampling] logit_bias holds token id ", id, ", which lies outside [0, ", vocab, ")"));
    }
  }
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) { options_.validate(); }

bool Sampler::wants_argmax_only() const {
  return options_.temperature == 0 && options_.repetition_penalty == 1 && options_.logprobs < 0 &&
         options_.logit_bias.empty();
}

// Plain temperature and top-p weigh every token.
bool Sampler::needs_all() const {
  return options_.temperature > 0 && options_.top_k == 0 && (options_.top_p < 1 || options_.min_p == 0);
}

// How far below the largest logit min-p reaches, and a little more: choose() looks at the weights themselves.
float Sampler::margin() const {
  const double margin = -static_cast<double>(options_.temperature) * std::log(static_cast<double>(options_.min_p));
  return static_cast<float>(margin * (1 + 1e-6) + 1e-6);
}

std::optional<CandidateQuery> Sampler::query() const {
  if (options_.logprobs >= 0 || needs_all()) return std::nullopt;
  CandidateQuery query;
  if (options_.temperature > 0 && options_.top_k > 0) query.best = options_.top_k;
  if (options_.temperature > 0 && options_.top_k == 0) query.margin = margin();
  for (const Change& change : changes()) query.forced.push_back(change.id);
  return query;
}

// By id, each once.
std::vector<Sampler::Change> Sampler::changes() const {
  std::vector<Change> all;
  if (options_.repetition_penalty != 1) {
    for (int32_t id : recent_) all.push_back({id, true, 0});
  }
  for (const auto& [id, bias] : options_.logit_bias) all.push_back({id, false, bias});
  std::stable_sort(all.begin(), all.end(), [](const Change& a, const Change& b) { return a.id < b.id; });
  std::vector<Change> merged;
  for (const Change& change : all) {
    if (merged.empty() || merged.back().id != change.id) {
      merged.push_back(change);
    } else {
      merged.back().bias += change.bias;
    }
  }
  return merged;
}

float Sampler::changed(const Change& change, float logit) const {
  if (change.penalised) {
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
  return logit + change.bias;
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
  std::vector<float> copy;
  std::span<const float> adjusted = logits;
  if (const std::vector<Change> changes = this->changes(); !changes.empty()) {
    copy.assign(logits.begin(), logits.end());
    for (const Change& change : changes) {
      float& logit = copy[static_cast<size_t>(change.id)];
      logit = changed(change, logit);
    }
    adjusted = copy;
  }

  SampledToken result;
  result.id = choose_among_all(adjusted);
  if (options_.logprobs >= 0) {
    const double log_total = Softmax(logits, 1).log_total();
    const auto logprob = [&](int32_t id) { return static_cast<float>(logits[static_cast<size_t>(id)] - log_total); };
    result.logprob = logprob(result.id);
    if (options_.logprobs == 0) return result;
    for (const Candidate& best : best_of(logits, static_cast<size_t>(options_.logprobs))) {
      result.top_logprobs.emplace_back(best.id, logprob(best.id));
    }
  }
  return result;
}

SampledToken Sampler::sample(std::vector<Candidate> candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  auto candidate = candidates.begin();
  for (const Change& change : changes()) {
    candidate = std::lower_bound(candidate, candidates.end(), change.id,
                                 [](const Candidate& a, int32_t id) { return a.id < id; });
    candidate->logit = changed(change, candidate->logit);
  }
  return {choose(std::move(candidates)), std::nullopt, {}};
}

int32_t Sampler::choose_among_all(std::span<const float> logits) {
  if (needs_all()) {
    const Softmax softmax(logits, options_.temperature);
    if (options_.top_p == 1) return static_cast<int32_t>(softmax.at(draw() * softmax.total()));
    return Buckets(softmax, logits.size()).choose(options_.top_p, options_.min_p, draw());
  }
  if (options_.temperature == 0) return choose(best_of(logits, 1));
  if (options_.top_k > 0) return choose(best_of(logits, static_cast<size_t>(options_.top_k)));
  const float least = std::nextafter(largest(logits) - margin(), -std::numeric_limits<float>::infinity());
  std::vector<Candidate> candidates;
  for_each_passing(
      logits.data(), 0, static_cast<int64_t>(logits.size()), [&](float logit) { return logit >= least; },
      [&](int64_t i) { candidates.push_back({static_cast<int32_t>(i), logits[static_cast<size_t>(i)]}); });
  if (candidates.empty()) candidates.push_back({0, logits[0]});
  return choose(std::move(candidates));
}

// Of candidates that include all that top-k keeps, or all that min-p keeps.
int32_t Sampler::choose(std::vector<Candidate> candidates) {
  if (options_.temperature == 0) return std::min_element(candidates.begin(), candidates.end(), before)->id;
  std::sort(candidates.begin(), candidates.end(), before);
  if (options_.top_k > 0) candidates.resize(std::min(candidates.size(), static_cast<size_t>(options_.top_k)));
  const auto weight = [&](const Candidate& candidate) {
    return std::exp((static_cast<double>(candidate.logit) - static_cast<double>(candidates[0].logit)) /
                    static_cast<double>(options_.temperature));
  };
  std::vector<double> weights;
  for (const Candidate& candidate : candidates) weights.push_back(weight(candidate));
  size_t kept = candidates.size();
  if (options_.top_p < 1) {
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    kept = 0;
    while (kept < candidates.size() && sum < options_.top_p * total) sum += weights[kept++];
  }
  while (kept > 1 && weights[kept - 1] < options_.min_p) --kept;
  const auto end = weights.begin() + static_cast<std::ptrdiff_t>(kept);
  double left = draw() * std::accumulate(weights.begin(), end, 0.0);
  size_t chosen = 0;
  while (chosen + 1 < kept && left >= weights[chosen]) left -= weights[chosen++];
  return candidates[chosen].id;
}

}  // namespace tritium
