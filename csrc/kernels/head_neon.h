// What the NEON scans of the small output head share: all but the integer sums.
#pragma once

#include <string.h>

#include "kernels/head.h"
#include "kernels/neon.h"

namespace tritium::kernels::head {

inline constexpr int kStepBytes = 64;
inline constexpr int kRegisters = kPanelRows / neon::kRegisterRows;

// GroupSums::run<kBits>(codes, x, group, sum) gives the exact sum of a group, of which x.zeros are taken off already.
template <int kBits, class GroupSums>
TRITIUM_INLINE void scan_panels(const HeadScan& scan) {
  const int64_t groups = head_groups(scan.columns);
  for (int64_t panel = 0; panel < scan.panels_used; ++panel) {
    for (int64_t t = 0; t < scan.tokens; ++t) {
      const HeadRow& x = scan.x[t];
      const uint8_t* scales = scan.panels + panel * head_panel_bytes(scan.columns, kBits);
      const uint8_t* codes = scales + head_scales_bytes(scan.columns);
      float32x4_t y[kRegisters], v[kRegisters];
      TRITIUM_UNROLL
      for (int i = 0; i < kRegisters; ++i) y[i] = v[i] = vdupq_n_f32(0.0f);
      for (int64_t group = 0; group < groups; ++group) {
        int32x4_t sum[kRegisters];
        GroupSums::template run<kBits>(codes, x, group, sum);
        TRITIUM_UNROLL
        for (int i = 0; i < kRegisters; ++i) {
          uint16x4_t half;
          memcpy(&half, scales + (group * kPanelRows + neon::kRegisterRows * i) * 2, sizeof half);
          const float32x4_t scale = vreinterpretq_f32_u32(vshll_n_u16(half, 16));
          const float32x4_t exact = vaddq_f32(vcvtq_f32_s32(sum[i]), vdupq_n_f32(x.offsets[group]));
          y[i] = vfmaq_f32(y[i], scale, exact);
          if (kBits == 4) v[i] = vfmaq_f32(v[i], vmulq_f32(scale, scale), vdupq_n_f32(x.squares[group]));
        }
        codes += kHeadGroup * kPanelRows * kBits / 8;
      }
      TRITIUM_UNROLL
      for (int i = 0; i < kRegisters; ++i) {
        const int64_t row = panel * kPanelRows + neon::kRegisterRows * i;
        const float32x4_t estimate = vmulq_f32(y[i], vdupq_n_f32(x.scale));
        vst1q_f32(scan.estimates + t * scan.stride + row, estimate);
        if (!scan.bounds) continue;
        const float32x4_t deviation = kBits == 4 ? vsqrtq_f32(v[i]) : vld1q_f32(scan.residuals + row);
        const float32x4_t reach = vfmaq_f32(estimate, deviation, vdupq_n_f32(x.spread));
        vst1q_f32(scan.bounds + t * scan.stride + row,
                  vfmaq_f32(reach, vld1q_f32(scan.norms + row), vdupq_n_f32(x.slack)));
      }
    }
  }
}

// Codes of four rows as signed bytes: field 0 or 1 of 4 bits; 8 bits less 128, so that zero is 0.
template <int kBits>
TRITIUM_INLINE int8x16_t signed_codes(uint8x16_t packed, int field) {
  if constexpr (kBits == 8) return vreinterpretq_s8_u8(veorq_u8(packed, vdupq_n_u8(0x80)));
  return vreinterpretq_s8_u8(field == 0 ? vandq_u8(packed, vdupq_n_u8(0x0F)) : vshrq_n_u8(packed, 4));
}

// 256 * high + low, less the group's zero where codes do not stand for themselves.
template <int kBits>
TRITIUM_INLINE int32x4_t total_of(int32x4_t high, int32x4_t low, int32_t zero) {
  const int32x4_t total = vaddq_s32(vshlq_n_s32(high, 8), low);
  return kBits == 8 ? total : vsubq_s32(total, vdupq_n_s32(zero));
}

}  // namespace tritium::kernels::head
