// ThreadPool: fork and join over static slices. Workers spin for a short while, then sleep.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace tritium {

// Threads to use by default: performance cores, within the affinity mask and the container's quota.
int default_thread_count();

inline constexpr int kMaxThreads = 1024;

class ThreadPool {
 public:
  // `threads` counts the caller; DeviceError unless it lies in [1, kMaxThreads].
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Splits [0, count) into at most size() slices of nearly equal length and calls
  // body(begin, end, thread) once for each; returns when all are done. The split depends on count
  // and size() alone. The first exception of a body is rethrown here. One call at a time; a body
  // must not call parallel_for of the same pool (DeviceError). DeviceError in the child after fork().
  // Bodies run in the default floating-point environment.
  template <class Body>
  void parallel_for(int64_t count, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(
        count,
        [](void* context, int64_t begin, int64_t end, int thread) {
          (*static_cast<Plain*>(context))(begin, end, thread);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Slice = void (*)(void* context, int64_t begin, int64_t end, int thread);
  void run(int64_t count, Slice slice, void* context);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tritium
