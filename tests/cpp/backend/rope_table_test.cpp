#include "backend/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tritium {
namespace {

TEST(RopeTable, IsTheCosineAndSineOfTheFloatAngle) {
  const int64_t positions = 5000;
  for (const auto& [theta, head_dim] : {std::pair{10000.0, 100}, std::pair{500000.0, 128}, std::pair{1000042.0, 256}}) {
    const RopeTable table(theta, head_dim, positions);
    for (int64_t position = 0; position < positions; position += 7) {
      for (int64_t j = 0; j < head_dim / 2; ++j) {
        const float power =
            static_cast<float>(std::pow(theta, double{static_cast<float>(2 * j) / static_cast<float>(head_dim)}));
        const double angle = static_cast<float>(position) * (1.0f / power);
        // Correctly rounded but for angles whose cosine lies within 1e-14 of the middle of two floats.
        EXPECT_NEAR(table.cosine(position)[j], std::cos(angle), 3.1e-8);
        EXPECT_NEAR(table.sine(position)[j], std::sin(angle), 3.1e-8);
      }
    }
  }
}

TEST(RopeTable, PositionZeroRotatesNothing) {
  const RopeTable table(10000, 64, 1);
  for (int64_t j = 0; j < 32; ++j) {
    EXPECT_EQ(table.cosine(0)[j], 1.0f);
    EXPECT_EQ(table.sine(0)[j], 0.0f);
  }
}

}  // namespace
}  // namespace tritium
