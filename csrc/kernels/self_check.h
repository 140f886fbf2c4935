// Checks a kernel set against the scalar set on the machine where it will run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernel_set.h"

namespace tritium::kernels {

struct KernelCheck {
  std::string kernel;
  int64_t problems = 0;          // problems compared
  std::string first_difference;  // empty if there is none
};

// Runs every kernel of a set that this CPU supports on random problems and compares the bits of everything that it
// wrote, and that it wrote nothing else. NaN equals NaN. One entry a kernel, in the order of KernelSet; the kernels of
// a ternary format carry its name: "ternary_gemv 2bit".
std::vector<KernelCheck> check_kernel_set(const KernelSet& set, uint64_t seed = 0);

}  // namespace tritium::kernels
