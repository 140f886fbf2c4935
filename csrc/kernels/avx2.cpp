// AVX2 with FMA and F16C. A register is 8 rows of a panel (ternary) or 8 of the 16 lanes of a sum.
#include "kernels/avx2.h"

#include "kernels/ternary256.h"

namespace tritium::kernels {

extern const KernelSet kAvx2Kernels;

namespace avx2 {

namespace {

// ---- Ternary weights

// 32 bytes of one row (two steps) to two dwords of its panel: every dword is moved to its field, later combined by or.
TRITIUM_INLINE __m256i fields_of(const int8_t* trits) {
  const __m256i codes = _mm256_add_epi8(load_bytes(trits), _mm256_set1_epi8(1));
  return _mm256_sllv_epi32(codes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
}

TRITIUM_INLINE void pack_rows(const int8_t* r0, const int8_t* r1, const int8_t* r2, const int8_t* r3,
                              uint8_t* first_step) {
  const __m256i a = fields_of(r0), b = fields_of(r1), c = fields_of(r2), d = fields_of(r3);
  const __m256i ab = _mm256_or_si256(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m256i cd = _mm256_or_si256(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  const __m256i abcd = _mm256_or_si256(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(first_step), _mm256_castsi256_si128(abcd));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(first_step + kStepBytes), _mm256_extracti128_si256(abcd, 1));
}

}  // namespace

void pack_2bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  constexpr int kBlock = 2 * kStepColumns;
  const int64_t whole = columns / kBlock * kBlock;
  for (int64_t row = 0; row < kPanelRows; row += 4) {
    alignas(32) int8_t rest[4][kBlock] = {};
    const int8_t* source[4];
    int64_t step[4];
    for (int64_t i = 0; i < 4; ++i) {
      const bool present = row + i < rows;
      source[i] = present ? trits + (row + i) * columns : rest[i];
      step[i] = present ? 1 : 0;
    }
    uint8_t* out = panel + 4 * row;
    for (int64_t k = 0; k < whole; k += kBlock) {
      pack_rows(source[0] + k * step[0], source[1] + k * step[1], source[2] + k * step[2], source[3] + k * step[3],
                out);
      out += 2 * kStepBytes;
    }
    if (whole == columns) continue;
    for (int64_t i = 0; i < 4; ++i) {
      if (step[i]) memcpy(rest[i], source[i] + whole, static_cast<size_t>(columns - whole));
    }
    uint8_t last[2 * kStepBytes];
    pack_rows(rest[0], rest[1], rest[2], rest[3], last);
    memcpy(out, last, 4 * 4);
    if (columns - whole > kStepColumns) memcpy(out + kStepBytes, last + kStepBytes, 4 * 4);
  }
}

namespace {

// Accumulators are int16 until they could overflow. Fields 0 and 2 give |code * q| <= 256, a pair 512; fields 1 and 3,
// masked in place, four times that: eight steps of two pairs reach -32768 and fit.
constexpr int64_t kGemvBlock = 8 * kStepColumns;

void gemv_panel(const uint8_t* codes, int64_t columns, const int8_t* q, int32_t q_sum, int32_t* acc) {
  constexpr int kVectors = 2;
  constexpr int kAhead = 4096;
  const __m256i field0 = _mm256_set1_epi8(0x03), field1 = _mm256_set1_epi8(0x0C), one = _mm256_set1_epi16(1);
  __m256i sum[kVectors], sum4[kVectors];
  TRITIUM_UNROLL
  for (int i = 0; i < kVectors; ++i) sum[i] = sum4[i] = _mm256_setzero_si256();
  for (int64_t k = 0; k < columns;) {
    const int64_t end = columns - k < kGemvBlock ? columns : k + kGemvBlock;
    __m256i part[kVectors], part4[kVectors];
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) part[i] = part4[i] = _mm256_setzero_si256();
    for (; k < end; k += kStepColumns) {
      _mm_prefetch(reinterpret_cast<const char*>(codes) + kAhead, _MM_HINT_T0);
      const __m256i q0 = broadcast_columns(q + k), q1 = broadcast_columns(q + k + 4);
      const __m256i q2 = broadcast_columns(q + k + 8), q3 = broadcast_columns(q + k + 12);
      TRITIUM_UNROLL
      for (int i = 0; i < kVectors; ++i) {
        const __m256i low = load_bytes(codes + 32 * i), high = _mm256_srli_epi16(low, 4);
        part[i] = _mm256_add_epi16(part[i], _mm256_maddubs_epi16(_mm256_and_si256(low, field0), q0));
        part4[i] = _mm256_add_epi16(part4[i], _mm256_maddubs_epi16(_mm256_and_si256(low, field1), q1));
        part[i] = _mm256_add_epi16(part[i], _mm256_maddubs_epi16(_mm256_and_si256(high, field0), q2));
        part4[i] = _mm256_add_epi16(part4[i], _mm256_maddubs_epi16(_mm256_and_si256(high, field1), q3));
      }
      codes += kStepBytes;
    }
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(part[i], one));
      sum4[i] = _mm256_add_epi32(sum4[i], _mm256_madd_epi16(part4[i], one));
    }
  }
  TRITIUM_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    const __m256i total = _mm256_add_epi32(sum[i], _mm256_srai_epi32(sum4[i], 2));
    __m256i* out = reinterpret_cast<__m256i*>(acc + kWidth * i);
    _mm256_storeu_si256(out, _mm256_sub_epi32(total, _mm256_set1_epi32(q_sum)));
  }
}

void gemv_2bit(const TernaryMatmul& problem) {
  const int64_t bytes = k2BitLayout.panel_bytes(problem.columns);
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    gemv_panel(problem.panels + panel * bytes, problem.columns, problem.q, problem.q_sum[0],
               problem.acc + panel * kPanelRows);
  }
}

// Sums are int16: 64 pairs of |code * q| <= 256 reach -32768 and fit.
constexpr int64_t kBlockColumns = 64 * 4;

struct Maddubs {
  TRITIUM_INLINE __m256i add(__m256i sum, __m256i codes, __m256i q) {
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, q));
  }
  TRITIUM_INLINE __m256i widened(__m256i sum) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }
};

// Codes one a byte, 64 bytes for every four columns.
template <int kTokens>
void unpacked_tile(const GemmTile& tile) {
  __m256i sum[kTokens][2];
  clear(sum);
  const uint8_t* codes = tile.codes;
  const int8_t* q = tile.q;
  for (const int8_t* end = q + tile.columns; q < end; q += 4) {
    const __m256i w[2] = {load_bytes(codes), load_bytes(codes + 32)};
    accumulate<Maddubs>(w, q, tile.q_stride, sum);
    codes += 64;
  }
  store_tile<Maddubs>(tile, sum);
}

void unpack_block(const uint8_t* packed, int64_t columns, uint8_t* codes) {
  const __m256i field = _mm256_set1_epi8(3);
  for (int64_t k = 0; k < columns; k += kStepColumns) {
    TRITIUM_UNROLL
    for (int i = 0; i < 2; ++i) {
      const __m256i v = load_bytes(packed + 32 * i);
      __m256i* out = reinterpret_cast<__m256i*>(codes + 32 * i);
      _mm256_store_si256(out, _mm256_and_si256(v, field));
      _mm256_store_si256(out + 2, _mm256_and_si256(_mm256_srli_epi16(v, 2), field));
      _mm256_store_si256(out + 4, _mm256_and_si256(_mm256_srli_epi16(v, 4), field));
      _mm256_store_si256(out + 6, _mm256_and_si256(_mm256_srli_epi16(v, 6), field));
    }
    packed += kStepBytes;
    codes += 4 * kStepBytes;
  }
}

// A block of unpacked codes of several panels stays in the first-level cache while tiles of tokens pass; each tile's
// activations are used by all of them.
constexpr int64_t kGroupPanels = 4;

void gemm_group(const TernaryMatmul& problem, int64_t first_panel, int64_t panels, int64_t first_token,
                int64_t tokens) {
  static constexpr TileFunction kTiles[kTileTokens] = {unpacked_tile<1>, unpacked_tile<2>, unpacked_tile<3>,
                                                       unpacked_tile<4>, unpacked_tile<5>, unpacked_tile<6>};
  constexpr int64_t kCodes = kBlockColumns * kPanelRows;
  alignas(64) uint8_t codes[kGroupPanels * kCodes];
  const int64_t tiles = (tokens + kTileTokens - 1) / kTileTokens;
  for (int64_t k = 0; k < problem.columns; k += kBlockColumns) {
    const int64_t columns = problem.columns - k < kBlockColumns ? problem.columns - k : kBlockColumns;
    for (int64_t i = 0; i < panels; ++i) {
      unpack_block(packed_at(problem, first_panel + i, k), columns, codes + i * kCodes);
    }
    int64_t token = first_token;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t tile_tokens = tokens / tiles + (t < tokens % tiles ? 1 : 0);
      const TileFunction multiply = kTiles[tile_tokens - 1];
      for (int64_t i = 0; i < panels; ++i) {
        multiply(tile_at(problem, first_panel + i, token, k, kBlockColumns, codes + i * kCodes));
      }
      token += tile_tokens;
    }
  }
}

void gemm_2bit(const TernaryMatmul& problem) {
  static constexpr TileFunction kPackedTiles[kTileTokens] = {
      packed_tile<Maddubs, 1>, packed_tile<Maddubs, 2>, packed_tile<Maddubs, 3>,
      packed_tile<Maddubs, 4>, packed_tile<Maddubs, 5>, packed_tile<Maddubs, 6>,
  };
  constexpr int64_t kFewTokens = 8;
  if (problem.tokens == 1) return gemv_2bit(problem);
  if (problem.tokens <= kFewTokens) return multiply_in_tiles<kBlockColumns>(problem, kPackedTiles);
  const int64_t block = block_tokens(problem.columns);
  for (int64_t token = 0; token < problem.tokens; token += block) {
    const int64_t tokens = problem.tokens - token < block ? problem.tokens - token : block;
    for (int64_t panel = 0; panel < problem.panels_used; panel += kGroupPanels) {
      const int64_t left = problem.panels_used - panel;
      gemm_group(problem, panel, left < kGroupPanels ? left : kGroupPanels, token, tokens);
    }
  }
}

// ---- Quantisation

TRITIUM_INLINE __m256 magnitude(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

// The second operand of max and min is the result where the first is NaN.
TRITIUM_INLINE __m256i quantized(__m256 x, __m256 scale) {
  const __m256 v = _mm256_max_ps(_mm256_mul_ps(x, scale), _mm256_set1_ps(-128.0f));
  return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(127.0f)));
}

}  // namespace

void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row) {
  __m256 max0 = _mm256_set1_ps(1e-5f), max1 = max0, max2 = max0, max3 = max0;
  int64_t k = 0;
  for (; k + 4 * kWidth <= columns; k += 4 * kWidth) {
    max0 = _mm256_max_ps(magnitude(_mm256_loadu_ps(x + k)), max0);
    max1 = _mm256_max_ps(magnitude(_mm256_loadu_ps(x + k + 8)), max1);
    max2 = _mm256_max_ps(magnitude(_mm256_loadu_ps(x + k + 16)), max2);
    max3 = _mm256_max_ps(magnitude(_mm256_loadu_ps(x + k + 24)), max3);
  }
  for (; k + kWidth <= columns; k += kWidth) max0 = _mm256_max_ps(magnitude(_mm256_loadu_ps(x + k)), max0);
  if (k < columns) max1 = _mm256_max_ps(magnitude(_mm256_maskload_ps(x + k, lane_mask(columns - k))), max1);
  max0 = _mm256_max_ps(_mm256_max_ps(max0, max1), _mm256_max_ps(max2, max3));
  __m128 max = _mm_max_ps(_mm256_castps256_ps128(max0), _mm256_extractf128_ps(max0, 1));
  max = _mm_max_ps(max, _mm_movehl_ps(max, max));
  const float absmax = _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));

  const __m256 scale = _mm256_set1_ps((1.0f / absmax) * 127.0f);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i sum = _mm256_setzero_si256();
  for (k = 0; k + 4 * kWidth <= columns; k += 4 * kWidth) {
    const __m256i a = quantized(_mm256_loadu_ps(x + k), scale), b = quantized(_mm256_loadu_ps(x + k + 8), scale);
    const __m256i c = quantized(_mm256_loadu_ps(x + k + 16), scale), d = quantized(_mm256_loadu_ps(x + k + 24), scale);
    sum = _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d)));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + k), _mm256_permutevar8x32_epi32(bytes, order));
  }
  for (; k < columns; k += 2 * kWidth) {
    const int64_t left = columns - k < 2 * kWidth ? columns - k : 2 * kWidth;
    const __m256i first = lane_mask(left < kWidth ? left : kWidth);
    const __m256i second = lane_mask(left < kWidth ? 0 : left - kWidth);
    const __m256i a = _mm256_and_si256(quantized(_mm256_maskload_ps(x + k, first), scale), first);
    const __m256i b = _mm256_and_si256(quantized(_mm256_maskload_ps(x + k + 8, second), scale), second);
    sum = _mm256_add_epi32(sum, _mm256_add_epi32(a, b));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_setzero_si256());
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k),
                     _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  row->absmax = absmax;
  row->sum = _mm_cvtsi128_si32(four);
}

void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y) {
  const __m256 m = _mm256_set1_ps(multiplier);
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(load_bytes(acc + i)), m);
    if (bias) value = _mm256_add_ps(value, _mm256_loadu_ps(bias + i));
    if (residual) value = _mm256_add_ps(value, _mm256_loadu_ps(residual + i));
    _mm256_storeu_ps(y + i, value);
  }
  if (i == count) return;
  const __m256i mask = lane_mask(count - i);
  __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_maskload_epi32(acc + i, mask)), m);
  if (bias) value = _mm256_add_ps(value, _mm256_maskload_ps(bias + i, mask));
  if (residual) value = _mm256_add_ps(value, _mm256_maskload_ps(residual + i, mask));
  _mm256_maskstore_ps(y + i, mask, value);
}

// ---- Dense weights

namespace {

template <Element kElement>
struct Dense;

template <>
struct Dense<Element::kF32> {
  using Stored = float;
};
template <>
struct Dense<Element::kF16> {
  using Stored = uint16_t;
};
template <>
struct Dense<Element::kBF16> {
  using Stored = uint16_t;
};

template <Element kElement>
TRITIUM_INLINE __m256 load_wide(const typename Dense<kElement>::Stored* p) {
  if constexpr (kElement == Element::kF32) {
    return _mm256_loadu_ps(p);
  } else {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (kElement == Element::kF16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

template <Element kElement, int kRows, int kTokens>
void dense_tile(const typename Dense<kElement>::Stored* weights, const float* x, int64_t columns, float* y,
                int64_t y_stride) {
  using Stored = typename Dense<kElement>::Stored;
  constexpr int kLanes = 2 * kWidth;
  __m256 low[kRows][kTokens], high[kRows][kTokens];
  TRITIUM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) low[r][t] = high[r][t] = _mm256_setzero_ps();
  }
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
    // The next rows go to the second-level cache as one sequential stream; a stream for each row is half as fast.
    for (size_t line = 0; line < kRows * kLanes * sizeof(Stored); line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(weights + kRows * (columns + k)) + line, _MM_HINT_T1);
    }
    TRITIUM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Stored* row = weights + r * columns + k;
      const __m256 w0 = load_wide<kElement>(row), w1 = load_wide<kElement>(row + kWidth);
      TRITIUM_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        low[r][t] = _mm256_fmadd_ps(w0, _mm256_loadu_ps(x + t * columns + k), low[r][t]);
        high[r][t] = _mm256_fmadd_ps(w1, _mm256_loadu_ps(x + t * columns + k + kWidth), high[r][t]);
      }
    }
  }
  if (k < columns) {
    const int64_t left = columns - k;
    const __m256 first = _mm256_castsi256_ps(lane_mask(left < kWidth ? left : kWidth));
    const __m256 second = _mm256_castsi256_ps(lane_mask(left < kWidth ? 0 : left - kWidth));
    for (int r = 0; r < kRows; ++r) {
      Stored row[kLanes] = {};
      memcpy(row, weights + r * columns + k, static_cast<size_t>(left) * sizeof(Stored));
      const __m256 w0 = load_wide<kElement>(row), w1 = load_wide<kElement>(row + kWidth);
      for (int t = 0; t < kTokens; ++t) {
        float token[kLanes] = {};
        memcpy(token, x + t * columns + k, static_cast<size_t>(left) * sizeof(float));
        low[r][t] = _mm256_blendv_ps(low[r][t], _mm256_fmadd_ps(w0, _mm256_loadu_ps(token), low[r][t]), first);
        high[r][t] =
            _mm256_blendv_ps(high[r][t], _mm256_fmadd_ps(w1, _mm256_loadu_ps(token + kWidth), high[r][t]), second);
      }
    }
  }
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r] = fold_lanes(low[r][t], high[r][t]);
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

namespace {

template <Element kElement>
void widen_halves(const uint16_t* x, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) _mm256_storeu_ps(y + i, load_wide<kElement>(x + i));
  if (i == count) return;
  uint16_t rest[kWidth] = {};
  memcpy(rest, x + i, static_cast<size_t>(count - i) * sizeof(uint16_t));
  _mm256_maskstore_ps(y + i, lane_mask(count - i), load_wide<kElement>(rest));
}

}  // namespace

void widen(const void* x, Element element, int64_t count, float* y) {
  switch (element) {
    case Element::kF32:
      memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
      return;
    case Element::kF16:
      return widen_halves<Element::kF16>(static_cast<const uint16_t*>(x), count, y);
    case Element::kBF16:
      return widen_halves<Element::kBF16>(static_cast<const uint16_t*>(x), count, y);
  }
}

// ---- Between the matrices

void rms_norm(const float* x, const float* weight, int64_t count, float eps, float* y) {
  __m256 low = _mm256_setzero_ps(), high = low;
  int64_t i = 0;
  for (; i + 2 * kWidth <= count; i += 2 * kWidth) {
    const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + kWidth);
    low = _mm256_add_ps(low, _mm256_mul_ps(a, a));
    high = _mm256_add_ps(high, _mm256_mul_ps(b, b));
  }
  // Sums of squares are never -0, so that adding the +0 of an absent term changes nothing.
  if (i + kWidth <= count) {
    const __m256 a = _mm256_loadu_ps(x + i);
    const __m256 b = _mm256_maskload_ps(x + i + kWidth, lane_mask(count - i - kWidth));
    low = _mm256_add_ps(low, _mm256_mul_ps(a, a));
    high = _mm256_add_ps(high, _mm256_mul_ps(b, b));
  } else if (i < count) {
    const __m256 a = _mm256_maskload_ps(x + i, lane_mask(count - i));
    low = _mm256_add_ps(low, _mm256_mul_ps(a, a));
  }
  const __m128 mean = _mm_set_ss(fold_lanes(low, high) / static_cast<float>(count) + eps);
  const __m256 r = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
  for (i = 0; i + kWidth <= count; i += kWidth) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), r);
    _mm256_storeu_ps(y + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
  if (i == count) return;
  const __m256i mask = lane_mask(count - i);
  const __m256 scaled = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), r);
  _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(scaled, _mm256_maskload_ps(weight + i, mask)));
}

void add(const float* x, const float* z, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(z + i)));
  }
  if (i == count) return;
  const __m256i mask = lane_mask(count - i);
  _mm256_maskstore_ps(y + i, mask, _mm256_add_ps(_mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(z + i, mask)));
}

void rope(float* x, const float* cosine, const float* sine, int64_t half) {
  for (int64_t j = 0; j < half; j += kWidth) {
    const __m256i mask = lane_mask(half - j < kWidth ? half - j : kWidth);
    const __m256 a = _mm256_maskload_ps(x + j, mask), b = _mm256_maskload_ps(x + half + j, mask);
    const __m256 c = _mm256_maskload_ps(cosine + j, mask), s = _mm256_maskload_ps(sine + j, mask);
    _mm256_maskstore_ps(x + j, mask, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
    _mm256_maskstore_ps(x + half + j, mask, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
  }
}

}  // namespace avx2

const KernelSet kAvx2Kernels =
    avx2::kernel_set("avx2", avx2::kFeatures, {k2BitLayout, avx2::pack_2bit, avx2::gemv_2bit, avx2::gemm_2bit});

}  // namespace tritium::kernels
