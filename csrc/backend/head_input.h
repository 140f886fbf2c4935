// A row of activations as the small head reads it, with what bounds the errors of the logits: docs/head.md derives it.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/packed_head.h"
#include "kernels/kernel_set.h"

namespace tritium {

// How often, at most, a bound at 4 bits fails for any row of the head, a token.
inline constexpr double kHeadFailure = 1e-12;

class HeadInput {
 public:
  HeadInput(const PackedHead& head, const float* x);

  // Whether the bounds hold: x is finite and neither tiny nor huge. If not, the row may not be scanned.
  bool bounded() const { return bounded_; }
  kernels::HeadRow row() const;

 private:
  bool bounded_ = false;
  std::vector<int8_t> high_, low_;        // (padded columns)
  std::vector<int16_t> q_;                // (padded columns)
  std::vector<int32_t> zeros_;            // (groups)
  std::vector<float> offsets_, squares_;  // (groups)
  float scale_ = 0;
  float spread_ = 0;
  float slack_ = 0;
};

}  // namespace tritium
