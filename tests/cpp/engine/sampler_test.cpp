#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

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
}

}  // namespace
}  // namespace tritium
