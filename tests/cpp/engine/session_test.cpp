#include "engine/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "engine/engine_builder.h"
#include "error_text.h"
#include "tiny_model.h"

namespace tritium {
namespace {

std::shared_ptr<InferenceEngine> make_engine(int threads = 1, size_t limit = SIZE_MAX) {
  EngineOptions options;
  options.threads = threads;
  options.memory_limit = limit;
  return build_engine(options);
}

// Greedy or sampled tokens after a prompt.
std::vector<int32_t> generate(Session& session, std::vector<int32_t> prompt, int count,
                              const SamplingOptions& sampling = {}) {
  const SequenceId id = session.open(sampling);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(session.step({{id, prompt, true}})[0].id);
    prompt = {tokens.back()};
  }
  session.close(id);
  return tokens;
}

TEST(Session, GreedyTokensAreTheArgmaxOfTheLogits) {
  Session session(make_engine(), tiny_model(), {.max_sequences = 2});
  const auto prompt = random_tokens(20);
  const auto tokens = generate(session, prompt, 10);
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), tokens.begin(), tokens.end());
  const SequenceId id = session.open({});
  const FloatMatrix logits = session.logits(id, all);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float* row = logits.data.get() + static_cast<int64_t>(prompt.size() + i - 1) * logits.columns;
    EXPECT_EQ(tokens[i], std::max_element(row, row + logits.columns) - row);
  }
  EXPECT_EQ(session.length(id), 30);
}

TEST(Session, GivesTheSameTokensForEveryThreadCount) {
  Session one(make_engine(1), tiny_model(), {.max_sequences = 1});
  Session two(make_engine(2), tiny_model(), {.max_sequences = 1});
  SamplingOptions sampling;
  sampling.temperature = 1;
  sampling.seed = 11;
  EXPECT_EQ(generate(one, random_tokens(30), 60, sampling), generate(two, random_tokens(30), 60, sampling));
}

// Every way to sample that asks for few candidates, and two that need all logits.
std::vector<SamplingOptions> ways_to_sample() {
  std::vector<SamplingOptions> ways(9);
  ways[1].repetition_penalty = 1.7f;
  ways[2].temperature = 1, ways[2].top_k = 7;
  ways[3].temperature = 1, ways[3].min_p = 0.3f;
  ways[4].temperature = 2, ways[4].top_k = 20, ways[4].top_p = 0.7f, ways[4].min_p = 0.1f;
  ways[5].logit_bias = {{3, 5.0f}, {17, -std::numeric_limits<float>::infinity()}, {60, 40.0f}};
  ways[6].temperature = 1.5f, ways[6].min_p = 0.05f, ways[6].repetition_penalty = 0.8f;
  ways[6].logit_bias = {{2, 30.0f}, {9, -3.0f}};
  ways[7].temperature = 1;
  ways[8].temperature = 1, ways[8].top_p = 0.8f;
  return ways;
}

TEST(Session, GivesTheSameTokensWithAScreenedHeadAsWithAFullOne) {
  Session full(make_engine(), tiny_model(), {.max_sequences = 9, .head = HeadFormat::kFull});
  for (HeadFormat format : {HeadFormat::kScreened, HeadFormat::kScreened8}) {
    for (int threads : {1, 2}) {
      Session screened(make_engine(threads), tiny_model(), {.max_sequences = 9, .head = format});
      for (const SamplingOptions& sampling : ways_to_sample()) {
        EXPECT_EQ(generate(screened, random_tokens(20), 50, sampling), generate(full, random_tokens(20), 50, sampling));
      }
      const HeadStatistics statistics = screened.head_statistics();
      EXPECT_EQ(statistics.tokens, 7 * 50);
      EXPECT_EQ(statistics.full_tokens, 0);
      EXPECT_LT(statistics.rows, 7 * 50 * 101);
    }
  }
  EXPECT_EQ(full.head_statistics().tokens, 0);
}

TEST(Session, AScreenedHeadAnswersSeveralSequencesOfOneStep) {
  Session full(make_engine(), tiny_model(), {.max_sequences = 12, .head = HeadFormat::kFull});
  Session screened(make_engine(2), tiny_model(), {.max_sequences = 12, .head = HeadFormat::kScreened});
  std::vector<std::vector<int32_t>> tokens[2];
  for (Session* session : {&full, &screened}) {
    std::vector<Feed> feeds;
    for (const SamplingOptions& sampling : ways_to_sample()) {
      feeds.push_back({session->open(sampling), random_tokens(20, static_cast<uint32_t>(feeds.size())), true});
    }
    for (int i = 0; i < 3; ++i) feeds.push_back({session->open({}), random_tokens(9 + static_cast<size_t>(i)), true});
    for (int step = 0; step < 20; ++step) {
      std::vector<int32_t>& ids = tokens[session == &full ? 0 : 1].emplace_back();
      for (const SampledToken& token : session->step(feeds)) ids.push_back(token.id);
      for (size_t i = 0; i < feeds.size(); ++i) feeds[i].token_ids = {ids[i]};
    }
  }
  EXPECT_EQ(tokens[0], tokens[1]);
}

TEST(Session, AnApproximateHeadGivesLogitsNearThoseOfTheFullOne) {
  Session full(make_engine(), tiny_model(), {.max_sequences = 1, .head = HeadFormat::kFull});
  const auto tokens = random_tokens(20);
  const FloatMatrix expected = full.logits(full.open({}), tokens);
  for (const auto& [format, tolerance] : {std::pair{HeadFormat::kInt8, 0.3f}, {HeadFormat::kInt4, 5.0f}}) {
    Session session(make_engine(), tiny_model(), {.max_sequences = 1, .head = format});
    const FloatMatrix got = session.logits(session.open({}), tokens);
    float largest = 0;
    for (int64_t i = 0; i < got.rows * got.columns; ++i) {
      largest = std::max(largest, std::fabs(got.data[static_cast<size_t>(i)] - expected.data[static_cast<size_t>(i)]));
    }
    EXPECT_LT(largest, tolerance);
    EXPECT_GT(largest, tolerance / 100);
  }
}

TEST(Session, RefusesABiasOutsideTheVocabulary) {
  Session session(make_engine(), tiny_model(), {.max_sequences = 1});
  SamplingOptions sampling;
  sampling.logit_bias = {{101, 1.0f}};
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { session.open(sampling); }),
                       "token id 101, which lies outside [0, 101)"));
}

TEST(Session, GivesTheSameTokensAloneAndTogether) {
  Session session(make_engine(2), tiny_model(), {.max_sequences = 3});
  const std::vector<std::vector<int32_t>> prompts = {random_tokens(5, 1), random_tokens(150, 2), random_tokens(151, 3)};
  std::vector<std::vector<int32_t>> alone;
  for (const auto& prompt : prompts) alone.push_back(generate(session, prompt, 8));
  std::vector<Feed> feeds;
  for (const auto& prompt : prompts) feeds.push_back({session.open({}), prompt, true});
  std::vector<std::vector<int32_t>> together(3);
  for (int i = 0; i < 8; ++i) {
    const auto results = session.step(feeds);  // 306 tokens at first, more than one pass
    for (size_t s = 0; s < feeds.size(); ++s) {
      together[s].push_back(results[s].id);
      feeds[s].token_ids = {results[s].id};
    }
  }
  EXPECT_EQ(together, alone);
}

TEST(Session, SequencesJoinAndLeaveARunningLoop) {
  Session session(make_engine(2), tiny_model(), {.max_sequences = 3});
  const std::vector<size_t> lengths = {1, 63, 64, 65, 130, 257, 290};
  std::vector<std::vector<int32_t>> prompts, expected, got(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    prompts.push_back(random_tokens(lengths[i], static_cast<uint32_t>(i)));
    expected.push_back(generate(session, prompts[i], static_cast<int>(i) + 2));
  }
  struct Running {
    size_t job;
    SequenceId id;
    size_t fed = 0;
  };
  std::vector<Running> running;
  for (size_t next = 0; next < prompts.size() || !running.empty();) {
    if (next < prompts.size() && running.size() < 3) {  // one joins a step
      running.push_back({next, session.open({})});
      ++next;
    }
    std::vector<Feed> feeds;
    for (Running& entry : running) {
      const std::vector<int32_t>& prompt = prompts[entry.job];
      if (entry.fed == prompt.size()) {
        feeds.push_back({entry.id, {got[entry.job].back()}, true});
        continue;
      }
      const size_t count = std::min<size_t>(41, prompt.size() - entry.fed);  // prompts come in chunks
      const auto first = prompt.begin() + static_cast<std::ptrdiff_t>(entry.fed);
      entry.fed += count;
      feeds.push_back({entry.id, {first, first + static_cast<std::ptrdiff_t>(count)}, entry.fed == prompt.size()});
    }
    const auto results = session.step(feeds);
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].id >= 0) got[running[i].job].push_back(results[i].id);
    }
    std::erase_if(running, [&](const Running& entry) {
      const bool done = got[entry.job].size() == expected[entry.job].size();
      if (done) session.close(entry.id);
      return done;
    });
  }
  EXPECT_EQ(got, expected);
}

TEST(Session, SamplesOnlyWhereItIsAsked) {
  Session session(make_engine(), tiny_model(), {.max_sequences = 2});
  const SequenceId a = session.open({});
  const SequenceId b = session.open({});
  const auto results = session.step({{a, {1, 2}, false}, {b, {3}, true}});
  EXPECT_EQ(results[0].id, -1);
  EXPECT_GE(results[1].id, 0);
}

TEST(Session, RefusesABadFeedAndChangesNoSequence) {
  Session session(make_engine(), tiny_model(), {.context_size = 20, .max_sequences = 2});
  const SequenceId a = session.open({});
  const SequenceId b = session.open({});
  const auto refused = [&](const std::vector<Feed>& feeds) {
    const std::string text = error_text<BatchProcessingError>([&] { session.step(feeds); });
    EXPECT_EQ(session.length(a), 0);
    EXPECT_EQ(session.length(b), 0);
    return text;
  };
  EXPECT_TRUE(contains(refused({{a, {1}, true}, {b, {101}, true}}), "token id 101"));
  EXPECT_TRUE(contains(refused({{a, {1}, true}, {b, {}, true}}), "0 tokens"));
  EXPECT_TRUE(contains(refused({{a, {1}, true}, {a, {1}, true}}), "fed twice"));
  EXPECT_TRUE(contains(refused({{a, {1}, true}, {77, {1}, true}}), "sequence 77 is not open"));
  EXPECT_TRUE(contains(refused({{a, {1}, true}, {b, std::vector<int32_t>(21, 1), true}}),
                       "0 + 21 tokens do not fit the context of 20"));
  EXPECT_TRUE(session.step({}).empty());
}

TEST(Session, HoldsAsManySequencesAsItWasMadeFor) {
  Session session(make_engine(), tiny_model(), {.context_size = 20, .max_sequences = 2});
  const SequenceId a = session.open({});
  session.open({});
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { session.open({}); }), "2 of 2 sequences are open"));
  session.close(a);
  session.close(a);
  session.open({});
}

TEST(Session, AForkGoesOnAsTheOriginalWould) {
  Session session(make_engine(), tiny_model(), {.max_sequences = 2});
  const auto prompt = random_tokens(70);
  const auto expected = generate(session, prompt, 6);
  const SequenceId a = session.open({});
  session.step({{a, {prompt.begin(), prompt.end() - 1}, false}});
  const SequenceId b = session.fork(a, {});
  session.close(a);
  std::vector<int32_t> tokens;
  int32_t next = prompt.back();
  for (int i = 0; i < 6; ++i) tokens.push_back(next = session.step({{b, {next}, true}})[0].id);
  EXPECT_EQ(tokens, expected);
}

TEST(Session, ATruncatedSequenceRepeatsItself) {
  Session session(make_engine(), tiny_model(), {.max_sequences = 1});
  const SequenceId id = session.open({});
  const auto prompt = random_tokens(10);
  const int32_t first = session.step({{id, prompt, true}})[0].id;
  session.step({{id, {first, 5, 6}, false}});
  session.truncate(id, 9);
  EXPECT_EQ(session.step({{id, {prompt.back()}, true}})[0].id, first);
}

TEST(Session, CallsFromSeveralThreadsQueue) {
  auto engine = make_engine(2);
  Session session(engine, tiny_model(), {.max_sequences = 4});
  const auto expected = generate(session, random_tokens(10), 20);
  std::vector<std::thread> callers;
  std::vector<std::vector<int32_t>> results(4);
  for (size_t i = 0; i < 4; ++i)
    callers.emplace_back([&, i] { results[i] = generate(session, random_tokens(10), 20); });
  for (std::thread& caller : callers) caller.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

TEST(Session, FreesEverythingAtTheEnd) {
  auto engine = make_engine();
  {
    Session session(engine, tiny_model(), {.max_sequences = 1});
    generate(session, random_tokens(10), 2);
    session.step({{session.open({}), random_tokens(100), true}});
    EXPECT_EQ(engine->memory_usage().kv_cache, static_cast<size_t>(2 * 2 * 2 * 2 * 10 * 64 * 2));
  }
  EXPECT_EQ(engine->memory_usage().total.active, 0u);
}

TEST(InferenceEngine, InfersTheLogitsOfASession) {
  auto engine = make_engine();
  const auto model = tiny_model();
  const auto tokens = random_tokens(290);
  Session session(engine, model, {.max_sequences = 1});
  const FloatMatrix expected = session.logits(session.open({}), tokens);
  const FloatMatrix got = engine->infer(model, tokens);
  ASSERT_EQ(got.rows, 290);
  EXPECT_EQ(std::memcmp(got.data.get(), expected.data.get(), 290 * 101 * 4), 0);
}

TEST(InferenceEngine, RefusesInputsThatDoNotFit) {
  auto engine = make_engine();
  const auto model = tiny_model();
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { engine->infer(model, std::span<const int32_t>()); }),
                       "0 tokens given"));
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { engine->infer(model, std::vector<int32_t>(301, 0)); }),
                       "301 tokens given"));
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { engine->infer(model, std::vector<int32_t>{500}); }),
                       "token id 500"));
  EXPECT_TRUE(contains(
      error_text<BatchProcessingError>([&] { Session(engine, model, {.context_size = 301, .max_sequences = 1}); }),
      "[1, 300]"));
  EXPECT_TRUE(contains(
      error_text<BatchProcessingError>([&] { Session(engine, model, {.context_size = 0, .max_sequences = 1}); }),
      "got 0"));
  EXPECT_TRUE(contains(
      error_text<BatchProcessingError>([&] { Session(engine, model, {.context_size = 10, .max_sequences = 0}); }),
      "max_sequences"));
}

TEST(InferenceEngine, KeepsToItsMemoryLimit) {
  auto engine = make_engine(1, 50000);
  EXPECT_TRUE(
      contains(error_text<MemoryLimitError>([&] { Session(engine, tiny_model(), {.max_sequences = 1}); }), "50000"));
  EXPECT_EQ(engine->memory_usage().total.peak, 0u);
}

TEST(BuildEngine, RefusesDevicesThatThereAreNot) {
  EngineOptions options;
  options.device = "mlx";
  EXPECT_TRUE(contains(error_text<DeviceError>([&] { build_engine(options); }), "mlx is not in this build; available"));
  options.device = "tpu";
  EXPECT_TRUE(contains(error_text<DeviceError>([&] { build_engine(options); }), "unknown device 'tpu'"));
  options.device = "cpu";
  EXPECT_EQ(build_engine(options)->device(), DeviceKind::kCpu);
}

}  // namespace
}  // namespace tritium
