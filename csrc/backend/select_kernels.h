// Which kernel set the CPU backend runs with.
#pragma once

#include "kernels/kernel_set.h"

namespace tritium {

// The set that the environment variable TRITIUM_KERNELS names, or the best one that this CPU supports. DeviceError if
// the name is unknown or the CPU lacks a feature; it lists the names or the features.
const kernels::KernelSet& select_kernel_set();

// The format "2bit" of this set. Its panels are those of every set and of the GPU backends.
const kernels::TernaryFormat& two_bit_format();

}  // namespace tritium
