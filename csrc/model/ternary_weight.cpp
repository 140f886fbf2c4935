#include "model/ternary_weight.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace tritium {
namespace {

float widen_f16(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero or subnormal, exact
  return sign ? -magnitude : magnitude;
}

float load_float(const std::byte* data, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data, sizeof bits);
  return dtype == DType::kF16 ? widen_f16(bits) : std::bit_cast<float>(uint32_t{bits} << 16);
}

void read_striped_row(const TernaryWeight& weight, int64_t row, int8_t* trits) {
  const int64_t stripe_rows = (weight.rows + 3) / 4;
  const int shift = static_cast<int>(2 * (row / stripe_rows));
  const auto* bytes = reinterpret_cast<const uint8_t*>(weight.tensor.data()) + (row % stripe_rows) * weight.columns;
  int invalid = 0;
  for (int64_t k = 0; k < weight.columns; ++k) {
    const int code = (bytes[k] >> shift) & 3;
    invalid |= code == 3;
    trits[k] = static_cast<int8_t>(code - 1);
  }
  if (!invalid) return;
  for (int64_t k = 0; k < weight.columns; ++k) {
    if (((bytes[k] >> shift) & 3) == 3) {
      throw ModelLoadError(concat("[tensor] ", weight.tensor.label(), ": code 3 at row ", row, ", column ", k,
                                  "; ternary codes are 0, 1, 2"));
    }
  }
}

}  // namespace

void read_floats(const StoredTensor& tensor, int64_t first, int64_t count, float* values) {
  const size_t step = dtype_size(tensor.dtype);
  const std::byte* data = tensor.data() + static_cast<size_t>(first) * step;
  for (int64_t i = 0; i < count; ++i) values[i] = load_float(data + static_cast<size_t>(i) * step, tensor.dtype);
}

float weight_scale(const TernaryWeight& weight, ThreadPool& threads) {
  if (weight.stored_scale) return *weight.stored_scale;
  std::vector<double> row_sums(static_cast<size_t>(weight.rows));
  threads.parallel_for(weight.rows, [&](int64_t begin, int64_t end, int) {
    std::vector<float> row(static_cast<size_t>(weight.columns));
    for (int64_t n = begin; n < end; ++n) {
      read_floats(weight.tensor, n * weight.columns, weight.columns, row.data());
      double sum = 0;
      for (float value : row) sum += std::fabs(value);
      if (!std::isfinite(sum)) {
        throw ModelLoadError(
            concat("[tensor] ", weight.tensor.label(), ": row ", n, " holds a weight that is not finite"));
      }
      row_sums[static_cast<size_t>(n)] = sum;
    }
  });
  double total = 0;
  for (double sum : row_sums) total += sum;
  const double mean = total / (static_cast<double>(weight.rows) * static_cast<double>(weight.columns));
  return std::fmax(static_cast<float>(mean), 1e-5f);
}

void read_trits(const TernaryWeight& weight, float scale, int64_t begin, int64_t end, int8_t* trits) {
  if (!weight.is_masters()) {
    for (int64_t n = begin; n < end; ++n, trits += weight.columns) read_striped_row(weight, n, trits);
    return;
  }
  const float inverse = 1.0f / scale;
  std::vector<float> row(static_cast<size_t>(weight.columns));
  for (int64_t n = begin; n < end; ++n, trits += weight.columns) {
    read_floats(weight.tensor, n * weight.columns, weight.columns, row.data());
    for (int64_t k = 0; k < weight.columns; ++k) {
      // rint to even then clip: 0.5 goes to 0, 1.5 to 2.
      const float scaled = row[static_cast<size_t>(k)] * inverse;
      trits[k] = static_cast<int8_t>((scaled > 0.5f) - (scaled < -0.5f));
    }
  }
}

}  // namespace tritium
