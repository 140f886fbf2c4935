// Samples that arrive one by one: their results, their order, what is bounded, what ends.
#include "engine/sample_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "engine/engine_builder.h"
#include "error_text.h"
#include "tiny_model.h"
#include "tiny_network.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace tritium {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kInputs = 20, kOutputs = 7;
constexpr float kBad = 1e6f;

// No two samples have the same result.
std::shared_ptr<const Model> plain_network(MemoryTensors& tensors) {
  tensors.bit_linear("first", 40, kInputs);
  tensors.bit_linear("second", kOutputs, 40);
  NetworkBuilder builder("plain", {4, 5}, tensors.source);
  const NetworkValue x = builder.ternary_linear(builder.flatten(builder.input()), "first", 40);
  return builder.build(builder.ternary_linear(builder.activation(x, ActivationKind::kRelu), "second", kOutputs));
}

// The CPU backend, with samples that it refuses and a gate before each call.
class WatchedBackend : public InferenceBackend {
 public:
  explicit WatchedBackend(std::shared_ptr<MemoryPool> pool)
      : cpu_(1, select_kernel_set(), std::move(pool), std::nullopt) {}

  DeviceKind device() const override { return cpu_.device(); }
  int threads() const override { return cpu_.threads(); }
  std::string kernel_set() const override { return cpu_.kernel_set(); }
  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override {
    return cpu_.plan(model, options);
  }
  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override {
    return cpu_.optimize_model(std::move(model), options);
  }
  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override { return cpu_.create_cache(prepared); }
  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override {
    return cpu_.execute_batch(prepared, cache, batch);
  }
  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override {
    {
      std::unique_lock lock(mutex_);
      sizes_.push_back(samples);
      changed_.notify_all();
      changed_.wait(lock, [&] { return open_; });
    }
    for (int64_t i = 0; i < samples; ++i) {
      if (x[i * kInputs] == kBad) throw BatchProcessingError("[test] a bad sample");
    }
    cpu_.execute_samples(prepared, x, samples, y);
  }
  std::vector<ModelMemory> model_memory() const override { return cpu_.model_memory(); }
  void trim() override { cpu_.trim(); }
  DeviceLimits measure_limits(size_t bytes) override { return cpu_.measure_limits(bytes); }
  std::string fastest_ternary_format() override { return cpu_.fastest_ternary_format(); }

  void set_open(bool open) {
    std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  void wait_for_call() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !sizes_.empty(); });
  }
  std::vector<int64_t> sizes() {
    std::lock_guard lock(mutex_);
    return sizes_;
  }

 private:
  CpuBackend cpu_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> sizes_;
  bool open_ = true;
};

class SampleStreamTest : public testing::Test {
 protected:
  SampleStreamTest() {
    auto pool = std::make_shared<MemoryPool>(EngineOptions().memory_limit);
    auto watched = std::make_unique<WatchedBackend>(pool);
    backend = watched.get();
    engine = std::make_shared<InferenceEngine>(std::move(watched), pool, EngineSettings());
    x = random_samples(kSamples, kInputs);
    expected.resize(kSamples * kOutputs);
    build_engine({})->infer(model, x, expected);
  }
  std::span<const float> sample(int64_t i) const {
    return std::span(x).subspan(static_cast<size_t>(i * kInputs), kInputs);
  }
  void make_bad(int64_t i) { x[static_cast<size_t>(i * kInputs)] = kBad; }
  testing::AssertionResult is_expected(int64_t i, std::span<const float> y) const {
    if (y.size() == kOutputs && std::equal(y.begin(), y.end(), expected.begin() + i * kOutputs)) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "sample " << i << " has other bits";
  }
  // Pushes all samples and finishes, in a thread of its own.
  std::jthread producer(SampleStream& stream, int64_t count = kSamples) {
    return std::jthread([this, &stream, count] {
      for (int64_t i = 0; i < count; ++i) stream.push(sample(i));
      stream.finish();
    });
  }

  static constexpr int64_t kSamples = 2000;
  MemoryTensors tensors;
  std::shared_ptr<const Model> model = plain_network(tensors);
  WatchedBackend* backend;
  std::shared_ptr<InferenceEngine> engine;
  std::vector<float> x, expected;
};

std::string refused(const auto& action) { return error_text<BatchProcessingError>(action); }

TEST_F(SampleStreamTest, CallsBackInOrderWithTheBitsThatEachSampleHasAlone) {
  for (int64_t buffer : {1, 2, 3, 7, 64, 5000}) {
    int64_t count = 0, wrong = 0;
    SampleStream stream(engine, model, {.buffer_size = buffer}, [&](const SampleResult& result) {
      wrong += result.index != count || !is_expected(count, result.get());
      ++count;
    });
    for (int64_t i = 0; i < kSamples; ++i) stream.push(sample(i));
    stream.finish();
    stream.wait();
    EXPECT_EQ(count, kSamples) << buffer;
    EXPECT_EQ(wrong, 0) << buffer;
  }
}

TEST_F(SampleStreamTest, IteratesInOrderWithTheBitsThatEachSampleHasAlone) {
  static_assert(std::input_iterator<SampleStream::Iterator>);
  static_assert(std::sentinel_for<std::default_sentinel_t, SampleStream::Iterator>);
  for (int64_t buffer : {1, 2, 3, 7, 64, 5000}) {
    SampleStream stream(engine, model, {.buffer_size = buffer});
    const std::jthread pushing = producer(stream);
    int64_t count = 0, wrong = 0;
    for (std::span<const float> y : stream) wrong += !is_expected(count++, y);
    EXPECT_EQ(count, kSamples) << buffer;
    EXPECT_EQ(wrong, 0) << buffer;
  }
}

TEST_F(SampleStreamTest, OneThreadCanPushAndAsk) {
  SampleStream stream(engine, model, {.buffer_size = 8, .max_wait = 0us});
  for (int64_t i = 0; i < 100; ++i) {
    stream.push(sample(i));
    EXPECT_TRUE(is_expected(i, stream.next()->get()));
  }
  stream.finish();
  EXPECT_FALSE(stream.next());
  EXPECT_FALSE(stream.next());
}

TEST_F(SampleStreamTest, SeveralThreadsCanPush) {
  std::vector<std::vector<float>> results, all;
  SampleStream stream(engine, model, {.buffer_size = 16});
  std::vector<std::jthread> pushing;
  for (int64_t first = 0; first < 4; ++first) {
    pushing.emplace_back([this, &stream, first] {
      for (int64_t i = first; i < kSamples; i += 4) stream.push(sample(i));
    });
  }
  for (int64_t i = 0; i < kSamples; ++i) {
    const auto y = stream.next()->get();
    results.emplace_back(y.begin(), y.end());
    all.emplace_back(expected.begin() + i * kOutputs, expected.begin() + (i + 1) * kOutputs);
  }
  std::sort(results.begin(), results.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(results, all);
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
}

TEST_F(SampleStreamTest, AFullMicroBatchWaitsForNothing) {
  SampleStream stream(engine, model, {.buffer_size = 8, .max_wait = 1h});
  for (int64_t i = 0; i < 4; ++i) stream.push(sample(i));
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(is_expected(i, stream.next()->get()));
  EXPECT_EQ(backend->sizes(), std::vector<int64_t>{4});
}

TEST_F(SampleStreamTest, AMicroBatchThatIsNotFullRunsAfterItsWait) {
  SampleStream stream(engine, model, {.buffer_size = 8, .max_wait = 1ms});
  stream.push(sample(0));
  EXPECT_TRUE(is_expected(0, stream.next()->get()));
}

TEST_F(SampleStreamTest, TheLastSamplesWaitForNothing) {
  SampleStream stream(engine, model, {.buffer_size = 64, .max_wait = std::chrono::microseconds::max()});
  for (int64_t i = 0; i < 3; ++i) stream.push(sample(i));
  stream.finish();
  int64_t count = 0;
  for (std::span<const float> y : stream) EXPECT_TRUE(is_expected(count++, y));
  EXPECT_EQ(count, 3);
  EXPECT_EQ(backend->sizes(), std::vector<int64_t>{3});
}

TEST_F(SampleStreamTest, TheBufferBoundsWhatIsUnderWay) {
  SampleStream stream(engine, model, {.buffer_size = 5, .max_wait = 0us});
  int64_t pushed = 0;
  while (stream.try_push(sample(pushed))) ++pushed;
  EXPECT_EQ(pushed, 5);
  EXPECT_TRUE(stream.next());
  EXPECT_FALSE(stream.try_push(sample(5))) << "the result that the consumer has is still under way";
  EXPECT_TRUE(stream.next());
  EXPECT_TRUE(stream.try_push(sample(5)));
  EXPECT_FALSE(stream.try_push(sample(6)));

  std::atomic<bool> went_in{false};
  std::jthread pushing([&] {
    stream.push(sample(6));
    went_in = true;
  });
  EXPECT_FALSE(went_in);
  for (int64_t i = 2; i < 7; ++i) EXPECT_TRUE(is_expected(i, stream.next()->get()));
  pushing.join();
  EXPECT_TRUE(went_in);
}

TEST_F(SampleStreamTest, AnErrorComesWithItsSampleAndTheOthersHaveTheirResults) {
  const std::vector<int64_t> bad{0, 5, 6, 333, 1999};
  for (int64_t i : bad) make_bad(i);
  for (int64_t buffer : {1, 10, 100}) {
    std::vector<int64_t> failed;
    int64_t wrong = 0;
    SampleStream stream(engine, model, {.buffer_size = buffer});
    const std::jthread pushing = producer(stream);
    while (const auto result = stream.next()) {
      if (!result->error) {
        wrong += !is_expected(result->index, result->get());
        continue;
      }
      EXPECT_TRUE(contains(refused([&] { result->get(); }), "a bad sample"));
      EXPECT_TRUE(result->y.empty());
      failed.push_back(result->index);
    }
    EXPECT_EQ(failed, bad) << buffer;
    EXPECT_EQ(wrong, 0) << buffer;
  }
  std::vector<float> y(kOutputs);
  engine->infer(model, sample(1), y);
  EXPECT_TRUE(is_expected(1, y)) << "the engine goes on working";
}

TEST_F(SampleStreamTest, TheIteratorThrowsWhenTheBadSampleHasItsTurn) {
  make_bad(20);
  SampleStream stream(engine, model, {.buffer_size = 16});
  const std::jthread pushing = producer(stream, 40);
  int64_t count = 0;
  EXPECT_TRUE(contains(refused([&] {
                         for (std::span<const float> y : stream) EXPECT_TRUE(is_expected(count++, y));
                       }),
                       "a bad sample"));
  EXPECT_EQ(count, 20);
  for (std::span<const float> y : stream) EXPECT_TRUE(is_expected(++count, y));
  EXPECT_EQ(count, 39) << "whoever asks again goes on after it";
}

TEST_F(SampleStreamTest, ACallbackThatThrowsEndsTheStream) {
  int64_t calls = 0;
  SampleStream stream(engine, model, {.buffer_size = 8}, [&](const SampleResult& result) {
    ++calls;
    if (result.index == 10) throw std::range_error("enough");
  });
  EXPECT_EQ(error_text<std::range_error>([&] {
              for (int64_t i = 0; i < kSamples; ++i) stream.push(sample(i));
            }),
            "enough");
  EXPECT_EQ(error_text<std::range_error>([&] { stream.wait(); }), "enough");
  EXPECT_EQ(calls, 11);
}

TEST_F(SampleStreamTest, ACallbackMayCancelAndPushWhereThereIsRoom) {
  int64_t calls = 0;
  SampleStream* self = nullptr;
  SampleStream stream(engine, model, {.buffer_size = 8, .max_wait = 0us}, [&](const SampleResult& result) {
    ++calls;
    EXPECT_TRUE(is_expected(result.index, result.get()));
    EXPECT_TRUE(contains(refused([&] { self->wait(); }), "a callback cannot wait for itself"));
    if (result.index == 99) return self->cancel();
    EXPECT_TRUE(self->try_push(sample(result.index + 1)));
  });
  self = &stream;
  stream.push(sample(0));
  stream.wait();
  EXPECT_EQ(calls, 100);
}

TEST_F(SampleStreamTest, CancelWakesWhoWaits) {
  backend->set_open(false);
  SampleStream stream(engine, model, {.buffer_size = 2, .max_wait = 0us});
  stream.push(sample(0));
  backend->wait_for_call();
  stream.push(sample(1));
  std::string push_error;
  bool has_result = true;
  {
    std::jthread pushing([&] { push_error = refused([&] { stream.push(sample(2)); }); });
    std::jthread asking([&] { has_result = stream.next().has_value(); });
    stream.cancel();
  }
  EXPECT_TRUE(contains(push_error, "pushed after cancel()"));
  EXPECT_FALSE(has_result);
  EXPECT_TRUE(contains(refused([&] { stream.try_push(sample(2)); }), "pushed after cancel()"));
  backend->set_open(true);
}

TEST_F(SampleStreamTest, CancelDropsWhatDoesNotRunAndTheEndWaitsForWhatDoes) {
  backend->set_open(false);
  std::atomic<int64_t> calls{0};
  {
    SampleStream stream(engine, model, {.buffer_size = 4, .max_wait = 0us}, [&](const SampleResult&) { ++calls; });
    for (int64_t i = 0; i < 4; ++i) stream.push(sample(i));
    backend->wait_for_call();
    stream.cancel();
    backend->set_open(true);
  }
  EXPECT_EQ(backend->sizes().size(), 1u);
  EXPECT_EQ(calls, 0);
}

TEST_F(SampleStreamTest, FinishEndsAWaitForRoomOrForAResult) {
  SampleStream stream(engine, model, {.buffer_size = 1});
  stream.push(sample(0));
  std::string push_error;
  {
    std::jthread pushing([&] { push_error = refused([&] { stream.push(sample(1)); }); });
    stream.finish();
  }
  EXPECT_TRUE(contains(push_error, "pushed after finish()"));
  EXPECT_TRUE(is_expected(0, stream.next()->get()));
  EXPECT_FALSE(stream.next());
}

TEST_F(SampleStreamTest, RefusesWhatCannotBe) {
  EXPECT_TRUE(contains(refused([&] { SampleStream(engine, tiny_model()); }),
                       "'bitnet' is a language model that takes token ids, not float32 samples"));
  EXPECT_TRUE(contains(refused([&] { SampleStream(engine, model, {.buffer_size = 0}); }),
                       "buffer_size must be at least 1, got 0"));
  EXPECT_TRUE(contains(refused([&] { SampleStream(engine, model, {.max_wait = -1us}); }),
                       "max_wait must be at least 0, got -1 microseconds"));
  SampleStream stream(engine, model);
  EXPECT_TRUE(contains(refused([&] { stream.push(std::vector<float>(21)); }), "[4, 5] has 20 numbers, got 21"));
  EXPECT_TRUE(contains(refused([&] { stream.try_push(std::vector<float>(0)); }), "has 20 numbers, got 0"));
  EXPECT_TRUE(contains(refused([&] { stream.wait(); }), "wait() needs a callback"));
  SampleStream calling(engine, model, {}, [](const SampleResult&) {});
  EXPECT_TRUE(contains(refused([&] { calling.next(); }), "results go to the callback"));
}

TEST_F(SampleStreamTest, AModelThatCannotBePreparedIsTheErrorOfEachSample) {
  EngineOptions options;
  options.memory_limit = 1000;
  SampleStream stream(build_engine(options), model, {.buffer_size = 8});
  const std::jthread pushing = producer(stream, 20);
  int64_t failed = 0;
  while (const auto result = stream.next()) {
    failed += error_text<MemoryLimitError>([&] { result->get(); }) != "no error";
  }
  EXPECT_EQ(failed, 20);
}

#ifndef _WIN32
TEST_F(SampleStreamTest, AForkedChildGetsADeviceError) {
  SampleStream stream(engine, model, {.buffer_size = 8});
  stream.push(sample(0));
  EXPECT_TRUE(stream.next());
  const pid_t child = fork();
  if (child == 0) {
    const auto fails = [](const auto& action) {
      return error_text<DeviceError>(action).find("a SampleStream") != std::string::npos;
    };
    const bool right = fails([&] { stream.push(sample(1)); }) && fails([&] { stream.next(); }) &&
                       fails([&] { stream.finish(); }) && fails([&] { stream.cancel(); });
    stream.~SampleStream();
    _exit(right ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}
#endif

}  // namespace
}  // namespace tritium
