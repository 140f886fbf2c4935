// AVX-512 with VNNI and VBMI: as avx512_vnni.cpp, and a look-up of 64 bytes decodes the format of 1.6 bits.
#include "kernels/avx512.h"

namespace tritium::kernels {

extern const KernelSet kAvx512VbmiKernels;

namespace avx512 {

namespace {

constexpr int kBlockSteps = 4;  // of 64 bytes
constexpr int kBlockColumns = 5 * kStepColumns;
constexpr int kBlockBytes = kBlockSteps * kStepBytes;

// Four codes in the fields of the 2-bit format.
constexpr uint8_t fields_of(int t) {
  return static_cast<uint8_t>(t % 3 | t / 3 % 3 << 2 | t / 9 % 3 << 4 | t / 27 % 3 << 6);
}

// By the low six bits of a byte: the first four codes where it is less than 192 and elsewhere, and there the fifth.
struct Tables {
  uint8_t low[64], high[64], fifth[64];
};
constexpr Tables make_tables() {
  Tables tables = {};
  for (int i = 0; i < 64; ++i) {
    tables.low[i] = fields_of(i);
    tables.high[i] = fields_of(64 + i / 3);
    tables.fifth[i] = static_cast<uint8_t>(i % 3 << 6);
  }
  return tables;
}
alignas(64) constexpr Tables kTables = make_tables();

struct LoadedTables {
  __m512i low, high, fifth;
};

TRITIUM_INLINE LoadedTables load_tables() {
  return {load_bytes(kTables.low), load_bytes(kTables.high), load_bytes(kTables.fifth)};
}

// 64 bytes to four codes each, in the fields of the 2-bit format.
TRITIUM_INLINE __m512i decode_four(__m512i bytes, const LoadedTables& tables) {
  const __mmask64 high = _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(static_cast<char>(0xC0)));
  return _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(bytes, tables.low), high, bytes, tables.high);
}

// And to the fifth code, in the place of the last field.
TRITIUM_INLINE __m512i decode_fifth(__m512i bytes, const LoadedTables& tables) {
  const __mmask64 high = _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(static_cast<char>(0xC0)));
  return _mm512_mask_permutexvar_epi8(field_in_place<3>(bytes), high, bytes, tables.fifth);
}

// The codes of 64 bytes: four in the fields of the 2-bit format, and a fifth.
TRITIUM_INLINE __m512i encode(__m512i four, __m512i fifth) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 0, 0, 0, 0));
  const __m512i high = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 9, 18, 0, 27, 36, 45, 0, 54, 63, 72, 0, 0, 0, 0, 0));
  const __m512i t = _mm512_add_epi8(_mm512_shuffle_epi8(low, _mm512_and_si512(four, nibble)),
                                    _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16(four, 4), nibble)));
  const __m512i below = _mm512_or_si512(t, _mm512_slli_epi16(fifth, 6));
  const __m512i above = _mm512_add_epi8(_mm512_add_epi8(t, t), _mm512_add_epi8(t, fifth));
  return _mm512_mask_mov_epi8(below, _mm512_cmpge_epu8_mask(t, _mm512_set1_epi8(64)), above);
}

void pack_1_6bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  constexpr int64_t kPart = 4 * kBlockColumns;  // whole vectors of a row, and whole blocks
  alignas(64) uint8_t steps[kPart / kStepColumns * kStepBytes];
  for (int64_t k = 0; k < columns; k += kPart) {
    const int64_t part = columns - k < kPart ? columns - k : kPart;
    pack_columns(trits + k, columns, rows, part, steps);
    const uint8_t* step = steps;
    int64_t left = padded_columns(part);
    for (; left >= kBlockColumns; left -= kBlockColumns) {
      __m512i fifth = load_bytes(step + kBlockSteps * kStepBytes);
      for (int s = 0; s < kBlockSteps; ++s) {
        const __m512i code = field_in_place<0>(fifth);
        _mm512_storeu_si512(panel, encode(load_bytes(step), code));
        fifth = _mm512_srli_epi16(fifth, 2);
        step += kStepBytes;
        panel += kStepBytes;
      }
      step += kStepBytes;
    }
    for (; left > 0; left -= kStepColumns) {
      _mm512_storeu_si512(panel, encode(load_bytes(step), _mm512_setzero_si512()));
      step += kStepBytes;
      panel += kStepBytes;
    }
  }
}

// 64 bytes times 16 columns from q, and four from q_fifth unless that is null.
TRITIUM_INLINE void add_step(const uint8_t* codes, const int8_t* q, const int8_t* q_fifth, const LoadedTables& tables,
                             __m512i (&sum)[4]) {
  const __m512i bytes = load_bytes(codes), four = decode_four(bytes, tables);
  sum[0] = _mm512_dpbusd_epi32(sum[0], field_in_place<0>(four), broadcast_columns(q));
  TRITIUM_KEEP(sum[0]);
  sum[1] = _mm512_dpbusd_epi32(sum[1], field_in_place<1>(four), broadcast_columns(q + 4));
  TRITIUM_KEEP(sum[1]);
  sum[2] = _mm512_dpbusd_epi32(sum[2], field_in_place<2>(four), broadcast_columns(q + 8));
  TRITIUM_KEEP(sum[2]);
  sum[3] = _mm512_dpbusd_epi32(sum[3], field_in_place<3>(four), broadcast_columns(q + 12));
  TRITIUM_KEEP(sum[3]);
  if (!q_fifth) return;
  sum[3] = _mm512_dpbusd_epi32(sum[3], decode_fifth(bytes, tables), broadcast_columns(q_fifth));
  TRITIUM_KEEP(sum[3]);
}

// Even and odd steps have sums of their own, so that latencies overlap. The last field takes two products a step, so
// that half of kFieldColumns stay inside int32.
void gemv_panel(const uint8_t* codes, int64_t columns, const int8_t* q, int32_t q_sum, int32_t* acc) {
  constexpr int64_t kPart = kFieldColumns / 2 / kBlockColumns * kBlockColumns;
  const LoadedTables tables = load_tables();
  __m512i total = _mm512_set1_epi32(-q_sum);
  for (int64_t k = 0; k < columns;) {
    const int64_t end = columns - k < kPart ? columns : k + kPart;
    __m512i sum[2][4];
    TRITIUM_UNROLL
    for (int j = 0; j < 4; ++j) sum[0][j] = sum[1][j] = _mm512_setzero_si512();
    for (; k + kBlockColumns <= end; k += kBlockColumns) {
      TRITIUM_UNROLL
      for (int s = 0; s < kBlockSteps; ++s) {
        add_step(codes + s * kStepBytes, q + k + s * kStepColumns, q + k + kBlockSteps * kStepColumns + 4 * s, tables,
                 sum[s % 2]);
      }
      codes += kBlockBytes;
    }
    for (; k < end; k += kStepColumns) {
      add_step(codes, q + k, nullptr, tables, sum[0]);
      codes += kStepBytes;
    }
    TRITIUM_UNROLL
    for (int j = 0; j < 4; ++j) sum[0][j] = _mm512_add_epi32(sum[0][j], sum[1][j]);
    total = _mm512_add_epi32(total, sum_of_fields(sum[0]));
  }
  _mm512_storeu_si512(acc, total);
}

void gemv_1_6bit(const TernaryMatmul& problem) {
  const int64_t bytes = k1_6BitLayout.panel_bytes(problem.columns);
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    gemv_panel(problem.panels + panel * bytes, problem.columns, problem.q, problem.q_sum[0],
               problem.acc + panel * kPanelRows);
  }
}

// Codes to the 2-bit format.
void decode_columns(const uint8_t* codes, int64_t columns, const LoadedTables& tables, uint8_t* steps) {
  for (; columns >= kBlockColumns; columns -= kBlockColumns) {
    __m512i fifth = _mm512_setzero_si512();
    TRITIUM_UNROLL
    for (int s = 0; s < kBlockSteps; ++s) {
      const __m512i bytes = load_bytes(codes);
      _mm512_store_si512(steps, decode_four(bytes, tables));
      // The first comes to the lowest field.
      fifth = _mm512_or_si512(_mm512_srli_epi16(fifth, 2), decode_fifth(bytes, tables));
      codes += kStepBytes;
      steps += kStepBytes;
    }
    _mm512_store_si512(steps, fifth);
    steps += kStepBytes;
  }
  for (; columns > 0; columns -= kStepColumns) {
    _mm512_store_si512(steps, decode_four(load_bytes(codes), tables));
    codes += kStepBytes;
    steps += kStepBytes;
  }
}

// Panels are decoded once for a block of tokens, some columns of a tile of them at a time, which stay in the
// first-level cache; meanwhile the panels that follow are fetched as one sequential stream.
void gemm_1_6bit(const TernaryMatmul& problem) {
  if (problem.tokens == 1) return gemv_1_6bit(problem);
  constexpr int64_t kPart = 8 * kBlockColumns, kPartBytes = k2BitLayout.panel_bytes(kPart);
  alignas(64) uint8_t steps[kTilePanels * kPartBytes];
  const LoadedTables tables = load_tables();
  const int64_t columns = problem.columns, bytes = k1_6BitLayout.panel_bytes(columns), block = block_tokens(columns);
  const int64_t rows = problem.panels_used * kPanelRows;
  for (int64_t first = 0; first < problem.tokens; first += block) {
    const int64_t tokens = problem.tokens - first < block ? problem.tokens - first : block;
    for (int64_t panel = 0; panel < problem.panels_used; panel += kTilePanels) {
      const int64_t left = problem.panels_used - panel, panels = left < kTilePanels ? left : kTilePanels;
      const uint8_t* codes = problem.panels + panel * bytes;
      const uint8_t* next = codes + panels * bytes;
      for (int64_t k = 0; k < columns; k += kPart) {
        const int64_t part = columns - k < kPart ? columns - k : kPart, part_bytes = k1_6BitLayout.panel_bytes(part);
        for (int64_t i = 0; i < panels; ++i) decode_columns(codes + i * bytes, part, tables, steps + i * kPartBytes);
        multiply_tokens(
            {steps, kPartBytes, panels, next, panels * kStepBytes, kStepBytes, part, problem.q + first * columns + k,
             columns, k == 0 ? problem.q_sum + first : nullptr, problem.acc + first * rows + panel * kPanelRows, rows},
            tokens);
        codes += part_bytes;
        next += panels * part_bytes;
      }
    }
  }
}

}  // namespace
}  // namespace avx512

const KernelSet kAvx512VbmiKernels =
    avx512::kernel_set("avx512_vbmi", avx512::kVbmiFeatures,
                       {k1_6BitLayout, avx512::pack_1_6bit, avx512::gemv_1_6bit, avx512::gemm_1_6bit});

}  // namespace tritium::kernels
