// CallQueue: a lock for calls that wait for each other. A call from within a call would wait for itself for ever.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace tritium {

class CallQueue {
 public:
  // BatchProcessingError if this thread holds the lock.
  void lock() {
    if (is_held_here()) {
      throw BatchProcessingError(
          "[engine] this call comes from within a call of the same engine, which it would wait for; an operator can "
          "use "
          "another engine");
    }
    mutex_.lock();
    hold();
  }
  bool try_lock() {
    if (is_held_here() || !mutex_.try_lock()) return false;
    hold();
    return true;
  }
  void unlock() {
    holder_.store({}, std::memory_order_relaxed);
    mutex_.unlock();
  }

 private:
  bool is_held_here() const { return holder_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
  void hold() { holder_.store(std::this_thread::get_id(), std::memory_order_relaxed); }

  std::mutex mutex_;
  std::atomic<std::thread::id> holder_ = {};  // a thread asks for its own id only
};

}  // namespace tritium
