// A fiber: a function that runs on a stack of its own and hands over to others. swapcontext asks the system for the
// signal mask each time, which takes longer than most of what a lane does between two meetings.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)

// Keeps the registers that a call keeps on this stack, its place in *from, and takes those of `to`.
extern "C" void tritium_switch_fibers(void** from, void* to);
asm(R"(
.pushsection .text
.weak tritium_switch_fibers
tritium_switch_fibers:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
.popsection
)");

namespace emulator {

class Fiber {
 public:
  // The first switch to it calls `enter`, which must not return.
  void start(void* stack, size_t bytes, void (*enter)()) {
    constexpr int kRegisters = 6;
    auto** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
    *--top = nullptr;  // in place of where `enter` returns to
    *--top = reinterpret_cast<void*>(enter);
    for (int i = 0; i < kRegisters; ++i) *--top = nullptr;
    top_ = top;
  }
  void switch_to(Fiber& other) { tritium_switch_fibers(&top_, other.top_); }

 private:
  void* top_ = nullptr;
};

}  // namespace emulator

#else

#include <ucontext.h>

namespace emulator {

class Fiber {
 public:
  void start(void* stack, size_t bytes, void (*enter)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, enter, 0);
  }
  void switch_to(Fiber& other) { swapcontext(&context_, &other.context_); }

 private:
  ucontext_t context_;
};

}  // namespace emulator

#endif
