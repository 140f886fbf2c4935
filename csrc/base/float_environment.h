// The floating-point environment that every result is defined in: round to nearest, subnormals kept.
#pragma once

#include <cfenv>

namespace tritium {

// Sets the default environment and restores the caller's. A host may have changed it: a library built with -ffast-math
// flushes subnormals in each thread that loads it.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace tritium
