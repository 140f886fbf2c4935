// AVX-512 with VNNI. A register is the 16 rows of a panel (ternary) or the 16 lanes of a sum.
#include "kernels/avx512.h"

namespace tritium::kernels {

extern const KernelSet kAvx512VnniKernels;

namespace avx512 {

namespace {

// ---- Ternary weights

// 64 columns of four rows to their dwords of four steps: 128-bit lane s is rows r..r + 3 of step s. Every dword is
// moved to its field, then the four of a step are combined.
TRITIUM_INLINE __m512i fields_of(const __m512i (&trits)[kPanelRows], int r) {
  const __m512i one = _mm512_set1_epi8(1);
  const __m512i shifts = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
  __m512i row[4];
  TRITIUM_UNROLL
  for (int i = 0; i < 4; ++i) row[i] = _mm512_sllv_epi32(_mm512_add_epi8(trits[r + i], one), shifts);
  const __m512i ab = _mm512_or_si512(_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[0], row[1]));
  const __m512i cd = _mm512_or_si512(_mm512_unpacklo_epi32(row[2], row[3]), _mm512_unpackhi_epi32(row[2], row[3]));
  return _mm512_or_si512(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

}  // namespace

void pack_columns(const int8_t* trits, int64_t stride, int64_t rows, int64_t columns, uint8_t* panel) {
  constexpr int64_t kBlock = 4 * kStepColumns;
  for (int64_t k = 0; k < columns; k += kBlock) {
    const int64_t left = columns - k;
    const __mmask64 present = left < kBlock ? (__mmask64{1} << left) - 1 : ~__mmask64{0};
    __m512i row[kPanelRows];  // an absent weight is 0
    TRITIUM_UNROLL
    for (int r = 0; r < kPanelRows; ++r) {
      row[r] = r < rows ? _mm512_maskz_loadu_epi8(present, trits + r * stride + k) : _mm512_setzero_si512();
    }
    const __m512i a = fields_of(row, 0), b = fields_of(row, 4), c = fields_of(row, 8), d = fields_of(row, 12);
    const __m512i ab01 = _mm512_shuffle_i32x4(a, b, 0x44), ab23 = _mm512_shuffle_i32x4(a, b, 0xEE);
    const __m512i cd01 = _mm512_shuffle_i32x4(c, d, 0x44), cd23 = _mm512_shuffle_i32x4(c, d, 0xEE);
    _mm512_storeu_si512(panel, _mm512_shuffle_i32x4(ab01, cd01, 0x88));
    if (left > kStepColumns) _mm512_storeu_si512(panel + kStepBytes, _mm512_shuffle_i32x4(ab01, cd01, 0xDD));
    if (left > 2 * kStepColumns) _mm512_storeu_si512(panel + 2 * kStepBytes, _mm512_shuffle_i32x4(ab23, cd23, 0x88));
    if (left > 3 * kStepColumns) _mm512_storeu_si512(panel + 3 * kStepBytes, _mm512_shuffle_i32x4(ab23, cd23, 0xDD));
    panel += 4 * kStepBytes;
  }
}

void pack_2bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  pack_columns(trits, columns, rows, columns, panel);
}

namespace {

TRITIUM_INLINE void add_step(const uint8_t* codes, const int8_t* q, __m512i (&sum)[4]) {
  const __m512i packed = load_bytes(codes);
  sum[0] = _mm512_dpbusd_epi32(sum[0], field_in_place<0>(packed), broadcast_columns(q));
  TRITIUM_KEEP(sum[0]);
  sum[1] = _mm512_dpbusd_epi32(sum[1], field_in_place<1>(packed), broadcast_columns(q + 4));
  TRITIUM_KEEP(sum[1]);
  sum[2] = _mm512_dpbusd_epi32(sum[2], field_in_place<2>(packed), broadcast_columns(q + 8));
  TRITIUM_KEEP(sum[2]);
  sum[3] = _mm512_dpbusd_epi32(sum[3], field_in_place<3>(packed), broadcast_columns(q + 12));
  TRITIUM_KEEP(sum[3]);
}

// One panel, and nothing prefetched: Zen 4 follows one sequential stream at the full rate of the memory and two panels
// at half of it. Even and odd steps have sums of their own, so that latencies overlap.
void gemv_panel(const uint8_t* codes, int64_t columns, const int8_t* q, int32_t q_sum, int32_t* acc) {
  __m512i total = _mm512_set1_epi32(-q_sum);
  for (int64_t k = 0; k < columns;) {
    const int64_t end = columns - k < kFieldColumns ? columns : k + kFieldColumns;
    __m512i even[4], odd[4];
    TRITIUM_UNROLL
    for (int j = 0; j < 4; ++j) even[j] = odd[j] = _mm512_setzero_si512();
    for (; k + 2 * kStepColumns <= end; k += 2 * kStepColumns) {
      add_step(codes, q + k, even);
      add_step(codes + kStepBytes, q + k + kStepColumns, odd);
      codes += 2 * kStepBytes;
    }
    if (k < end) {
      add_step(codes, q + k, even);
      codes += kStepBytes;
      k = end;
    }
    TRITIUM_UNROLL
    for (int j = 0; j < 4; ++j) even[j] = _mm512_add_epi32(even[j], odd[j]);
    total = _mm512_add_epi32(total, sum_of_fields(even));
  }
  _mm512_storeu_si512(acc, total);
}

}  // namespace

void gemv_2bit(const TernaryMatmul& problem) {
  const int64_t bytes = k2BitLayout.panel_bytes(problem.columns);
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    gemv_panel(problem.panels + panel * bytes, problem.columns, problem.q, problem.q_sum[0],
               problem.acc + panel * kPanelRows);
  }
}

namespace {

constexpr int kTileTokens = 5;
constexpr int kFewTokens = 3;

// Four columns of kPanels panels and kTokens tokens.
template <int kPanels, int kTokens>
TRITIUM_INLINE void add_columns(const __m512i (&w)[kPanels], const int8_t* q, int64_t q_stride,
                                __m512i (&sum)[kTokens][kPanels]) {
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const __m512i x = broadcast_columns(q + t * q_stride);
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) {
      sum[t][i] = _mm512_dpbusd_epi32(sum[t][i], w[i], x);
      TRITIUM_KEEP(sum[t][i]);
    }
  }
}

// The panels of a tile, and on the way what comes next to the second-level cache.
template <int kPanels>
TRITIUM_INLINE void load_step(const PanelTile& tile, int64_t step, __m512i (&packed)[kPanels]) {
  TRITIUM_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    packed[i] = load_bytes(tile.codes + i * tile.panel_stride + step * kStepBytes);
    prefetch(tile.next + step * tile.next_step + i * tile.next_panel);
  }
}

TRITIUM_INLINE void store_sum(const PanelTile& tile, int token, int panel, __m512i sum) {
  int32_t* acc = tile.acc + token * tile.acc_stride + panel * kPanelRows;
  const __m512i start = tile.q_sum ? _mm512_set1_epi32(-tile.q_sum[token]) : load_bytes(acc);
  _mm512_storeu_si512(acc, _mm512_add_epi32(start, sum));
}

// Codes are shifted down, one sum for all fields.
template <int kPanels, int kTokens>
void multiply_tile(const PanelTile& tile) {
  const __m512i field = _mm512_set1_epi8(3);
  __m512i sum[kTokens][kPanels];
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) sum[t][i] = _mm512_setzero_si512();
  }
  const int8_t* q = tile.q;
  for (int64_t step = 0; step < tile.columns / kStepColumns; ++step) {
    __m512i packed[kPanels], w[kPanels];
    load_step(tile, step, packed);
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) w[i] = _mm512_and_si512(packed[i], field);
    add_columns(w, q, tile.q_stride, sum);
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) w[i] = _mm512_and_si512(_mm512_srli_epi16(packed[i], 2), field);
    add_columns(w, q + 4, tile.q_stride, sum);
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) w[i] = _mm512_and_si512(_mm512_srli_epi16(packed[i], 4), field);
    add_columns(w, q + 8, tile.q_stride, sum);
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) w[i] = _mm512_and_si512(_mm512_srli_epi16(packed[i], 6), field);
    add_columns(w, q + 12, tile.q_stride, sum);
    q += kStepColumns;
  }
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) store_sum(tile, t, i, sum[t][i]);
  }
}

template <int kField, int kPanels, int kTokens>
TRITIUM_INLINE void add_field(const __m512i (&packed)[kPanels], const int8_t* q, int64_t q_stride,
                              __m512i (&sum)[kPanels][kTokens][4]) {
  TRITIUM_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    const __m512i w = field_in_place<kField>(packed[i]);
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const __m512i x = broadcast_columns(q + t * q_stride + 4 * kField);
      sum[i][t][kField] = _mm512_dpbusd_epi32(sum[i][t][kField], w, x);
      TRITIUM_KEEP(sum[i][t][kField]);
    }
  }
}

// Fields are masked in place, each with a sum of its own: few tokens do not pay for shifts.
template <int kPanels, int kTokens>
void multiply_fields(const PanelTile& tile) {
  __m512i sum[kPanels][kTokens][4];
  TRITIUM_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      TRITIUM_UNROLL
      for (int j = 0; j < 4; ++j) sum[i][t][j] = _mm512_setzero_si512();
    }
  }
  const int8_t* q = tile.q;
  for (int64_t step = 0; step < tile.columns / kStepColumns; ++step) {
    __m512i packed[kPanels];
    load_step(tile, step, packed);
    add_field<0>(packed, q, tile.q_stride, sum);
    add_field<1>(packed, q, tile.q_stride, sum);
    add_field<2>(packed, q, tile.q_stride, sum);
    add_field<3>(packed, q, tile.q_stride, sum);
    q += kStepColumns;
  }
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kPanels; ++i) store_sum(tile, t, i, sum_of_fields(sum[i][t]));
  }
}

using TileFunction = void (*)(const PanelTile& tile);
constexpr TileFunction kTiles[kTilePanels][kTileTokens] = {
    {multiply_tile<1, 1>, multiply_tile<1, 2>, multiply_tile<1, 3>, multiply_tile<1, 4>, multiply_tile<1, 5>},
    {multiply_tile<2, 1>, multiply_tile<2, 2>, multiply_tile<2, 3>, multiply_tile<2, 4>, multiply_tile<2, 5>},
    {multiply_tile<3, 1>, multiply_tile<3, 2>, multiply_tile<3, 3>, multiply_tile<3, 4>, multiply_tile<3, 5>},
    {multiply_tile<4, 1>, multiply_tile<4, 2>, multiply_tile<4, 3>, multiply_tile<4, 4>, multiply_tile<4, 5>},
};
constexpr TileFunction kFewTokenTiles[2][kFewTokens] = {
    {multiply_fields<1, 1>, multiply_fields<1, 2>, multiply_fields<1, 3>},
    {multiply_fields<2, 1>, multiply_fields<2, 2>, multiply_fields<2, 3>},
};

void multiply_few_tokens(PanelTile tile, int64_t tokens) {
  for (int64_t left = tile.panels; left > 0; left -= 2) {
    kFewTokenTiles[left > 1][tokens - 1](tile);
    tile.codes += 2 * tile.panel_stride;
    tile.next += 2 * tile.next_panel;
    tile.acc += 2 * kPanelRows;
  }
}

}  // namespace

void multiply_tokens(const PanelTile& tile, int64_t tokens) {
  if (tokens <= kFewTokens) return multiply_few_tokens(tile, tokens);
  const TileFunction* multiply = kTiles[tile.panels - 1];
  const int64_t count = (tokens + kTileTokens - 1) / kTileTokens;
  PanelTile part = tile;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t part_tokens = tokens / count + (i < tokens % count ? 1 : 0);
    multiply[part_tokens - 1](part);
    part.q += part_tokens * tile.q_stride;
    if (part.q_sum) part.q_sum += part_tokens;
    part.acc += part_tokens * tile.acc_stride;
  }
}

void gemm_2bit(const TernaryMatmul& problem) {
  if (problem.tokens == 1) return gemv_2bit(problem);
  const int64_t columns = problem.columns, bytes = k2BitLayout.panel_bytes(columns), block = block_tokens(columns);
  const int64_t rows = problem.panels_used * kPanelRows;
  for (int64_t first = 0; first < problem.tokens; first += block) {
    const int64_t tokens = problem.tokens - first < block ? problem.tokens - first : block;
    for (int64_t panel = 0; panel < problem.panels_used; panel += kTilePanels) {
      const int64_t left = problem.panels_used - panel, panels = left < kTilePanels ? left : kTilePanels;
      const uint8_t* codes = problem.panels + panel * bytes;
      // The next panels are fetched as one sequential stream: reading several streams from memory is half as fast.
      for (int64_t k = 0; k < columns; k += kFieldColumns) {
        multiply_tokens(
            {codes + k2BitLayout.panel_bytes(k), bytes, panels, codes + panels * bytes, panels * kStepBytes, kStepBytes,
             columns - k < kFieldColumns ? columns - k : kFieldColumns, problem.q + first * columns + k, columns,
             k == 0 ? problem.q_sum + first : nullptr, problem.acc + first * rows + panel * kPanelRows, rows},
            tokens);
      }
    }
  }
}

// ---- Quantisation

namespace {

// The second operand of max and min is the result where the first is NaN.
TRITIUM_INLINE __m512i quantized(__m512 x, __m512 scale) {
  const __m512 v = _mm512_max_ps(_mm512_mul_ps(x, scale), _mm512_set1_ps(-128.0f));
  return _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(127.0f)));
}

}  // namespace

void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row) {
  constexpr int64_t kBlock = 4 * kWidth;
  __m512 max[4];
  TRITIUM_UNROLL
  for (int i = 0; i < 4; ++i) max[i] = _mm512_set1_ps(1e-5f);
  int64_t k = 0;
  for (; k + kBlock <= columns; k += kBlock) {
    TRITIUM_UNROLL
    for (int i = 0; i < 4; ++i) max[i] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + k + kWidth * i)), max[i]);
  }
  for (; k < columns; k += kWidth) max[0] = _mm512_max_ps(_mm512_abs_ps(load(x + k, first_lanes(columns - k))), max[0]);
  const float absmax =
      _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3])));

  const __m512 scale = _mm512_set1_ps((1.0f / absmax) * 127.0f);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i one = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  for (k = 0; k + kBlock <= columns; k += kBlock) {
    __m512i v[4];
    TRITIUM_UNROLL
    for (int i = 0; i < 4; ++i) v[i] = quantized(_mm512_loadu_ps(x + k + kWidth * i), scale);
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    sum = _mm512_dpbusd_epi32(sum, one, bytes);
    _mm512_storeu_si512(q + k, _mm512_permutexvar_epi32(order, bytes));
  }
  for (; k < columns; k += kWidth) {
    const __mmask16 lanes = first_lanes(columns - k);
    const __m512i v = _mm512_maskz_mov_epi32(lanes, quantized(load(x + k, lanes), scale));
    sum = _mm512_add_epi32(sum, v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm512_cvtepi32_epi8(v));
  }
  row->absmax = absmax;
  row->sum = _mm512_reduce_add_epi32(sum);
}

void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y) {
  const __m512 m = _mm512_set1_ps(multiplier);
  for_each_vector(count, [&](int64_t i, __mmask16 lanes) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes, acc + i)), m);
    if (bias) value = _mm512_add_ps(value, load(bias + i, lanes));
    if (residual) value = _mm512_add_ps(value, load(residual + i, lanes));
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

template <Element kElement>
TRITIUM_INLINE __m512 load_wide(const typename Dense<kElement>::Stored* p, __mmask16 lanes) {
  if constexpr (kElement == Element::kF32) {
    return load(p, lanes);
  } else {
    const __m256i half = _mm256_maskz_loadu_epi16(lanes, p);
    if constexpr (kElement == Element::kF16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

template <Element kElement, int kRows, int kTokens>
TRITIUM_INLINE void add_columns(const typename Dense<kElement>::Stored* weights, const float* x, int64_t columns,
                                __mmask16 lanes, __m512 (&sum)[kRows][kTokens]) {
  __m512 token[kTokens];
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) token[t] = load(x + t * columns, lanes);
  TRITIUM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const __m512 w = load_wide<kElement>(weights + r * columns, lanes);
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) sum[r][t] = _mm512_mask3_fmadd_ps(w, token[t], sum[r][t], lanes);
  }
}

template <Element kElement, int kRows, int kTokens>
void dense_tile(const typename Dense<kElement>::Stored* weights, const float* x, int64_t columns, float* y,
                int64_t y_stride) {
  __m512 sum[kRows][kTokens];
  TRITIUM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TRITIUM_UNROLL
    for (int t = 0; t < kTokens; ++t) sum[r][t] = _mm512_setzero_ps();
  }
  // The next rows go to the second-level cache as one sequential stream; a stream for each row is half as fast. A row
  // alone is the last one, or is followed by another from anywhere.
  const auto* next = reinterpret_cast<const uint8_t*>(weights + kRows * columns);
  constexpr int kBytes = kRows * kWidth * static_cast<int>(sizeof(*weights));
  int64_t k = 0;
  for (; k + kWidth <= columns; k += kWidth) {
    TRITIUM_UNROLL
    for (int byte = 0; byte < kBytes && kRows > 1; byte += 64) prefetch(next + byte);
    next += kBytes;
    add_columns<kElement>(weights + k, x + k, columns, kAllLanes, sum);
  }
  if (k < columns) add_columns<kElement>(weights + k, x + k, columns, first_lanes(columns - k), sum);
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r] = fold_lanes(sum[r][t]);
  }
}

constexpr int kDenseTokens = 4;

// kRows rows from `row` times `tokens` tokens from `token`, in tiles of about the same size.
template <Element kElement, int kRows>
void dense_rows(const DenseMatmul& problem, int64_t row, int64_t token, int64_t tokens) {
  using Stored = typename Dense<kElement>::Stored;
  static constexpr void (*kDenseTiles[kDenseTokens])(const Stored*, const float*, int64_t, float*, int64_t) = {
      dense_tile<kElement, kRows, 1>, dense_tile<kElement, kRows, 2>, dense_tile<kElement, kRows, 3>,
      dense_tile<kElement, kRows, 4>};
  const auto* weights = static_cast<const Stored*>(problem.weights) + row * problem.columns;
  const int64_t tiles = (tokens + kDenseTokens - 1) / kDenseTokens;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t tile_tokens = tokens / tiles + (t < tokens % tiles ? 1 : 0);
    kDenseTiles[tile_tokens - 1](weights, problem.x + token * problem.columns, problem.columns,
                                 problem.y + token * problem.y_stride + row, problem.y_stride);
    token += tile_tokens;
  }
}

template <Element kElement>
void dense(const DenseMatmul& problem) {
  constexpr int64_t kBlockTokens = 32;  // their activations stay in the second-level cache
  for (int64_t first = 0; first < problem.tokens; first += kBlockTokens) {
    const int64_t tokens = problem.tokens - first < kBlockTokens ? problem.tokens - first : kBlockTokens;
    int64_t row = 0;
    // One token waits for memory, and two rows of it read faster than four.
    if (tokens > 1) {
      for (; row + 4 <= problem.rows; row += 4) dense_rows<kElement, 4>(problem, row, first, tokens);
    }
    for (; row + 2 <= problem.rows; row += 2) dense_rows<kElement, 2>(problem, row, first, tokens);
    if (row < problem.rows) dense_rows<kElement, 1>(problem, row, first, tokens);
  }
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
void widen_halves(const void* x, int64_t count, float* y) {
  const auto* halves = static_cast<const uint16_t*>(x);
  for_each_vector(count,
                  [&](int64_t i, __mmask16 lanes) { store(y + i, lanes, load_wide<kElement>(halves + i, lanes)); });
}

}  // namespace

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
  __m512 sum = _mm512_setzero_ps();
  for_each_vector(count, [&](int64_t i, __mmask16 lanes) {
    const __m512 v = load(x + i, lanes);
    sum = _mm512_mask_add_ps(sum, lanes, sum, _mm512_mul_ps(v, v));
  });
  const __m128 mean = _mm_set_ss(fold_lanes(sum) / static_cast<float>(count) + eps);
  const __m512 r = _mm512_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
  for_each_vector(count, [&](int64_t i, __mmask16 lanes) {
    const __m512 scaled = _mm512_mul_ps(load(x + i, lanes), r);
    store(y + i, lanes, _mm512_mul_ps(scaled, load(weight + i, lanes)));
  });
}

void add(const float* x, const float* z, int64_t count, float* y) {
  for_each_vector(count, [&](int64_t i, __mmask16 lanes) {
    store(y + i, lanes, _mm512_add_ps(load(x + i, lanes), load(z + i, lanes)));
  });
}

void rope(float* x, const float* cosine, const float* sine, int64_t half) {
  for_each_vector(half, [&](int64_t j, __mmask16 lanes) {
    const __m512 a = load(x + j, lanes), b = load(x + half + j, lanes);
    const __m512 c = load(cosine + j, lanes), s = load(sine + j, lanes);
    store(x + j, lanes, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
    store(x + half + j, lanes, _mm512_add_ps(_mm512_mul_ps(b, c), _mm512_mul_ps(a, s)));
  });
}

}  // namespace avx512

const KernelSet kAvx512VnniKernels = avx512::kernel_set("avx512_vnni", avx512::kVnniFeatures);

}  // namespace tritium::kernels
