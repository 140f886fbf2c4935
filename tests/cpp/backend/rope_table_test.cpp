#include "backend/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/model_config.h"

namespace tritium {
namespace {

TEST(RopeTable, IsTheCosineAndSineOfTheFloatAngle) {
  const int64_t positions = 5000;
  for (const auto& [theta, head_dim] : {std::pair{10000.0, 100}, std::pair{500000.0, 128}, std::pair{1000042.0, 256}}) {
    RopeConfig rope;
    rope.theta = theta;
    const std::vector<float> frequencies = rope.frequencies(head_dim);
    const RopeTable table(frequencies, positions);
    for (int64_t position = 0; position < positions; position += 7) {
      for (int64_t j = 0; j < head_dim / 2; ++j) {
        const double angle = static_cast<float>(position) * frequencies[static_cast<size_t>(j)];
        // Correctly rounded but for angles whose cosine lies within 1e-14 of the middle of two floats.
        EXPECT_NEAR(table.cosine(position)[j], std::cos(angle), 3.1e-8);
        EXPECT_NEAR(table.sine(position)[j], std::sin(angle), 3.1e-8);
      }
    }
  }
}

TEST(RopeTable, PositionZeroRotatesNothing) {
  const RopeTable table(std::vector<float>(32, 0.5f), 1);
  for (int64_t j = 0; j < 32; ++j) {
    EXPECT_EQ(table.cosine(0)[j], 1.0f);
    EXPECT_EQ(table.sine(0)[j], 0.0f);
  }
}

}  // namespace
}  // namespace tritium
