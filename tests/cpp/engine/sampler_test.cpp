#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "error_text.h"

namespace tritium {
namespace {

SamplingOptions options(const std::function<void(SamplingOptions&)>& change) {
  SamplingOptions result;
  change(result);
  return result;
}

std::map<int32_t, int> draw(Sampler& sampler, const std::vector<float>& logits, int count) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[sampler.sample(logits).id];
  return counts;
}

std::vector<int32_t> ids_drawn(Sampler sampler, const std::vector<float>& logits) {
  std::vector<int32_t> ids;
  for (const auto& [id, count] : draw(sampler, logits, 2000)) ids.push_back(id);
  return ids;
}

TEST(Sampler, TemperatureZeroTakesTheLargestAndTheLowestIdAmongEquals) {
  Sampler sampler(SamplingOptions{});
  EXPECT_TRUE(sampler.wants_argmax_only());
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 2, 3}).id, 1);
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheTemperature) {
  const std::vector<float> logits = {0, 1, 2, -1};
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    Sampler sampler(options([&](auto& o) { o.temperature = temperature; }));
    const int count = 100000;
    auto counts = draw(sampler, logits, count);
    double total = 0;
    for (float logit : logits) total += std::exp(logit / temperature);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double p = std::exp(logits[i] / temperature) / total;
      // Five standard deviations of a binomial draw.
      EXPECT_NEAR(counts[static_cast<int32_t>(i)], count * p, 5 * std::sqrt(count * p * (1 - p)) + 1) << temperature;
    }
  }
}

TEST(Sampler, TopKKeepsTheKLargest) {
  const auto o = options([](auto& o) { o.temperature = 1, o.top_k = 2; });
  EXPECT_EQ(ids_drawn(Sampler(o), {1, 1.5f, 1.2f, 1.1f}), (std::vector<int32_t>{1, 2}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  // Probabilities 0.5, 0.3, 0.2.
  const std::vector<float> logits = {std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  EXPECT_EQ(ids_drawn(Sampler(options([](auto& o) { o.temperature = 1, o.top_p = 0.45f; })), logits),
            (std::vector<int32_t>{1}));
  EXPECT_EQ(ids_drawn(Sampler(options([](auto& o) { o.temperature = 1, o.top_p = 0.7f; })), logits),
            (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ids_drawn(Sampler(options([](auto& o) { o.temperature = 1, o.top_p = 0.9f; })), logits),
            (std::vector<int32_t>{0, 1, 2}));
}

TEST(Sampler, MinPDropsWhatIsFarBelowTheLargest) {
  const std::vector<float> logits = {std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  EXPECT_EQ(ids_drawn(Sampler(options([](auto& o) { o.temperature = 1, o.min_p = 0.5f; })), logits),
            (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ids_drawn(Sampler(options([](auto& o) { o.temperature = 1, o.min_p = 1; })), logits),
            (std::vector<int32_t>{1}));
}

TEST(Sampler, RepetitionPenaltyLowersRecentTokensOfBothSigns) {
  Sampler sampler(options([](auto& o) { o.repetition_penalty = 2; }));
  EXPECT_FALSE(sampler.wants_argmax_only());
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2, -1}).id, 0);
  sampler.observe(std::vector<int32_t>{0, 0});  // penalised once, however often it was seen
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2, -1}).id, 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 1.4f, -1}).id, 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, -1.5f, -3}).id, 1);
}

TEST(Sampler, RepetitionWindowForgetsOldTokens) {
  Sampler sampler(options([](auto& o) { o.repetition_penalty = 10, o.repetition_window = 2; }));
  sampler.observe(std::vector<int32_t>{0, 1, 2});
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 5, 4}).id, 0);
  sampler.forget(1);
  EXPECT_EQ(sampler.recent(), (std::vector<int32_t>{1}));
  sampler.forget(5);
  EXPECT_TRUE(sampler.recent().empty());
}

TEST(Sampler, LogitBiasIsAddedAfterThePenaltyAndCanForbid) {
  Sampler sampler(options([](auto& o) {
    o.repetition_penalty = 2, o.logit_bias = {{1, 0.5f}, {2, -std::numeric_limits<float>::infinity()}};
  }));
  EXPECT_FALSE(sampler.wants_argmax_only());
  sampler.observe(std::vector<int32_t>{1});
  EXPECT_EQ(sampler.sample(std::vector<float>{1.6f, 2, 9}).id, 0);  // 2 / 2 + 0.5 = 1.5
  EXPECT_EQ(sampler.sample(std::vector<float>{1.4f, 2, 9}).id, 1);  // not (2 + 0.5) / 2
  for (float top_p : {1.0f, 0.9f}) {
    Sampler drawing(options([&](auto& o) {
      o.temperature = 5, o.top_p = top_p, o.logit_bias = {{2, -std::numeric_limits<float>::infinity()}};
    }));
    EXPECT_EQ(ids_drawn(drawing, {1, 1, 9}), (std::vector<int32_t>{0, 1}));
  }
}

// The query of each way to sample, answered from all logits by hand.
TEST(Sampler, ChoosesFromCandidatesAsFromAllLogits) {
  const std::vector<std::function<void(SamplingOptions&)>> ways = {
      [](auto& o) { o.repetition_penalty = 3; },
      [](auto& o) { o.temperature = 1, o.top_k = 5; },
      [](auto& o) { o.temperature = 1, o.top_k = 30, o.top_p = 0.6f, o.repetition_penalty = 1.3f; },
      [](auto& o) { o.temperature = 0.8f, o.min_p = 0.2f, o.logit_bias = {{4, 3.0f}, {8, -1.0f}}; },
  };
  for (const auto& change : ways) {
    Sampler all(options(change)), few(options(change));
    for (uint32_t round = 0; round < 300; ++round) {
      std::vector<float> logits(100);
      for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i * i + 31 * round)) * 3;
      logits[round % 100] = logits[(round + 7) % 100];
      const std::optional<CandidateQuery> query = few.query();
      ASSERT_TRUE(query);
      std::vector<Candidate> others, candidates;
      for (int32_t id = 0; id < 100; ++id) {
        const bool forced = std::binary_search(query->forced.begin(), query->forced.end(), id);
        (forced ? candidates : others).push_back({id, logits[static_cast<size_t>(id)]});
      }
      std::sort(others.begin(), others.end(), [](auto& a, auto& b) { return a.logit > b.logit; });
      const size_t last = static_cast<size_t>(query->best) - 1;
      const float least = query->margin ? others[0].logit - *query->margin : others[last].logit;
      for (const Candidate& other : others) {
        if (other.logit >= least) candidates.push_back(other);
      }
      const int32_t expected = all.sample(logits).id;
      ASSERT_EQ(few.sample(candidates).id, expected);
      all.observe(std::vector<int32_t>{expected});
      few.observe(std::vector<int32_t>{expected});
    }
  }
}

TEST(Sampler, AsksForAllLogitsWhereItWeighsThemAll) {
  const auto query = [](const std::function<void(SamplingOptions&)>& change) {
    return Sampler(options(change)).query();
  };
  EXPECT_FALSE(query([](auto& o) { o.temperature = 1; }));
  EXPECT_FALSE(query([](auto& o) { o.temperature = 1, o.top_p = 0.9f; }));
  EXPECT_FALSE(query([](auto& o) { o.temperature = 1, o.top_p = 0.9f, o.min_p = 0.1f; }));
  EXPECT_FALSE(query([](auto& o) { o.logprobs = 0; }));
  EXPECT_EQ(query([](auto& o) { o.temperature = 1, o.top_k = 9; })->best, 9);
  EXPECT_NEAR(query([](auto& o) { o.temperature = 2, o.min_p = 0.5f; })->margin.value(), 2 * std::log(2.0), 1e-5);
}

// Against the definition in the plain order of logits, with a vocabulary that fills many buckets.
TEST(Sampler, TopPAndMinPOfAllLogitsKeepWhatASortedListKeeps) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 4 * std::sin(static_cast<float>(i * i % 7919));
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  double total = 0;
  for (float logit : logits) total += std::exp(static_cast<double>(logit) / 0.5);
  for (float top_p : {0.001f, 0.1f, 0.5f, 0.9f}) {
    for (float min_p : {0.0f, 0.5f, 0.9f}) {
      std::vector<int32_t> kept;
      double sum = 0;
      for (int32_t id : order) {
        const double weight = std::exp(static_cast<double>(logits[static_cast<size_t>(id)]) / 0.5);
        const double best = std::exp(static_cast<double>(logits[static_cast<size_t>(order[0])]) / 0.5);
        if (sum >= top_p * total || weight < min_p * best) break;
        sum += weight;
        kept.push_back(id);
      }
      Sampler sampler(options([&](auto& o) { o.temperature = 0.5f, o.top_p = top_p, o.min_p = min_p; }));
      const auto counts = draw(sampler, logits, 5000);
      for (const auto& [id, count] : counts) {
        EXPECT_TRUE(std::find(kept.begin(), kept.end(), id) != kept.end()) << id << " of " << kept.size() << " kept";
        const double p = std::exp(static_cast<double>(logits[static_cast<size_t>(id)]) / 0.5) / sum;
        EXPECT_NEAR(count, 5000 * p, 6 * std::sqrt(5000 * p) + 3);
      }
      if (kept.size() < 100) {
        EXPECT_EQ(counts.size(), kept.size()) << top_p << " " << min_p;
      }
    }
  }
}

TEST(Sampler, TheSeedDecidesTheDraws) {
  const std::vector<float> logits(50, 0.0f);
  const auto sequence = [&](uint64_t seed) {
    Sampler sampler(options([&](auto& o) { o.temperature = 1, o.seed = seed; }));
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.sample(logits).id);
    return ids;
  };
  EXPECT_EQ(sequence(5), sequence(5));
  EXPECT_NE(sequence(5), sequence(6));
}

TEST(Sampler, ReportsLogProbabilitiesBeforeAnyOption) {
  Sampler sampler(options([](auto& o) { o.logprobs = 2, o.repetition_penalty = 100; }));
  sampler.observe(std::vector<int32_t>{1});
  const SampledToken token = sampler.sample(std::vector<float>{1, 3, 2});
  const double total = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0));
  EXPECT_EQ(token.id, 2);
  EXPECT_NEAR(token.logprob.value(), 2 - total, 1e-6);
  ASSERT_EQ(token.top_logprobs.size(), 2u);
  EXPECT_EQ(token.top_logprobs[0].first, 1);
  EXPECT_NEAR(token.top_logprobs[0].second, 3 - total, 1e-6);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refused = [](const std::function<void(SamplingOptions&)>& change) {
    return error_text<BatchProcessingError>([&] { Sampler sampler(options(change)); });
  };
  EXPECT_TRUE(contains(refused([](auto& o) { o.temperature = -1; }), "temperature must lie in [0, inf), got -1"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.temperature = NAN; }), "temperature"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.top_k = -1; }), "top_k"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.top_p = 0; }), "top_p must lie in (0, 1], got 0"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.top_p = 1.5f; }), "top_p"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.min_p = -0.1f; }), "min_p"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.repetition_penalty = 0; }), "repetition_penalty"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.repetition_window = -1; }), "repetition_window"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.logprobs = -2; }), "logprobs"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.logit_bias = {{-1, 0.0f}}; }), "id of a logit_bias"));
  EXPECT_TRUE(
      contains(refused([](auto& o) { o.logit_bias = {{1, INFINITY}}; }), "a logit_bias must lie in [-inf, inf)"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.logit_bias = {{1, NAN}}; }), "logit_bias"));
  EXPECT_TRUE(contains(refused([](auto& o) { o.logit_bias = {{1, 0.0f}, {1, 2.0f}}; }), "token id 1 twice"));
}

}  // namespace
}  // namespace tritium
