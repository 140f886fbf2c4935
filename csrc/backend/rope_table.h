// Cosines and sines of the rotary positions, the same on every platform.
#pragma once

#include <cstdint>
#include <vector>

namespace tritium {

class RopeTable {
 public:
  // Angles float32(position) * float32(1 / theta^(2j / head_dim)) for j < head_dim / 2.
  RopeTable(double theta, int64_t head_dim, int64_t positions);

  const float* cosine(int64_t position) const { return cosines_.data() + position * half_; }  // (head_dim / 2)
  const float* sine(int64_t position) const { return sines_.data() + position * half_; }      // (head_dim / 2)
  double theta() const { return theta_; }
  int64_t head_dim() const { return 2 * half_; }

 private:
  double theta_;
  int64_t half_;
  std::vector<float> cosines_;  // (positions, head_dim / 2)
  std::vector<float> sines_;    // (positions, head_dim / 2)
};

}  // namespace tritium
