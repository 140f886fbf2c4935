// What memory and arithmetic of this CPU can do at most: the roofs under which a speed is to be judged.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"

namespace tritium {

// Bytes per second at which the threads together read `memory`, each its own slice from front to back. The memory
// should be several times larger than the caches, and written before. Median of several passes.
double measure_read_rate(ThreadPool& threads, std::span<const std::byte> memory);

// Multiply-adds per second of all threads together in the loop of that kernel set (kernels/multiply_peak.h). Median of
// several runs of a few milliseconds. DeviceError if no loop has that name.
double measure_multiply_rate(ThreadPool& threads, const char* kernel_set);

}  // namespace tritium
