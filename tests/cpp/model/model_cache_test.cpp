#include "model/model_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "error_text.h"
#include "tiny_network.h"

namespace tritium {
namespace {

// A model of 40 bytes of trits and 4 of their scale; its tensors are never read.
std::shared_ptr<const Model> small_model() {
  MemoryTensors tensors;
  tensors.bit_linear("a", 8, 5);
  NetworkBuilder builder("small", {5}, tensors.source);
  return builder.build(builder.ternary_linear(builder.input(), "a", 8));
}
constexpr uint64_t kBytes = 44;

TEST(ModelCache, LoadsAModelOnce) {
  ModelCache cache(2, 1000);
  int loads = 0;
  const auto load = [&] { return ++loads, small_model(); };
  const auto first = cache.get_or_load("a", load);
  EXPECT_EQ(cache.get_or_load("a", load), first);
  EXPECT_EQ(loads, 1);
  EXPECT_TRUE(cache.contains("a"));
  EXPECT_FALSE(cache.contains("b"));
  const ModelCacheStatistics statistics = cache.statistics();
  EXPECT_EQ(statistics.hits, 1u);
  EXPECT_EQ(statistics.misses, 1u);
  EXPECT_EQ(statistics.evictions, 0u);
  EXPECT_EQ(statistics.entries, 1u);
  EXPECT_EQ(statistics.bytes, kBytes);
  EXPECT_EQ(first->stored_bytes(), static_cast<int64_t>(kBytes));
}

TEST(ModelCache, TheOneUsedLongestAgoMakesRoomByNumber) {
  ModelCache cache(2, 1000);
  cache.get_or_load("a", small_model);
  cache.get_or_load("b", small_model);
  cache.get_or_load("a", small_model);
  cache.get_or_load("c", small_model);
  EXPECT_TRUE(cache.contains("a"));
  EXPECT_FALSE(cache.contains("b"));
  EXPECT_TRUE(cache.contains("c"));
  EXPECT_EQ(cache.statistics().evictions, 1u);
}

TEST(ModelCache, AndByBytes) {
  ModelCache cache(100, 3 * kBytes);
  for (const char* key : {"a", "b", "c", "d"}) cache.get_or_load(key, small_model);
  EXPECT_FALSE(cache.contains("a"));
  EXPECT_TRUE(cache.contains("b"));
  EXPECT_EQ(cache.statistics().bytes, 3 * kBytes);
}

TEST(ModelCache, WhatIsInUseStays) {
  ModelCache cache(2, 1000);
  const auto held = cache.get_or_load("a", small_model);
  for (const char* key : {"b", "c", "d"}) cache.get_or_load(key, small_model);
  EXPECT_TRUE(cache.contains("a"));
  EXPECT_TRUE(cache.contains("d"));
  const auto other = cache.get_or_load("d", small_model);
  const std::string error = error_text<MemoryLimitError>([&] { cache.get_or_load("e", small_model); });
  EXPECT_TRUE(contains(error, "'e' has 44 bytes; 1000 bytes and 2 models may be kept, of which 88 bytes and 2 models"));
  EXPECT_FALSE(cache.contains("e"));
  EXPECT_EQ(cache.get_or_load("a", small_model), held);
}

TEST(ModelCache, WhatCannotFitIsRefusedAndEvictsNothing) {
  ModelCache cache(2, kBytes - 1);
  EXPECT_TRUE(contains(error_text<MemoryLimitError>([&] { cache.get_or_load("a", small_model); }),
                       "'a' has 44 bytes; 43 bytes and 2 models may be kept"));
  EXPECT_EQ(cache.statistics().entries, 0u);
  ModelCache two(3, 2 * kBytes);
  const auto held = two.get_or_load("a", small_model);
  two.get_or_load("b", small_model);
  EXPECT_THROW(two.get_or_load_item("c", [] { return ModelCache::Item{small_model(), kBytes + 1}; }), MemoryLimitError);
  EXPECT_TRUE(two.contains("b"));
  EXPECT_THROW(ModelCache(0, 1), MemoryLimitError);
  EXPECT_THROW(ModelCache(1, 0), MemoryLimitError);
}

TEST(ModelCache, CallersThatComeMeanwhileWait) {
  ModelCache cache(4, 1000);
  std::atomic<int> loads{0}, different{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      while (!go) std::this_thread::yield();
      for (int round = 0; round < 200; ++round) {
        const std::string key = std::to_string((i + round) % 3);
        const auto model = cache.get_or_load(key, [&] {
          ++loads;
          std::this_thread::yield();
          return small_model();
        });
        different += cache.get_or_load(key, small_model) != model;
      }
    });
  }
  go = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(loads, 3);
  EXPECT_EQ(different, 0);
  EXPECT_EQ(cache.statistics().misses, 3u);
  EXPECT_EQ(cache.statistics().hits, 2u * 8 * 200 - 3);
}

TEST(ModelCache, AFailureReachesAllThatWaitAndIsNotKept) {
  ModelCache cache(4, 1000);
  std::atomic<int> failures{0};
  std::vector<std::thread> callers;
  std::atomic<bool> loading{false};
  std::atomic<int> waiting{0};
  const auto expect_failure = [&](const auto& load) {
    const std::string text = error_text<ModelLoadError>([&] { cache.get_or_load("a", load); });
    failures += text == "no such model";
  };
  callers.emplace_back([&] {
    expect_failure([&]() -> std::shared_ptr<const Model> {
      loading = true;
      while (waiting < 3) std::this_thread::yield();
      throw ModelLoadError("no such model");
    });
  });
  while (!loading) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      ++waiting;
      // Who comes after the failure loads again, and fails by itself.
      expect_failure([]() -> std::shared_ptr<const Model> { throw ModelLoadError("no such model"); });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failures, 4);
  EXPECT_FALSE(cache.contains("a"));
  EXPECT_TRUE(cache.get_or_load("a", small_model));
}

TEST(ModelCache, ALoadThatAsksForItselfIsAnError) {
  ModelCache cache(4, 1000);
  const auto load = [&] { return cache.get_or_load("a", small_model); };
  EXPECT_TRUE(
      contains(error_text<ModelLoadError>([&] { cache.get_or_load("a", load); }), "loading 'a' asks the cache"));
  EXPECT_TRUE(cache.get_or_load("b", load));
}

TEST(ModelCache, ForgetsWhatItHas) {
  ModelCache cache(4, 1000);
  const auto held = cache.get_or_load("a", small_model);
  cache.get_or_load("b", small_model);
  cache.clear();
  EXPECT_EQ(cache.statistics().entries, 0u);
  EXPECT_EQ(cache.statistics().bytes, 0u);
  EXPECT_EQ(held->name(), "small");
  EXPECT_NE(cache.get_or_load("a", small_model), held);
}

}  // namespace
}  // namespace tritium
