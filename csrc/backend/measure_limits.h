// What memory and arithmetic of this CPU can do at most: the roofs under which a speed is to be judged.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernel_set.h"

namespace tritium {

// Bytes per second at which the threads together read `memory`, each its own slice from front to back. The memory
// should be several times larger than the caches, and written before. Median of the passes.
double measure_read_rate(ThreadPool& threads, std::span<const std::byte> memory, int passes = 9);

// Multiply-adds per second of all threads together in the loop of that kernel set (kernels/multiply_peak.h). Median of
// several runs of a few milliseconds. DeviceError if no loop has that name.
double measure_multiply_rate(ThreadPool& threads, const char* kernel_set);

// Which of the two ternary formats of a kernel set multiplies one row faster, with weights in `memory`, which is
// overwritten: several pieces of 4 MiB, several times larger than the caches.
const kernels::TernaryFormat& measure_ternary_formats(ThreadPool& threads, const kernels::KernelSet& kernels,
                                                      std::span<std::byte> memory);

}  // namespace tritium
