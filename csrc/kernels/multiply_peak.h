// The most multiply-adds that a core can do with the instructions of one kernel set's matrix product: loops over
// registers, without memory. They bound a speed and compute nothing of use.
#pragma once

#include <cstdint>

namespace tritium::kernels {

struct MultiplyPeak {
  const char* kernel_set;
  int64_t multiply_adds;           // of one round
  int32_t (*run)(int64_t rounds);  // the result only keeps the work from being left out
};

// The loop of a kernel set by its name, null if there is none. It needs the CPU features that the set needs.
const MultiplyPeak* find_multiply_peak(const char* kernel_set);

}  // namespace tritium::kernels
