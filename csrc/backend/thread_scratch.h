// Memory that a thread keeps between calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tritium {

// Memory of this thread for `count` floats, until its next call of this function. It grows to the widest row and stays,
// so that a step of one token allocates nothing.
inline float* thread_scratch(int64_t count) {
  thread_local std::vector<float> memory;
  if (memory.size() < static_cast<size_t>(count)) memory.resize(static_cast<size_t>(count));
  return memory.data();
}

}  // namespace tritium
