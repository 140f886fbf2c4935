#include "backend/rope_table.h"

#include <cmath>
#include <utility>

namespace tritium {
namespace {

struct SineCosine {
  double sine;
  double cosine;
};

// Taylor polynomials after reduction to [-pi/4, pi/4]; far below half a float32 ulp for angles up to 2^30.
// The C library's own functions differ in the last bit from one platform to the next.
SineCosine sine_cosine(double angle) {
  // pi/2 in three parts; the first two have 33 bits, so that their products with the quadrant are exact.
  constexpr double kHalfPi1 = 0x1.921fb544p+0;
  constexpr double kHalfPi2 = 0x1.0b4611a6p-34;
  constexpr double kHalfPi3 = 0x1.3198a2e037073p-69;
  const double quadrant = std::nearbyint(angle * 0x1.45f306dc9c883p-1);
  const double x = ((angle - quadrant * kHalfPi1) - quadrant * kHalfPi2) - quadrant * kHalfPi3;
  const double z = x * x;
  double sine = -1.0 / 1307674368000.0;
  sine = sine * z + 1.0 / 6227020800.0;
  sine = sine * z - 1.0 / 39916800.0;
  sine = sine * z + 1.0 / 362880.0;
  sine = sine * z - 1.0 / 5040.0;
  sine = sine * z + 1.0 / 120.0;
  sine = sine * z - 1.0 / 6.0;
  sine = x + x * (z * sine);
  double cosine = 1.0 / 20922789888000.0;
  cosine = cosine * z - 1.0 / 87178291200.0;
  cosine = cosine * z + 1.0 / 479001600.0;
  cosine = cosine * z - 1.0 / 3628800.0;
  cosine = cosine * z + 1.0 / 40320.0;
  cosine = cosine * z - 1.0 / 720.0;
  cosine = cosine * z + 1.0 / 24.0;
  cosine = 1.0 + z * (-0.5 + z * cosine);
  switch (static_cast<int64_t>(quadrant) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

}  // namespace

RopeTable::RopeTable(std::vector<float> frequencies, int64_t positions)
    : frequencies_(std::move(frequencies)),
      cosines_(static_cast<size_t>(positions) * frequencies_.size()),
      sines_(cosines_.size()) {
  size_t place = 0;
  for (int64_t position = 0; position < positions; ++position) {
    for (float frequency : frequencies_) {
      const float angle = static_cast<float>(position) * frequency;
      const SineCosine value = sine_cosine(static_cast<double>(angle));
      cosines_[place] = static_cast<float>(value.cosine);
      sines_[place++] = static_cast<float>(value.sine);
    }
  }
}

}  // namespace tritium
