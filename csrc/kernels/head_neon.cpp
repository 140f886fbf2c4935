// The small output head with NEON. Products of bytes are summed in 16 bits as far as they fit.
#include "kernels/head_neon.h"

#include "kernels/pack_head.h"

namespace tritium::kernels::head {

namespace {

struct WideningSums {
  template <int kBits>
  TRITIUM_INLINE void run(const uint8_t* codes, const HeadRow& x, int64_t group, int32x4_t (&sum)[kRegisters]) {
    constexpr int kFields = kBits == 4 ? 2 : 1;
    constexpr int kSteps = kHeadGroup / (4 * kFields);
    const int8_t* high = x.high + group * kHeadGroup;
    const int8_t* low = x.low + group * kHeadGroup;
    TRITIUM_UNROLL
    for (int i = 0; i < kRegisters; ++i) {
      // By pair of rows. Four columns of a row lie in neighbouring lanes.
      int32x4_t high_sum[2] = {vdupq_n_s32(0), vdupq_n_s32(0)}, low_sum[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
      if constexpr (kBits == 4) {
        // |code * q| <= 15 * 128; 16 steps of it fit 16 bits.
        TRITIUM_UNROLL
        for (int field = 0; field < kFields; ++field) {
          int16x8_t high_part[2] = {vdupq_n_s16(0), vdupq_n_s16(0)}, low_part[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
          for (int step = 0; step < kSteps; ++step) {
            const int8x16_t code = signed_codes<4>(vld1q_u8(codes + kStepBytes * step + 16 * i), field);
            const int8x8_t h = columns(high + 8 * step + 4 * field), l = columns(low + 8 * step + 4 * field);
            high_part[0] = vmlal_s8(high_part[0], vget_low_s8(code), h);
            high_part[1] = vmlal_s8(high_part[1], vget_high_s8(code), h);
            low_part[0] = vmlal_s8(low_part[0], vget_low_s8(code), l);
            low_part[1] = vmlal_s8(low_part[1], vget_high_s8(code), l);
          }
          TRITIUM_UNROLL
          for (int pair = 0; pair < 2; ++pair) {
            high_sum[pair] = vpadalq_s16(high_sum[pair], high_part[pair]);
            low_sum[pair] = vpadalq_s16(low_sum[pair], low_part[pair]);
          }
        }
      } else {
        for (int step = 0; step < kSteps; ++step) {
          const int8x16_t code = signed_codes<8>(vld1q_u8(codes + kStepBytes * step + 16 * i), 0);
          const int8x8_t h = columns(high + 4 * step), l = columns(low + 4 * step);
          high_sum[0] = vpadalq_s16(high_sum[0], vmull_s8(vget_low_s8(code), h));
          high_sum[1] = vpadalq_s16(high_sum[1], vmull_s8(vget_high_s8(code), h));
          low_sum[0] = vpadalq_s16(low_sum[0], vmull_s8(vget_low_s8(code), l));
          low_sum[1] = vpadalq_s16(low_sum[1], vmull_s8(vget_high_s8(code), l));
        }
      }
      sum[i] =
          total_of<kBits>(vpaddq_s32(high_sum[0], high_sum[1]), vpaddq_s32(low_sum[0], low_sum[1]), x.zeros[group]);
    }
  }

 private:
  // Four columns, twice.
  TRITIUM_INLINE int8x8_t columns(const int8_t* q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
  }
};

}  // namespace

void pack_neon(const HeadPack& pack) { pack_head_rows(pack); }

void scan_neon(const HeadScan& scan) {
  scan.bits == 4 ? scan_panels<4, WideningSums>(scan) : scan_panels<8, WideningSums>(scan);
}

}  // namespace tritium::kernels::head
