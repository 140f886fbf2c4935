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

constexpr int64_t kBlock = 8;  // columns that are read at once

// Reads the codes at bits shift, shift + 1 of `count` bytes, at most kBlock, as trits. Bits 0 of the result tell where
// a code is 3.
uint64_t read_codes(const std::byte* bytes, int64_t count, int shift, int8_t* trits) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kSigns = 0x8080808080808080u;
  uint64_t packed = 0;
  std::memcpy(&packed, bytes, static_cast<size_t>(count));
  const uint64_t codes = (packed >> shift) & (3 * kOnes);
  // The sign bit keeps each byte's subtraction from borrowing from the next.
  const uint64_t result = ((codes | kSigns) - kOnes) ^ kSigns;
  std::memcpy(trits, &result, static_cast<size_t>(count));
  return codes & (codes >> 1) & kOnes;
}

void read_striped_row(const TernaryWeight& weight, int64_t row, int8_t* trits) {
  const int64_t stripe_rows = (weight.rows + 3) / 4;
  const int shift = static_cast<int>(2 * (row / stripe_rows));
  const std::byte* bytes = weight.tensor.data() + (row % stripe_rows) * weight.columns;
  uint64_t invalid = 0;
  int64_t k = 0;
  for (; k + kBlock <= weight.columns; k += kBlock) invalid |= read_codes(bytes + k, kBlock, shift, trits + k);
  if (k < weight.columns) invalid |= read_codes(bytes + k, weight.columns - k, shift, trits + k);
  if (invalid == 0) return;
  for (k = 0; k < weight.columns; ++k) {
    if (((static_cast<int>(bytes[k]) >> shift) & 3) == 3) {
      throw ModelLoadError(concat("[tensor] ", weight.tensor.label(), ": code 3 at row ", row, ", column ", k,
                                  "; ternary codes are 0, 1, 2"));
    }
  }
}

void read_plain_row(const TernaryWeight& weight, int64_t row, int8_t* trits) {
  std::memcpy(trits, weight.tensor.data() + row * weight.columns, static_cast<size_t>(weight.columns));
  int invalid = 0;
  for (int64_t k = 0; k < weight.columns; ++k) invalid |= static_cast<uint8_t>(trits[k] + 1) > 2;
  if (!invalid) return;
  for (int64_t k = 0; k < weight.columns; ++k) {
    if (trits[k] < -1 || trits[k] > 1) {
      throw ModelLoadError(concat("[tensor] ", weight.tensor.label(), ": ", int{trits[k]}, " at row ", row, ", column ",
                                  k, "; ternary weights are -1, 0, 1"));
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
    const auto read_row = weight.tensor.encoding == Encoding::kTernaryTrits ? read_plain_row : read_striped_row;
    for (int64_t n = begin; n < end; ++n, trits += weight.columns) read_row(weight, n, trits);
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
