// NEON of every 64-bit ARM processor. A register is four of the 16 lanes of a sum.
#include "kernels/neon.h"

namespace tritium::kernels {

extern const KernelSet kNeonKernels;

namespace neon {

namespace {

// ---- Ternary weights

// 16 columns of a row: every dword is moved to its field, later combined by or.
TRITIUM_INLINE uint32x4_t fields_of(const int8_t* trits) {
  static const int32_t kShifts[4] = {0, 2, 4, 6};
  const uint8x16_t codes = vreinterpretq_u8_s8(vaddq_s8(vld1q_s8(trits), vdupq_n_s8(1)));
  return vshlq_u32(vreinterpretq_u32_u8(codes), vld1q_s32(kShifts));
}

TRITIUM_INLINE void pack_rows(const int8_t* const (&row)[kRegisterRows], uint8_t* out) {
  const uint32x4_t a = fields_of(row[0]), b = fields_of(row[1]), c = fields_of(row[2]), d = fields_of(row[3]);
  const uint64x2_t ab = vreinterpretq_u64_u32(vorrq_u32(vzip1q_u32(a, b), vzip2q_u32(a, b)));
  const uint64x2_t cd = vreinterpretq_u64_u32(vorrq_u32(vzip1q_u32(c, d), vzip2q_u32(c, d)));
  vst1q_u8(out, vreinterpretq_u8_u64(vorrq_u64(vzip1q_u64(ab, cd), vzip2q_u64(ab, cd))));
}

// Accumulators are int16, each of a row and a column of a field: |code * q| <= 256, so that 128 products, the four
// fields of 32 steps, reach -32768 and fit.
constexpr int64_t kBlockColumns = 32 * kStepColumns;
constexpr int kTileTokens = 3;

struct Sums {
  int16x8_t rows01, rows23;
};

template <int kField, int kTokens>
TRITIUM_INLINE void add_field(const uint8_t* codes, const int8_t* q, int64_t q_stride,
                              Sums (&part)[kTokens][kStepRegisters]) {
  int8x16_t w[kStepRegisters];
  TRITIUM_UNROLL
  for (int i = 0; i < kStepRegisters; ++i) w[i] = codes_of<kField>(vld1q_u8(codes + 16 * i));
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    int32_t columns;
    memcpy(&columns, q + t * q_stride + 4 * kField, sizeof columns);
    const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(columns));
    TRITIUM_UNROLL
    for (int i = 0; i < kStepRegisters; ++i) {
      Sums& sums = part[t][i];
      sums.rows01 = vmlal_s8(sums.rows01, vget_low_s8(w[i]), vget_low_s8(x));
      sums.rows23 = vmlal_high_s8(sums.rows23, w[i], x);
      TRITIUM_KEEP(sums.rows01);
      TRITIUM_KEEP(sums.rows23);
    }
  }
}

template <int kTokens>
void multiply_tile(const TernaryMatmul& problem, int64_t panel, int64_t token) {
  const int64_t columns = problem.columns, rows = problem.panels_used * kPanelRows;
  const uint8_t* codes = problem.panels + panel * columns * kColumnBytes;
  const int8_t* q = problem.q + token * columns;
  int32_t* acc = problem.acc + token * rows + panel * kPanelRows;
  for (int t = 0; t < kTokens; ++t) {
    for (int i = 0; i < kPanelRows; ++i) acc[t * rows + i] = -problem.q_sum[token + t];
  }
  for (int64_t k = 0; k < columns;) {
    const int64_t end = columns - k < kBlockColumns ? columns : k + kBlockColumns;
    Sums part[kTokens][kStepRegisters];
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      TRITIUM_UNROLL
      for (int i = 0; i < kStepRegisters; ++i) part[t][i].rows01 = part[t][i].rows23 = vdupq_n_s16(0);
    }
    for (; k < end; k += kStepColumns) {
      add_field<0>(codes, q + k, columns, part);
      add_field<1>(codes, q + k, columns, part);
      add_field<2>(codes, q + k, columns, part);
      add_field<3>(codes, q + k, columns, part);
      codes += kStepBytes;
    }
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      TRITIUM_UNROLL
      for (int i = 0; i < kStepRegisters; ++i) {
        const int32x4_t sum = vpaddq_s32(vpaddlq_s16(part[t][i].rows01), vpaddlq_s16(part[t][i].rows23));
        int32_t* out = acc + t * rows + kRegisterRows * i;
        vst1q_s32(out, vaddq_s32(vld1q_s32(out), sum));
      }
    }
  }
}

constexpr TileFunction kTiles[kTileTokens] = {multiply_tile<1>, multiply_tile<2>, multiply_tile<3>};

void ternary_gemv(const TernaryMatmul& problem) {
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) multiply_tile<1>(problem, panel, 0);
}

void ternary_gemm(const TernaryMatmul& problem) { multiply_in_tiles(problem, kTiles); }

}  // namespace

void pack_panel(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  for (int64_t first = 0; first < kPanelRows; first += kRegisterRows) {
    uint8_t* out = panel + 4 * first;
    for (int64_t k = 0; k < columns; k += kStepColumns) {
      const int64_t left = columns - k;
      int8_t padded[kRegisterRows][kStepColumns] = {};
      const int8_t* row[kRegisterRows];
      TRITIUM_UNROLL
      for (int i = 0; i < kRegisterRows; ++i) {
        row[i] = padded[i];
        if (first + i >= rows) continue;
        const int8_t* present = trits + (first + i) * columns + k;
        if (left >= kStepColumns) {
          row[i] = present;
        } else {
          memcpy(padded[i], present, static_cast<size_t>(left));
        }
      }
      pack_rows(row, out);
      out += kStepBytes;
    }
  }
}

// ---- Quantisation

namespace {

TRITIUM_INLINE int32x4_t quantized(float32x4_t x, float32x4_t scale) {
  const float32x4_t v = greater(vmulq_f32(x, scale), vdupq_n_f32(-128.0f));
  return vcvtnq_s32_f32(vbslq_f32(vcltq_f32(v, vdupq_n_f32(127.0f)), v, vdupq_n_f32(127.0f)));
}

}  // namespace

void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row) {
  float32x4_t max[kLaneRegisters];
  TRITIUM_UNROLL
  for (int i = 0; i < kLaneRegisters; ++i) max[i] = vdupq_n_f32(1e-5f);
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) max[i] = greater(vabsq_f32(vld1q_f32(x + k + kWidth * i)), max[i]);
  }
  for_each_vector(columns - k,
                  [&](int64_t i, auto lanes) { max[0] = greater(vabsq_f32(load(x + k + i, lanes)), max[0]); });
  const float absmax = vmaxvq_f32(vmaxq_f32(vmaxq_f32(max[0], max[1]), vmaxq_f32(max[2], max[3])));  // none is NaN

  const float32x4_t scale = vdupq_n_f32((1.0f / absmax) * 127.0f);
  int32x4_t sum = vdupq_n_s32(0);
  for (k = 0; k < columns; k += kLanes) {
    float rest[kLanes] = {};
    const float* from = x + k;
    if (columns - k < kLanes) {
      memcpy(rest, from, static_cast<size_t>(columns - k) * sizeof(float));
      from = rest;
    }
    int32x4_t v[kLaneRegisters];
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) {
      v[i] = quantized(vld1q_f32(from + kWidth * i), scale);
      if (columns - k < kLanes) {
        v[i] = vandq_s32(v[i], vreinterpretq_s32_u32(lane_mask(columns - k - kWidth * i)));
      }
      sum = vaddq_s32(sum, v[i]);
    }
    const int16x8_t low = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    vst1q_s8(q + k, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
  }
  row->absmax = absmax;
  row->sum = vaddvq_s32(sum);
}

void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y) {
  const float32x4_t m = vdupq_n_f32(multiplier);
  for_each_vector(count, [&](int64_t i, auto lanes) {
    float32x4_t value = vmulq_f32(vcvtq_f32_s32(load(acc + i, lanes)), m);
    if (bias) value = vaddq_f32(value, load(bias + i, lanes));
    if (residual) value = vaddq_f32(value, load(residual + i, lanes));
    store(y + i, lanes, value);
  });
}

// ---- Dense weights

namespace {

template <Element kElement>
struct Dense {
  using Stored = uint16_t;
};
template <>
struct Dense<Element::kF32> {
  using Stored = float;
};

template <Element kElement, class Lanes>
TRITIUM_INLINE float32x4_t load_wide(const typename Dense<kElement>::Stored* p, Lanes lanes) {
  if constexpr (kElement == Element::kF32) {
    return load(p, lanes);
  } else {
    const uint16x4_t half = load(p, lanes);
    if constexpr (kElement == Element::kF16) return vcvt_f32_f16(vreinterpret_f16_u16(half));
    return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
  }
}

template <Element kElement, int kRows, int kTokens>
void dense_tile(const typename Dense<kElement>::Stored* weights, const float* x, int64_t columns, float* y,
                int64_t y_stride) {
  using Stored = typename Dense<kElement>::Stored;
  float32x4_t sum[kRows][kTokens][kLaneRegisters];
  TRITIUM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      TRITIUM_UNROLL
      for (int i = 0; i < kLaneRegisters; ++i) sum[r][t][i] = vdupq_n_f32(0.0f);
    }
  }
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) {
      float32x4_t w[kRows];
      TRITIUM_UNROLL
      for (int r = 0; r < kRows; ++r) w[r] = load_wide<kElement>(weights + r * columns + k + kWidth * i, AllLanes{});
      TRITIUM_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const float32x4_t token = vld1q_f32(x + t * columns + k + kWidth * i);
        TRITIUM_UNROLL
        for (int r = 0; r < kRows; ++r) {
          sum[r][t][i] = vfmaq_f32(sum[r][t][i], w[r], token);
          TRITIUM_KEEP(sum[r][t][i]);
        }
      }
    }
  }
  if (k < columns) {
    const int64_t left = columns - k;
    Stored last_weights[kRows][kLanes] = {};
    float last_x[kTokens][kLanes] = {};
    for (int r = 0; r < kRows; ++r) {
      memcpy(last_weights[r], weights + r * columns + k, static_cast<size_t>(left) * sizeof(Stored));
    }
    for (int t = 0; t < kTokens; ++t) {
      memcpy(last_x[t], x + t * columns + k, static_cast<size_t>(left) * sizeof(float));
    }
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) {
      const uint32x4_t present = lane_mask(left - kWidth * i);  // an absent lane keeps its -0
      TRITIUM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const float32x4_t w = load_wide<kElement>(last_weights[r] + kWidth * i, AllLanes{});
        TRITIUM_UNROLL
        for (int t = 0; t < kTokens; ++t) {
          const float32x4_t added = vfmaq_f32(sum[r][t][i], w, vld1q_f32(last_x[t] + kWidth * i));
          sum[r][t][i] = vbslq_f32(present, added, sum[r][t][i]);
        }
      }
    }
  }
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r] = fold_lanes(sum[r][t]);
  }
}

template <Element kElement, int kRows>
void dense_rows(const DenseMatmul& problem, int64_t row) {
  const auto* weights = static_cast<const typename Dense<kElement>::Stored*>(problem.weights) + row * problem.columns;
  int64_t t = 0;
  for (; t + 3 <= problem.tokens; t += 3) {
    dense_tile<kElement, kRows, 3>(weights, problem.x + t * problem.columns, problem.columns,
                                   problem.y + t * problem.y_stride + row, problem.y_stride);
  }
  const float* x = problem.x + t * problem.columns;
  float* y = problem.y + t * problem.y_stride + row;
  if (problem.tokens - t == 2) dense_tile<kElement, kRows, 2>(weights, x, problem.columns, y, problem.y_stride);
  if (problem.tokens - t == 1) dense_tile<kElement, kRows, 1>(weights, x, problem.columns, y, problem.y_stride);
}

template <Element kElement>
void dense(const DenseMatmul& problem) {
  int64_t row = 0;
  for (; row + 2 <= problem.rows; row += 2) dense_rows<kElement, 2>(problem, row);
  if (row < problem.rows) dense_rows<kElement, 1>(problem, row);
}

template <Element kElement>
void widen_halves(const void* x, int64_t count, float* y) {
  const auto* halves = static_cast<const uint16_t*>(x);
  for_each_vector(count, [&](int64_t i, auto lanes) { store(y + i, lanes, load_wide<kElement>(halves + i, lanes)); });
}

}  // namespace

void dense_matmul(const DenseMatmul& problem) {
  switch (problem.element) {
    case Element::kF32:
      return dense<Element::kF32>(problem);
    case Element::kF16:
      return dense<Element::kF16>(problem);
    case Element::kBF16:
      return dense<Element::kBF16>(problem);
  }
}

void widen(const void* x, Element element, int64_t count, float* y) {
  switch (element) {
    case Element::kF32:
      memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
      return;
    case Element::kF16:
      return widen_halves<Element::kF16>(x, count, y);
    case Element::kBF16:
      return widen_halves<Element::kBF16>(x, count, y);
  }
}

// ---- Between the matrices

void rms_norm(const float* x, const float* weight, int64_t count, float eps, float* y) {
  float32x4_t sum[kLaneRegisters];
  TRITIUM_UNROLL
  for (int i = 0; i < kLaneRegisters; ++i) sum[i] = vdupq_n_f32(0.0f);
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) {
      const float32x4_t v = vld1q_f32(x + k + kWidth * i);
      sum[i] = vaddq_f32(sum[i], vmulq_f32(v, v));
    }
  }
  if (k < count) {
    // Sums of squares are never -0, so that adding the +0 of an absent term changes nothing.
    float rest[kLanes] = {};
    memcpy(rest, x + k, static_cast<size_t>(count - k) * sizeof(float));
    TRITIUM_UNROLL
    for (int i = 0; i < kLaneRegisters; ++i) {
      const float32x4_t v = vld1q_f32(rest + kWidth * i);
      sum[i] = vaddq_f32(sum[i], vmulq_f32(v, v));
    }
  }
  const float mean = fold_lanes(sum) / static_cast<float>(count) + eps;
  const float32x4_t r = vdivq_f32(vdupq_n_f32(1.0f), vsqrtq_f32(vdupq_n_f32(mean)));
  for_each_vector(count, [&](int64_t i, auto lanes) {
    store(y + i, lanes, vmulq_f32(vmulq_f32(load(x + i, lanes), r), load(weight + i, lanes)));
  });
}

void add(const float* x, const float* z, int64_t count, float* y) {
  for_each_vector(
      count, [&](int64_t i, auto lanes) { store(y + i, lanes, vaddq_f32(load(x + i, lanes), load(z + i, lanes))); });
}

void rope(float* x, const float* cosine, const float* sine, int64_t half) {
  for_each_vector(half, [&](int64_t j, auto lanes) {
    const float32x4_t a = load(x + j, lanes), b = load(x + half + j, lanes);
    const float32x4_t c = load(cosine + j, lanes), s = load(sine + j, lanes);
    store(x + j, lanes, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
    store(x + half + j, lanes, vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s)));
  });
}

}  // namespace neon

const KernelSet kNeonKernels =
    neon::kernel_set("neon", neon::kBaseFeatures, neon::ternary_gemv, neon::ternary_gemm, head::scan_neon);

}  // namespace tritium::kernels
