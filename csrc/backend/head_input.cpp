#include "backend/head_input.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tritium {
namespace {

constexpr double kLevels = 32512;      // of activations on either side: 127 * 256
constexpr double kRoom = 1 + 0x1p-10;  // for the rounding of the bound itself
constexpr double kUnit = 0x1p-24;      // relative error of one rounding

float round_up(double value) {
  return std::nextafter(static_cast<float>(value), std::numeric_limits<float>::infinity());
}

// What the sum of independent, uniform rounding errors stays below, in units of its deviation, for `rows` rows and both
// signs; twice as likely as it has to be.
double deviations(int64_t rows) { return std::sqrt(2 * std::log(4 * static_cast<double>(rows) / kHeadFailure)); }

}  // namespace

HeadInput::HeadInput(const PackedHead& head, const float* x)
    : high_(static_cast<size_t>(head.padded_columns())),
      low_(high_.size()),
      q_(high_.size()),
      zeros_(static_cast<size_t>(kernels::head_groups(head.columns))),
      offsets_(zeros_.size()),
      squares_(zeros_.size()) {
  float max = 0;
  double length = 0;
  bool finite = true;
  for (int64_t k = 0; k < head.columns; ++k) {
    finite = finite && std::isfinite(x[k]);
    max = std::max(max, std::fabs(x[k]));
    length += static_cast<double>(x[k]) * x[k];
  }
  bounded_ = finite && max >= 0x1p-60f && max <= 0x1p60f && std::sqrt(length) <= 0x1p60;
  if (!bounded_) return;

  scale_ = static_cast<float>(max / kLevels);
  const double inverse = 1 / static_cast<double>(scale_);
  double lost = 0, kept = 0;
  for (size_t group = 0; group < zeros_.size(); ++group) {
    int64_t sum = 0, squares = 0;
    double offset = 0;
    for (size_t k = group * kernels::kHeadGroup; k < (group + 1) * kernels::kHeadGroup; ++k) {
      if (k >= static_cast<size_t>(head.columns)) break;
      const double rounded = std::nearbyint(x[k] * inverse);
      const auto q = static_cast<int>(rounded);
      high_[k] = static_cast<int8_t>((q + 128) >> 8);
      low_[k] = static_cast<int8_t>(q - 256 * high_[k]);
      constexpr size_t kPlaces[] = {0, 2, 1, 3};
      q_[k / 4 * 4 + kPlaces[k % 4]] = static_cast<int16_t>(q);
      const double residual = x[k] - rounded * scale_;
      lost += residual * residual;
      sum += q;
      squares += static_cast<int64_t>(q) * q;
      offset += (0.5 - head.dither[k]) * rounded;
    }
    kept += static_cast<double>(squares);
    zeros_[group] = static_cast<int32_t>((head.bits == 4 ? 8 : 128) * sum);
    if (head.bits != 4) continue;
    offsets_[group] = static_cast<float>(offset);
    squares_[group] = round_up(static_cast<double>(squares));
  }

  const double columns = static_cast<double>(head.columns);
  const double groups = static_cast<double>(zeros_.size());
  const double dithered = deviations(head.rows) / std::sqrt(12.0) + 0x1p-20 * std::sqrt(columns);
  spread_ = round_up(kRoom * scale_ * (head.bits == 4 ? dithered : std::sqrt(kept)));
  const double roundings = (columns / 16 + 7) + 1.1 * std::sqrt(double{kernels::kHeadGroup}) * (groups + 4) + 8;
  slack_ = round_up(kRoom * (std::sqrt(lost) + kUnit * roundings * std::sqrt(length)) + 0x1p-60);
}

kernels::HeadRow HeadInput::row() const {
  return {high_.data(),    low_.data(), q_.data(), zeros_.data(), offsets_.data(),
          squares_.data(), scale_,      spread_,   slack_};
}

}  // namespace tritium
