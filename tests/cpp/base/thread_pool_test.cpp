#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "error_text.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define TRITIUM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TRITIUM_TSAN 1
#endif
#endif

namespace tritium {
namespace {

TEST(ThreadPool, CallsTheBodyOnceForEveryIndex) {
  for (int threads : {1, 2, 3, 4, 7, 16}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 100, 1000, 4099}) {
      std::vector<int> calls(count, 0);
      pool.parallel_for(count, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) ++calls[i];
      });
      EXPECT_EQ(std::accumulate(calls.begin(), calls.end(), int64_t{0}), count);
      EXPECT_EQ(std::count(calls.begin(), calls.end(), 1), count) << threads << " threads, count " << count;
    }
  }
}

TEST(ThreadPool, SplitsIntoSlicesOfNearlyEqualLengthInOrderOfTheThreads) {
  ThreadPool pool(4);
  for (int64_t count : {1, 3, 4, 5, 10, 4099}) {
    std::vector<std::pair<int64_t, int64_t>> slices(4, {-1, -1});
    pool.parallel_for(count, [&](int64_t begin, int64_t end, int thread) { slices[thread] = {begin, end}; });
    int64_t next = 0;
    for (int thread = 0; thread < std::min<int64_t>(4, count); ++thread) {
      const auto [begin, end] = slices[thread];
      EXPECT_EQ(begin, next);
      EXPECT_GE(end - begin, count / 4);
      EXPECT_LE(end - begin, count / 4 + 1);
      next = end;
    }
    EXPECT_EQ(next, count);
  }
}

TEST(ThreadPool, SplitsTheLargestCountWithoutOverflow) {
  ThreadPool pool(3);
  constexpr int64_t kCount = std::numeric_limits<int64_t>::max();
  std::vector<std::pair<int64_t, int64_t>> slices(3);
  pool.parallel_for(kCount, [&](int64_t begin, int64_t end, int thread) { slices[thread] = {begin, end}; });
  EXPECT_EQ(slices[0].first, 0);
  EXPECT_EQ(slices[0].second, slices[1].first);
  EXPECT_EQ(slices[1].second, slices[2].first);
  EXPECT_EQ(slices[2].second, kCount);
}

TEST(ThreadPool, RunsInTheCallerWhenThereIsOneSlice) {
  const auto caller = std::this_thread::get_id();
  for (const auto& [threads, count] : {std::pair{1, 100}, std::pair{4, 1}}) {
    ThreadPool pool(threads);
    int calls = 0;
    pool.parallel_for(count, [&](int64_t begin, int64_t end, int thread) {
      ++calls;
      EXPECT_EQ(std::this_thread::get_id(), caller);
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, count);
      EXPECT_EQ(thread, 0);
    });
    EXPECT_EQ(calls, 1);
  }
}

TEST(ThreadPool, RunsTheSlicesAtTheSameTime) {
  ThreadPool pool(3);
  std::atomic<int> arrived{0};
  pool.parallel_for(3, [&](int64_t, int64_t, int) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPool, RunsManySmallCallsOfChangingLength) {
  ThreadPool pool(4);
  std::vector<int64_t> sums(4);
  int64_t expected = 0;
  for (int64_t call = 0; call < 20000; ++call) {
    const int64_t count = call % 7;
    pool.parallel_for(count, [&](int64_t begin, int64_t end, int thread) { sums[thread] += end - begin; });
    expected += count;
  }
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}), expected);
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(2);
  for (int call = 0; call < 5; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> calls{0};
    pool.parallel_for(2, [&](int64_t, int64_t, int) { ++calls; });
    EXPECT_EQ(calls, 2);
  }
}

TEST(ThreadPool, WaitsForSlowSlices) {
  ThreadPool pool(2);
  std::atomic<bool> done{false};
  pool.parallel_for(2, [&](int64_t, int64_t, int thread) {
    if (thread == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    done = true;
  });
  EXPECT_TRUE(done);
}

TEST(ThreadPool, RethrowsTheExceptionOfAnySliceAndStaysUsable) {
  ThreadPool pool(3);
  for (int thrower = 0; thrower < 3; ++thrower) {
    std::atomic<int> finished{0};
    const auto fail = [&](int64_t, int64_t, int thread) {
      if (thread == thrower) throw ModelLoadError("slice " + std::to_string(thread));
      ++finished;
    };
    EXPECT_EQ(error_text<ModelLoadError>([&] { pool.parallel_for(3, fail); }), "slice " + std::to_string(thrower));
    EXPECT_EQ(finished, 2) << "the other slices run to their end";
  }
  EXPECT_THROW(pool.parallel_for(3, [](int64_t, int64_t, int) { throw std::out_of_range("all"); }), std::out_of_range);
  EXPECT_THROW(pool.parallel_for(1, [](int64_t, int64_t, int) { throw 7; }), int);
  pool.parallel_for(3, [](int64_t, int64_t, int) {});
}

TEST(ThreadPool, RefusesACallInsideItsOwnBody) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    EXPECT_THROW(
        pool.parallel_for(5, [&](int64_t, int64_t, int) { pool.parallel_for(5, [](int64_t, int64_t, int) {}); }),
        DeviceError);
    pool.parallel_for(5, [](int64_t, int64_t, int) {});
  }
}

TEST(ThreadPool, RunsAnotherPoolInsideItsBody) {
  ThreadPool outer(2);
  std::atomic<int64_t> sum{0};
  outer.parallel_for(4, [&](int64_t begin, int64_t end, int) {
    ThreadPool inner(2);
    for (int64_t i = begin; i < end; ++i) {
      inner.parallel_for(10, [&](int64_t first, int64_t last, int) { sum += last - first; });
    }
  });
  EXPECT_EQ(sum, 40);
}

TEST(ThreadPool, LetsSeveralPoolsRunBesideEachOther) {
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> users;
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&] {
      ThreadPool pool(3);
      for (int call = 0; call < 200; ++call) {
        pool.parallel_for(9, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_EQ(sum, 4 * 200 * 9);
}

TEST(ThreadPool, StartsAndEndsWithoutACall) {
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ThreadPool(4).size(), 4);
}

TEST(ThreadPool, RefusesThreadCountsOutsideItsRange) {
  for (int threads : {-1, 0, kMaxThreads + 1}) {
    EXPECT_EQ(error_text<DeviceError>([&] { ThreadPool pool(threads); }),
              concat("[threads] ", threads, " threads asked for; possible are 1 to 1024"));
  }
}

TEST(ThreadPool, HidesAChangedFloatingPointEnvironmentFromBodies) {
#ifdef __SSE__
  ThreadPool pool(2);
  const unsigned before = _mm_getcsr();
  const unsigned flushing = before | 0x8040;  // flush to zero, denormals are zero
  _mm_setcsr(flushing);
  std::vector<float> halves(2);
  volatile float smallest_normal = std::numeric_limits<float>::min();
  pool.parallel_for(2, [&](int64_t, int64_t, int thread) { halves[thread] = smallest_normal * 0.5f; });
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_GT(halves[0], 0.0f);
  EXPECT_GT(halves[1], 0.0f);
  EXPECT_EQ(after & 0x8040, 0x8040u) << "the caller's environment comes back";
#else
  GTEST_SKIP() << "needs SSE control registers to change the environment";
#endif
}

TEST(ThreadPool, GivesADeviceErrorInAForkedChildAndLetsItEnd) {
#if defined(_WIN32)
  GTEST_SKIP() << "Windows has no fork()";
#elif defined(TRITIUM_TSAN)
  GTEST_SKIP() << "ThreadSanitizer does not support threads after fork()";
#else
  for (int threads : {1, 4}) {
    auto pool = std::make_unique<ThreadPool>(threads);
    pool->parallel_for(threads, [](int64_t, int64_t, int) {});
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);  // a hang ends as a signal
      int code = 1;
      try {
        pool->parallel_for(4, [](int64_t, int64_t, int) {});
      } catch (const DeviceError& error) {
        code = std::string(error.what()).find("fork") == std::string::npos ? 2 : 0;
      }
      pool.reset();
      ThreadPool fresh(2);  // the child may make its own
      std::atomic<int> calls{0};
      fresh.parallel_for(2, [&](int64_t, int64_t, int) { ++calls; });
      _exit(calls == 2 ? code : 3);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    pool->parallel_for(4, [](int64_t, int64_t, int) {});  // the parent's pool still works
  }
#endif
}

TEST(DefaultThreadCount, IsAtLeastOneAndNotMoreThanTheCpus) {
  EXPECT_GE(default_thread_count(), 1);
  EXPECT_LE(default_thread_count(), std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace tritium
