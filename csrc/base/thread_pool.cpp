#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/cpu_pause.h"
#include "base/error.h"
#include "base/float_environment.h"
#include "base/process_guard.h"

namespace tritium {
namespace {

// Longer than the system takes to wake a sleeping thread; otherwise, once one thread slept, each call would find the
// others asleep again. The caller, in whose call there is work, waits longer than an idle worker.
constexpr auto kWorkerSpin = std::chrono::microseconds(100);
constexpr auto kCallerSpin = std::chrono::microseconds(500);
constexpr auto kSpinWithoutYield = std::chrono::microseconds(5);  // then the awaited thread may need this core
constexpr int kPausesPerClockRead = 32;

constexpr size_t kCacheLine = 64;  // bytes; two threads that write into one take it from each other

// Lets one thread wait for a condition on atomics that others change: first spinning, then asleep.
class Gate {
 public:
  template <class Condition>
  void wait(std::chrono::microseconds spin_time, Condition condition) {
    if (spin(spin_time, condition)) return;
    std::unique_lock lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, condition);
    --sleepers_;
  }

  // To be called after the change. Change, sleepers_ and condition must be sequentially consistent: either the waiter
  // sees the change, or this sees the waiter.
  void notify() {
    if (sleepers_ == 0) return;
    {
      std::lock_guard lock(mutex_);
    }
    wake_.notify_all();
  }

 private:
  template <class Condition>
  static bool spin(std::chrono::microseconds time, Condition condition) {
    const auto begin = std::chrono::steady_clock::now();
    for (auto now = begin; now - begin < time; now = std::chrono::steady_clock::now()) {
      if (now - begin > kSpinWithoutYield) std::this_thread::yield();
      for (int i = 0; i < kPausesPerClockRead; ++i) {
        if (condition()) return true;
        cpu_pause();
      }
    }
    return condition();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
};

// A call's number and slices in one word, so that a worker without a slice never reads the call's other fields.
constexpr int kSliceBits = 11;
uint64_t ticket_of(uint64_t call, int slices) { return call << kSliceBits | static_cast<uint64_t>(slices); }
int slices_of(uint64_t ticket) { return static_cast<int>(ticket & ((1u << kSliceBits) - 1)); }

}  // namespace

struct ThreadPool::State {
  int size = 1;
  std::chrono::microseconds worker_spin{0};
  std::chrono::microseconds caller_spin{0};
  const ProcessGuard guard;
  std::atomic<bool> busy{false};

  // One call, in one cache line: a worker that sees the ticket has the rest with it.
  alignas(kCacheLine) std::atomic<uint64_t> ticket{0};
  std::atomic<bool> stop{false};
  int64_t count = 0;
  Slice slice = nullptr;
  void* context = nullptr;
  // Slices that other threads have not finished. The caller waits here while workers wait there.
  alignas(kCacheLine) std::atomic<int> pending{0};
  alignas(kCacheLine) std::mutex error_mutex;
  std::exception_ptr error;

  Gate start;
  Gate finish;
  std::vector<std::thread> workers;

  void run_slice(int slices, int thread) noexcept {
    const int64_t length = count / slices;
    const int64_t longer = count % slices;  // the first slices are one longer
    const int64_t begin = length * thread + std::min<int64_t>(thread, longer);
    const int64_t end = begin + length + (thread < longer ? 1 : 0);
    try {
      slice(context, begin, end, thread);
    } catch (...) {
      std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  void work(int thread) {
    const DefaultFloatEnvironment environment;
    uint64_t seen = 0;
    for (;;) {
      start.wait(worker_spin, [&] { return stop || ticket != seen; });
      if (stop) return;
      seen = ticket;
      const int slices = slices_of(seen);
      if (thread >= slices) continue;
      run_slice(slices, thread);
      if (--pending == 0) finish.notify();
    }
  }

  void join() {
    stop = true;
    start.notify();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > kMaxThreads) {
    throw DeviceError(concat("[threads] ", threads, " threads asked for; possible are 1 to ", kMaxThreads));
  }
  State* state = state_.get();
  state->size = threads;
  // A spinning thread would only keep others from a core that they share.
  if (static_cast<unsigned>(threads) <= std::thread::hardware_concurrency()) {
    state->worker_spin = kWorkerSpin;
    state->caller_spin = kCallerSpin;
  }
  state->workers.reserve(threads - 1);
  try {
    for (int thread = 1; thread < threads; ++thread) {
      state->workers.emplace_back([state, thread] { state->work(thread); });
    }
  } catch (const std::system_error& error) {
    const size_t started = state->workers.size() + 1;
    state->join();
    throw DeviceError(
        concat("[threads] ", threads, " threads asked for, ", started, " could be started: ", error.what()));
  }
}

ThreadPool::~ThreadPool() {
  if (state_->guard.is_owner()) {
    state_->join();
  } else {
    // The workers stayed in the parent process: nothing here can be joined, detached or destroyed safely.
    static_cast<void>(state_.release());
  }
}

int ThreadPool::size() const { return state_->size; }

void ThreadPool::run(int64_t count, Slice slice, void* context) {
  State& state = *state_;
  state.guard.check("the thread pool");
  if (count <= 0) return;
  if (state.busy.exchange(true)) throw DeviceError("[threads] the pool already runs a call; one at a time");

  const DefaultFloatEnvironment environment;
  const int slices = static_cast<int>(std::min<int64_t>(count, state.size));
  state.count = count;
  state.slice = slice;
  state.context = context;
  if (slices > 1) {
    state.pending = slices - 1;
    state.ticket = ticket_of((state.ticket >> kSliceBits) + 1, slices);
    state.start.notify();
  }
  state.run_slice(slices, 0);
  if (slices > 1) state.finish.wait(state.caller_spin, [&] { return state.pending == 0; });

  const std::exception_ptr error = std::exchange(state.error, nullptr);
  state.busy = false;
  if (error) std::rethrow_exception(error);
}

}  // namespace tritium
