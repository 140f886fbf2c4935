// One pause of a spinning thread, for its core and its sibling.
#pragma once

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace tritium {

inline void cpu_pause() {
#if defined(_MSC_VER) && (defined(_M_ARM64) || defined(_M_ARM))
  __yield();
#elif defined(_MSC_VER)
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

}  // namespace tritium
