#include "emulator.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>

#include "fiber.h"

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define EMULATOR_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr size_t kMaxThreadgroupBytes = 32 * 1024;
constexpr size_t kStackBytes = 128 * 1024;
constexpr int kPoison = 0xFF;  // NaN as a float, -1 as an integer

struct Memory {
  void* memory;
  size_t bytes;
};

// Filled while the program starts.
std::map<std::string, const Kernel*>& kernels() {
  static std::map<std::string, const Kernel*> table;
  return table;
}
std::vector<const FunctionConstant*>& function_constants() {
  static std::vector<const FunctionConstant*> table;
  return table;
}
std::vector<const Source*>& source_table() {
  static std::vector<const Source*> table;
  return table;
}

using ConstantValues = std::map<std::string, std::vector<std::byte>>;

// By kernel; where an array lies is known from the first time on that a thread passes its declaration.
std::map<const Kernel*, std::vector<Memory>> threadgroup_arrays;

class Stack {
 public:
  Stack() : memory_(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
  }
  Stack(Stack&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  ~Stack() {
    if (memory_) munmap(memory_, kStackBytes);
  }
  void* memory() const { return memory_; }

 private:
  void* memory_;
};

enum class State { kReady, kAtMeeting, kAtBarrier, kReturned };

struct Lane {
  Fiber fiber;
  State state;
  uint32_t index;
  Meeting meeting;  // or the line of a barrier
  const void* value;
  size_t size;
  void* all;
  uint32_t live;
  void* fake_stack;
};

class Threadgroup;
Threadgroup* running = nullptr;

std::string describe(const Meeting& meeting) {
  return std::string(meeting.name) + " (line " + std::to_string(meeting.line) + ")";
}

class Threadgroup {
 public:
  // `size` is threads, or less at the end of a grid.
  Threadgroup(const Kernel& kernel, void* const* buffers, const ConstantValues& constants, Size grid, Size threads,
              Size size)
      : kernel_(kernel),
        buffers_(buffers),
        constants_(constants),
        grid_(grid),
        threads_(threads),
        size_(size),
        lanes_(size.volume()) {
    static std::vector<Stack> kept;
    while (kept.size() < lanes_.size()) kept.emplace_back();
    stacks_ = kept.data();
  }

  // Runs each simdgroup as far as it gets before another has its turn, in the order of `lanes`: what must not run ahead
  // does. Between two meetings the lanes of a simdgroup run in that order, too.
  void run(Size position, const std::vector<uint32_t>& lanes) {
    position_ = position;
    for (const Memory& array : threadgroup_arrays[&kernel_]) std::memset(array.memory, kPoison, array.bytes);
    for (uint32_t i = 0; i < lanes_.size(); ++i) start(i);
    running = this;
    std::vector<std::vector<uint32_t>> simdgroups((lanes_.size() + kSimdWidth - 1) / kSimdWidth);
    std::vector<size_t> turns;
    for (uint32_t lane : lanes) {
      std::vector<uint32_t>& simdgroup = simdgroups[lane / kSimdWidth];
      if (simdgroup.empty()) turns.push_back(lane / kSimdWidth);
      simdgroup.push_back(lane);
    }
    do {
      for (size_t simdgroup : turns) {
        do {
          for (uint32_t lane : simdgroups[simdgroup]) {
            if (lanes_[lane].state == State::kReady) resume(lanes_[lane]);
            if (!fault_.empty()) fault(fault_);
          }
        } while (meet(simdgroup * kSimdWidth));
      }
    } while (pass_barrier());
    if (count(State::kReturned) != lanes_.size()) stuck();
    running = nullptr;
    check_threadgroup_memory();
  }

  Lane& current() { return *current_; }
  Size position() const { return position_; }
  Size threads() const { return threads_; }
  Size size() const { return size_; }
  Size grid() const { return grid_; }
  const Kernel& kernel() const { return kernel_; }
  const ConstantValues& constants() const { return constants_; }

  // Exceptions cannot leave a fiber, and what is on its stack is not destroyed.
  void fault_in_lane(const char* what, const char* name, const char* more) {
    fault_ = std::string(what) + name + more;
    leave(*current_);
  }

  void wait(State state, Meeting meeting) {
    current_->state = state;
    current_->meeting = meeting;
    leave(*current_);
  }

 private:
  [[noreturn]] void fault(const std::string& what) const {
    throw Fault(std::string("[") + kernel_.name + "] " + what + " in threadgroup (" + std::to_string(position_.x) +
                ", " + std::to_string(position_.y) + ", " + std::to_string(position_.z) + ")");
  }

  size_t count(State state) const {
    return static_cast<size_t>(
        std::count_if(lanes_.begin(), lanes_.end(), [&](const Lane& lane) { return lane.state == state; }));
  }

  void start(uint32_t index) {
    Lane& lane = lanes_[index];
    lane.state = State::kReady;
    lane.index = index;
    lane.fake_stack = nullptr;
#if EMULATOR_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stacks_[index].memory(), kStackBytes);
#endif
    lane.fiber.start(stacks_[index].memory(), kStackBytes, enter);
  }

  static void enter() {
#if EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &running->main_stack_, &running->main_bytes_);
#endif
    running->kernel_.call(running->buffers_);
    running->current_->state = State::kReturned;
    running->leave(*running->current_);
  }

  void resume(Lane& lane) {
    current_ = &lane;
#if EMULATOR_ASAN
    void* main_fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&main_fake_stack, stacks_[lane.index].memory(), kStackBytes);
#endif
    main_.switch_to(lane.fiber);
#if EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(main_fake_stack, nullptr, nullptr);
#endif
  }

  void leave(Lane& lane) {
#if EMULATOR_ASAN
    __sanitizer_start_switch_fiber(lane.state == State::kReturned ? nullptr : &lane.fake_stack, main_stack_,
                                   main_bytes_);
#endif
    lane.fiber.switch_to(main_);
#if EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(lane.fake_stack, nullptr, nullptr);
#endif
  }

  // Lets the lanes of a simdgroup exchange their values, if all that have not returned are there.
  bool meet(size_t first) {
    const size_t end = std::min(first + kSimdWidth, lanes_.size());
    uint32_t live = 0;
    const Lane* earlier = nullptr;
    for (size_t i = first; i < end; ++i) {
      if (lanes_[i].state == State::kReturned) continue;
      if (lanes_[i].state != State::kAtMeeting) return false;
      if (earlier && (earlier->meeting.line != lanes_[i].meeting.line ||
                      std::strcmp(earlier->meeting.name, lanes_[i].meeting.name) != 0)) {
        fault("lanes of a simdgroup are at " + describe(earlier->meeting) + " and at " + describe(lanes_[i].meeting));
      }
      earlier = &lanes_[i];
      live |= 1u << (i - first);
    }
    if (live == 0) return false;
    const size_t size = earlier->size;
    std::vector<std::byte> all(kSimdWidth * size, std::byte{kPoison});
    for (size_t i = first; i < end; ++i) {
      if (lanes_[i].state == State::kAtMeeting) std::memcpy(all.data() + (i - first) * size, lanes_[i].value, size);
    }
    for (size_t i = first; i < end; ++i) {
      if (lanes_[i].state != State::kAtMeeting) continue;
      std::memcpy(lanes_[i].all, all.data(), all.size());
      lanes_[i].live = live;
      lanes_[i].state = State::kReady;
    }
    return true;
  }

  bool pass_barrier() {
    if (count(State::kAtBarrier) != lanes_.size()) return false;
    for (const Lane& lane : lanes_) {
      if (lane.meeting.line != lanes_[0].meeting.line) {
        fault("threads are at " + describe(lanes_[0].meeting) + " and at " + describe(lane.meeting));
      }
    }
    for (Lane& lane : lanes_) lane.state = State::kReady;
    return true;
  }

  [[noreturn]] void stuck() const {
    std::string what = "divergence: of " + std::to_string(lanes_.size()) + " threads " +
                       std::to_string(count(State::kReturned)) + " have returned";
    std::map<std::string, int> waiting;
    for (const Lane& lane : lanes_) {
      if (lane.state != State::kReturned) ++waiting[describe(lane.meeting)];
    }
    for (const auto& [place, threads] : waiting) what += ", " + std::to_string(threads) + " are at " + place;
    fault(what);
  }

  void check_threadgroup_memory() const {
    size_t bytes = 0;
    for (const Memory& array : threadgroup_arrays[&kernel_]) bytes += array.bytes;
    if (bytes > kMaxThreadgroupBytes) {
      fault(std::to_string(bytes) + " bytes of threadgroup memory, " + std::to_string(kMaxThreadgroupBytes) +
            " can be had,");
    }
  }

  const Kernel& kernel_;
  void* const* buffers_;
  const ConstantValues& constants_;
  Size grid_, threads_, size_, position_;
  std::vector<Lane> lanes_;
  Stack* stacks_;
  Lane* current_ = nullptr;
  std::string fault_;  // of the lane that has run
  Fiber main_;
#if EMULATOR_ASAN
  const void* main_stack_ = nullptr;
  size_t main_bytes_ = 0;
#endif
};

std::vector<uint32_t> ordered(uint32_t count, Order order) {
  std::vector<uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0u);
  if (order == Order::kBackward) std::reverse(indices.begin(), indices.end());
  if (order == Order::kShuffled) std::shuffle(indices.begin(), indices.end(), std::mt19937(count));
  return indices;
}

Size unravel(uint32_t index, Size size) { return {index % size.x, index / size.x % size.y, index / size.x / size.y}; }

}  // namespace

uint32_t index_in_threadgroup() { return running->current().index; }
uint32_t lane() { return index_in_threadgroup() % kSimdWidth; }
Size position_in_threadgroup() { return unravel(index_in_threadgroup(), running->size()); }
Size threadgroup_position() { return running->position(); }
Size position_in_grid() {
  const Size in = position_in_threadgroup(), of = threadgroup_position(), threads = running->threads();
  return {of.x * threads.x + in.x, of.y * threads.y + in.y, of.z * threads.z + in.z};
}
Size threads_per_threadgroup() { return running->size(); }
Size threadgroups() { return running->grid(); }

uint32_t exchange(Meeting meeting, const void* value, size_t size, void* all) {
  Lane& lane = running->current();
  lane.value = value;
  lane.size = size;
  lane.all = all;
  running->wait(State::kAtMeeting, meeting);
  return lane.live;
}

void threadgroup_barrier(int line) { running->wait(State::kAtBarrier, {"threadgroup_barrier", line}); }

ThreadgroupArray::ThreadgroupArray(void* memory, size_t bytes) {
  std::memset(memory, kPoison, bytes);
  threadgroup_arrays[&running->kernel()].push_back({memory, bytes});
}

void fault(const char* name) { running->fault_in_lane("not all lanes of a simdgroup are at ", name, ""); }

FunctionConstant::FunctionConstant(const char* file_name, const char* constant_name, const char* constant_type,
                                   int constant_index, size_t constant_bytes)
    : file(file_name), name(constant_name), type(constant_type), index(constant_index), bytes(constant_bytes) {
  function_constants().push_back(this);
}

void FunctionConstant::read(void* value) const {
  const auto given = running->constants().find(name);
  if (given == running->constants().end()) {
    running->fault_in_lane("the function constant ", name, " has no value");
  }
  std::memcpy(value, given->second.data(), bytes);
}

KernelEntry::KernelEntry(const Kernel* kernel) {
  if (!kernels().insert({kernel->name, kernel}).second) {
    throw Fault(std::string("two kernels are called ") + kernel->name);
  }
}

Source::Source(const char* source_file, const char* source_text) : file(source_file), text(source_text) {
  source_table().push_back(this);
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const auto& [name, kernel] : kernels()) names.push_back(name);
  return names;
}

const Kernel& find_kernel(const std::string& name) {
  const auto found = kernels().find(name);
  if (found == kernels().end()) throw Fault("no kernel is called " + name);
  return *found->second;
}

std::vector<const FunctionConstant*> constants_of(const Kernel& kernel) {
  std::vector<const FunctionConstant*> constants;
  for (const FunctionConstant* constant : function_constants()) {
    if (std::strcmp(constant->file, kernel.file) == 0) constants.push_back(constant);
  }
  return constants;
}

std::vector<const Source*> sources() { return source_table(); }

Launch::Launch(const std::string& kernel) : kernel_(find_kernel(kernel)) {}

Launch& Launch::bind(int index, void* memory, size_t bytes) {
  buffers_[index] = {memory, bytes, true};
  return *this;
}

Launch& Launch::constant(const std::string& name, const void* value, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(value);
  constants_[name].assign(first, first + bytes);
  return *this;
}

// The memory of each index.
std::vector<void*> Launch::check(Size threads) {
  const std::string where = std::string("[") + kernel_.name + "] ";
  if (threads.volume() > kMaxThreads) {
    throw Fault(where + std::to_string(threads.volume()) + " threads in a threadgroup, at most " +
                std::to_string(kMaxThreads) + " are possible");
  }
  std::vector<void*> memory(31);
  for (const Parameter& parameter : std::span(kernel_.parameters, static_cast<size_t>(kernel_.count))) {
    const Bound& bound = buffers_[parameter.index];
    if (!bound.used) throw Fault(where + "nothing is bound to " + parameter.name);
    if (bound.bytes < parameter.least_bytes) {
      throw Fault(where + std::to_string(bound.bytes) + " bytes are bound to " + parameter.name + ", which has " +
                  std::to_string(parameter.least_bytes));
    }
    memory[static_cast<size_t>(parameter.index)] = bound.memory;
  }
  if (buffers_.size() != static_cast<size_t>(kernel_.count)) {
    throw Fault(where + std::to_string(buffers_.size()) + " buffers are bound to " + std::to_string(kernel_.count) +
                " parameters");
  }
  const std::vector<const FunctionConstant*> declared = constants_of(kernel_);
  for (const auto& [name, value] : constants_) {
    const bool fits = std::any_of(declared.begin(), declared.end(), [&](const FunctionConstant* constant) {
      return name == constant->name && value.size() == constant->bytes;
    });
    if (!fits) throw Fault(where + "no function constant is called " + name + " and has this type");
  }
  return memory;
}

void Launch::run(Size threadgroups, Size threads, Order order) {
  run_threads({threadgroups.x * threads.x, threadgroups.y * threads.y, threadgroups.z * threads.z}, threads, order);
}

void Launch::run_threads(Size grid, Size threads, Order order) {
  static std::mutex turn;
  const std::lock_guard lock(turn);
  const std::vector<void*> memory = check(threads);
  const auto divided = [](uint32_t a, uint32_t b) { return (a + b - 1) / b; };
  const Size threadgroups = {divided(grid.x, threads.x), divided(grid.y, threads.y), divided(grid.z, threads.z)};
  std::unique_ptr<Threadgroup> threadgroup;
  Size made;
  std::vector<uint32_t> lanes;
  for (uint32_t i : ordered(threadgroups.volume(), order)) {
    const Size position = unravel(i, threadgroups);
    const Size size = {std::min(threads.x, grid.x - position.x * threads.x),
                       std::min(threads.y, grid.y - position.y * threads.y),
                       std::min(threads.z, grid.z - position.z * threads.z)};
    if (!threadgroup || size.x != made.x || size.y != made.y || size.z != made.z) {
      threadgroup = std::make_unique<Threadgroup>(kernel_, memory.data(), constants_, threadgroups, threads, size);
      lanes = ordered(size.volume(), order);
      made = size;
    }
    threadgroup->run(position, lanes);
  }
}

}  // namespace emulator
