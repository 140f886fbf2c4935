// Cosines and sines of the rotary positions, the same on every platform.
#pragma once

#include <cstdint>
#include <vector>

namespace tritium {

class RopeTable {
 public:
  // Angles float32(position) * frequencies[j].
  RopeTable(std::vector<float> frequencies, int64_t positions);

  const float* cosine(int64_t position) const { return cosines_.data() + position * pairs(); }  // (pairs)
  const float* sine(int64_t position) const { return sines_.data() + position * pairs(); }      // (pairs)
  const std::vector<float>& frequencies() const { return frequencies_; }                        // (pairs)

 private:
  int64_t pairs() const { return static_cast<int64_t>(frequencies_.size()); }

  std::vector<float> frequencies_;
  std::vector<float> cosines_;  // (positions, pairs)
  std::vector<float> sines_;    // (positions, pairs)
};

}  // namespace tritium
