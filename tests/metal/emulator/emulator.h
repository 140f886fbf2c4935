// Runs kernels of metal/kernels on the host, a threadgroup at a time, with a fiber for each thread.
#pragma once

#include <cstring>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "lanes.h"

namespace emulator {

// A kernel or its caller did what Metal forbids.
class Fault : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order simdgroups run between two barriers, lanes between two meetings, and threadgroups. A kernel that lacks
// a barrier gives different results, or poison, in one of them.
enum class Order { kForward, kBackward, kShuffled };
inline constexpr Order kOrders[] = {Order::kForward, Order::kBackward, Order::kShuffled};

std::vector<std::string> kernel_names();
const Kernel& find_kernel(const std::string& name);
// Those of the kernel's file.
std::vector<const FunctionConstant*> constants_of(const Kernel& kernel);
std::vector<const Source*> sources();

// Launches take turns.
class Launch {
 public:
  explicit Launch(const std::string& kernel);

  template <class T>
  Launch& buffer(int index, std::vector<T>& values) {
    return bind(index, values.data(), values.size() * sizeof(T));
  }
  template <class T>
  Launch& buffer(int index, const std::vector<T>& values) {
    return bind(index, const_cast<T*>(values.data()), values.size() * sizeof(T));
  }
  Launch& buffer(int index, void* memory, size_t bytes) { return bind(index, memory, bytes); }
  // A buffer that the kernel is not to touch.
  Launch& unused(int index) { return bind(index, nullptr, 0); }
  template <class T>
  Launch& argument(int index, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    arguments_[index].assign(sizeof value, {});
    std::memcpy(arguments_[index].data(), &value, sizeof value);
    return bind(index, arguments_[index].data(), sizeof value);
  }
  template <class T>
  Launch& constant(const std::string& name, T value) {
    return constant(name, &value, sizeof value);
  }
  Launch& constant(const std::string& name, const void* value, size_t bytes);

  void run(Size threadgroups, Size threads, Order order);
  // Threads of the whole grid; threadgroups at its end are smaller.
  void run_threads(Size grid, Size threads, Order order);

 private:
  struct Bound {
    void* memory = nullptr;
    size_t bytes = 0;
    bool used = false;
  };

  Launch& bind(int index, void* memory, size_t bytes);
  std::vector<void*> check(Size threads);

  const Kernel& kernel_;
  std::map<int, Bound> buffers_;
  std::map<int, std::vector<std::byte>> arguments_;
  std::map<std::string, std::vector<std::byte>> constants_;
};

}  // namespace emulator
