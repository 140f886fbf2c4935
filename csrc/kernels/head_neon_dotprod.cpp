// The small output head with dot products of four bytes: a lane is a row of the panel and sums four columns at once.
#include "kernels/head_neon.h"

namespace tritium::kernels::head {

namespace {

struct DotSums {
  template <int kBits>
  TRITIUM_INLINE void run(const uint8_t* codes, const HeadRow& x, int64_t group, int32x4_t (&sum)[kRegisters]) {
    constexpr int kFields = kBits == 4 ? 2 : 1;
    constexpr int kColumns = 16;  // of a register of activations: its four lanes
    const int8_t* high = x.high + group * kHeadGroup;
    const int8_t* low = x.low + group * kHeadGroup;
    int32x4_t high_sum[kRegisters], low_sum[kRegisters];
    TRITIUM_UNROLL
    for (int i = 0; i < kRegisters; ++i) high_sum[i] = low_sum[i] = vdupq_n_s32(0);
    for (int k = 0; k < kHeadGroup; k += kColumns) {
      const int8x16_t h = vld1q_s8(high + k), l = vld1q_s8(low + k);
      TRITIUM_UNROLL
      for (int step = 0; step < 4 / kFields; ++step) {
        TRITIUM_UNROLL
        for (int i = 0; i < kRegisters; ++i) {
          const uint8x16_t packed = vld1q_u8(codes + 16 * i);
          add_lane<kBits>(packed, 0, h, l, kFields * step, high_sum[i], low_sum[i]);
          if (kFields == 2) add_lane<kBits>(packed, 1, h, l, kFields * step + 1, high_sum[i], low_sum[i]);
        }
        codes += kStepBytes;
      }
    }
    TRITIUM_UNROLL
    for (int i = 0; i < kRegisters; ++i) sum[i] = total_of<kBits>(high_sum[i], low_sum[i], x.zeros[group]);
  }

 private:
  template <int kBits>
  TRITIUM_INLINE void add_lane(uint8x16_t packed, int field, int8x16_t high, int8x16_t low, int lane,
                               int32x4_t& high_sum, int32x4_t& low_sum) {
    const int8x16_t code = signed_codes<kBits>(packed, field);
    high_sum = vdotq_s32(high_sum, code, four_columns(high, lane));
    low_sum = vdotq_s32(low_sum, code, four_columns(low, lane));
  }

  // A lane in all lanes; a product by lane once the lane is a constant.
  TRITIUM_INLINE int8x16_t four_columns(int8x16_t q, int lane) {
    const int32x4_t fours = vreinterpretq_s32_s8(q);
    switch (lane) {
      case 0:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 0));
      case 1:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 1));
      case 2:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 2));
      default:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 3));
    }
  }
};

}  // namespace

void scan_neon_dotprod(const HeadScan& scan) {
  scan.bits == 4 ? scan_panels<4, DotSums>(scan) : scan_panels<8, DotSums>(scan);
}

}  // namespace tritium::kernels::head
