// The kernel sets of this build, best first.
#pragma once

#include "kernels/kernel_set.h"

namespace tritium::kernels {

// Sets compiled into this build, best first, scalar last; ends with a null pointer.
const KernelSet* const* compiled_kernel_sets();

// Whether this CPU has every feature that the set needs.
bool is_supported(const KernelSet& set);

// The best supported set.
const KernelSet& best_kernel_set();

// A compiled set by name, or null.
const KernelSet* find_kernel_set(const char* name);

// A set's ternary format by name, or null.
const TernaryFormat* find_ternary_format(const KernelSet& set, const char* name);

}  // namespace tritium::kernels
