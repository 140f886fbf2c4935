// The floating-point environment that every result is defined in: round to nearest, subnormals kept.
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace tritium {

// Sets the default environment and restores the caller's. A host may have changed it: a library built with -ffast-math
// flushes subnormals in each thread that loads it.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() : changes_(!is_default()) {
    if (!changes_) return;
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() {
    if (changes_) std::fesetenv(&saved_);
  }
  // Sets the default environment for good, where foreign code may have left another.
  static void reset() {
    if (!is_default()) std::fesetenv(FE_DFL_ENV);
  }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  // Asks the control register alone, which takes a tenth of the time; false where there is no such way.
  static bool is_default() {
#if defined(__x86_64__) || defined(_M_X64)
    constexpr unsigned kFlags = 0x3f;  // exceptions that were seen
    return (_mm_getcsr() & ~kFlags) == 0x1f80;
#elif defined(__aarch64__)
    uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    return control == 0;
#else
    return false;
#endif
  }

  std::fenv_t saved_;
  const bool changes_;
};

}  // namespace tritium
