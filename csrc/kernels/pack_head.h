// Packing of the small head in plain loops, which each set compiles for its own instructions.
#pragma once

#include <math.h>
#include <string.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

namespace tritium::kernels {

// Least scale other than 0: its square and its inverse are normal numbers.
inline constexpr float kLeastHeadScale = 0x1p-60f;

TRITIUM_INLINE float head_scale(float max, float levels) {
  float scale = max * (1.0f / levels);
  if (scale == 0.0f) return 0.0f;
  if (scale < kLeastHeadScale) scale = kLeastHeadScale;
  uint32_t bits;
  memcpy(&bits, &scale, sizeof bits);
  bits = (bits + 0xFFFFu) & 0xFFFF0000u;
  memcpy(&scale, &bits, sizeof scale);
  return scale;
}

// The length of a row from its 16 partial sums of squares, rounded up.
TRITIUM_INLINE float head_norm(float* lanes) {
  for (int width = 8; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  const float norm = sqrtf(lanes[0]) * (1.0f + 0x1p-10f) + 0x1p-50f;
  return norm <= 0x1p60f ? norm : HUGE_VALF;
}

// One group of one row. Codes (kHeadGroup), one a byte; adds to the sums of squares of weights and of residuals.
template <int kBits>
TRITIUM_INLINE float pack_head_group(const float* w, const float* dither, uint8_t* codes, float* squares,
                                     float* residual_squares) {
  // As integers, the magnitudes of numbers are in order; those of NaN come after infinity's.
  int32_t max_bits = 0;
  for (int k = 0; k < kHeadGroup; ++k) {
    int32_t bits;
    memcpy(&bits, w + k, sizeof bits);
    bits &= 0x7FFFFFFF;
    bits = bits > 0x7F800000 ? 0 : bits;
    max_bits = bits > max_bits ? bits : max_bits;
  }
  float max;
  memcpy(&max, &max_bits, sizeof max);
  const float scale = head_scale(max, kBits == 4 ? 7.5f : 127.0f);
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  const float most = kBits == 4 ? 15.0f : 255.0f;
  for (int k = 0; k < kHeadGroup; ++k) {
    float code = w[k] * inverse + (kBits == 4 ? 8.0f + dither[k] : 128.5f);
    code = code > 0.0f ? code : 0.0f;
    code = code < most ? code : most;
    codes[k] = static_cast<uint8_t>(static_cast<int32_t>(code));
  }
  for (int k = 0; k < kHeadGroup; k += 16) {
    for (int lane = 0; lane < 16; ++lane) squares[lane] += w[k + lane] * w[k + lane];
  }
  if (kBits == 8) {
    for (int k = 0; k < kHeadGroup; k += 16) {
      for (int lane = 0; lane < 16; ++lane) {
        const float value = scale * static_cast<float>(static_cast<int32_t>(codes[k + lane]) - 128);
        const float residual = w[k + lane] - value;
        residual_squares[lane] += residual * residual;
      }
    }
  }
  return scale;
}

template <int kBits>
TRITIUM_INLINE void pack_head_panel(const HeadPack& pack) {
  constexpr int kStep = 32 / kBits;  // columns
  const int64_t groups = head_groups(pack.columns);
  uint8_t* codes_of_panel = pack.panel + head_scales_bytes(pack.columns);
  memset(pack.panel, 0, static_cast<size_t>(head_scales_bytes(pack.columns)));
  for (int64_t row = 0; row < kPanelRows; ++row) {
    float squares[16] = {}, residual_squares[16] = {};
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = group * kHeadGroup;
      const int64_t left = pack.columns - first;
      const int64_t count = row >= pack.rows ? 0 : left < kHeadGroup ? left : kHeadGroup;
      float padded[kHeadGroup], padded_dither[kHeadGroup];
      const float* w = pack.weights + row * pack.columns + first;
      const float* dither = kBits == 4 ? pack.dither + first : nullptr;
      if (count < kHeadGroup) {
        memset(padded, 0, sizeof padded);
        memset(padded_dither, 0, sizeof padded_dither);
        if (count > 0) memcpy(padded, w, static_cast<size_t>(count) * sizeof(float));
        if (kBits == 4) memcpy(padded_dither, dither, static_cast<size_t>(left < kHeadGroup ? left : kHeadGroup) * 4);
        w = padded;
        dither = padded_dither;
      }
      uint8_t codes[kHeadGroup];
      const float scale = pack_head_group<kBits>(w, dither, codes, squares, residual_squares);
      uint32_t scale_bits;
      memcpy(&scale_bits, &scale, sizeof scale_bits);
      const auto half = static_cast<uint16_t>(scale_bits >> 16);
      memcpy(pack.panel + (group * kPanelRows + row) * 2, &half, sizeof half);
      uint8_t* out = codes_of_panel + group * kHeadGroup * kPanelRows * kBits / 8 + 4 * row;
      for (int step = 0; step < kHeadGroup / kStep; ++step) {
        uint32_t word;
        memcpy(&word, codes + kStep * step, sizeof word);
        if (kBits == 4) {
          uint32_t high;
          memcpy(&high, codes + kStep * step + 4, sizeof high);
          word |= high << 4;
        }
        memcpy(out + 64 * step, &word, sizeof word);
      }
    }
    pack.norms[row] = head_norm(squares);
    if (kBits == 8) pack.residuals[row] = head_norm(residual_squares);
  }
}

TRITIUM_INLINE void pack_head_rows(const HeadPack& pack) {
  pack.bits == 4 ? pack_head_panel<4>(pack) : pack_head_panel<8>(pack);
}

}  // namespace tritium::kernels
