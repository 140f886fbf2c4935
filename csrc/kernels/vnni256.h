// The ternary products of a set with registers of 32 bytes and VNNI, from the one function TRITIUM_DPBUSD: the sets
// differ in how the instruction is encoded.
#pragma once

#include "kernels/ternary256.h"

namespace tritium::kernels::avx2 {

namespace {

// Field j masked in place is 4^j times its code, at most 128. A step adds four products of it with |q| <= 128 to the
// sum of the field, 2^16 at most, so that 2^15 steps reach -2^31 and fit.
constexpr int64_t kFieldColumns = (int64_t{1} << 15) * kStepColumns;

template <int kField>
TRITIUM_INLINE void add_field(const __m256i (&packed)[2], const int8_t* q, __m256i (&sum)[4][2]) {
  const __m256i field = _mm256_set1_epi8(static_cast<char>(0x03 << (2 * kField)));
  const __m256i x = broadcast_columns(q + 4 * kField);
  TRITIUM_UNROLL
  for (int i = 0; i < 2; ++i) {
    sum[kField][i] = TRITIUM_DPBUSD(sum[kField][i], _mm256_and_si256(packed[i], field), x);
    TRITIUM_KEEP(sum[kField][i]);
  }
}

// One panel: a single sequential stream, which the hardware follows best.
void gemv_panel(const uint8_t* codes, int64_t columns, const int8_t* q, int32_t q_sum, int32_t* acc) {
  __m256i total[2] = {_mm256_set1_epi32(-q_sum), _mm256_set1_epi32(-q_sum)};
  for (int64_t k = 0; k < columns;) {
    const int64_t end = columns - k < kFieldColumns ? columns : k + kFieldColumns;
    __m256i sum[4][2];
    clear(sum);
    for (; k < end; k += kStepColumns) {
      const __m256i packed[2] = {load_bytes(codes), load_bytes(codes + 32)};
      add_field<0>(packed, q + k, sum);
      add_field<1>(packed, q + k, sum);
      add_field<2>(packed, q + k, sum);
      add_field<3>(packed, q + k, sum);
      codes += kStepBytes;
    }
    TRITIUM_UNROLL
    for (int i = 0; i < 2; ++i) {
      const __m256i low = _mm256_add_epi32(sum[0][i], _mm256_srai_epi32(sum[1][i], 2));
      const __m256i high = _mm256_add_epi32(_mm256_srai_epi32(sum[2][i], 4), _mm256_srai_epi32(sum[3][i], 6));
      total[i] = _mm256_add_epi32(total[i], _mm256_add_epi32(low, high));
    }
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc), total[0]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + kRegisterRows), total[1]);
}

void gemv_2bit(const TernaryMatmul& problem) {
  const int64_t bytes = k2BitLayout.panel_bytes(problem.columns);
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    gemv_panel(problem.panels + panel * bytes, problem.columns, problem.q, problem.q_sum[0],
               problem.acc + panel * kPanelRows);
  }
}

struct Vnni {
  TRITIUM_INLINE __m256i add(__m256i sum, __m256i codes, __m256i q) { return TRITIUM_DPBUSD(sum, codes, q); }
  TRITIUM_INLINE __m256i widened(__m256i sum) { return sum; }
};

TRITIUM_INLINE void mask_field(const __m256i (&packed)[2], char field, __m256i (&w)[2]) {
  TRITIUM_UNROLL
  for (int i = 0; i < 2; ++i) w[i] = _mm256_and_si256(packed[i], _mm256_set1_epi8(field));
}

// Two sums a register of rows, the second of odd fields four times as large, so that few tokens have enough sums for
// the latency of the instruction, and fewer shifts.
template <int kTokens>
void field_tile(const GemmTile& tile) {
  __m256i even[kTokens][2], odd[kTokens][2], w[2];
  clear(even);
  clear(odd);
  const uint8_t* codes = tile.codes;
  const int8_t* q = tile.q;
  for (const int8_t* end = q + tile.columns; q < end; q += kStepColumns) {
    _mm_prefetch(reinterpret_cast<const char*>(codes) + kAhead, _MM_HINT_T0);
    __m256i packed[2] = {load_bytes(codes), load_bytes(codes + 32)};
    mask_field(packed, 0x03, w);
    accumulate<Vnni>(w, q, tile.q_stride, even);
    mask_field(packed, 0x0C, w);
    accumulate<Vnni>(w, q + 4, tile.q_stride, odd);
    TRITIUM_UNROLL
    for (int i = 0; i < 2; ++i) packed[i] = _mm256_srli_epi16(packed[i], 4);
    mask_field(packed, 0x03, w);
    accumulate<Vnni>(w, q + 8, tile.q_stride, even);
    mask_field(packed, 0x0C, w);
    accumulate<Vnni>(w, q + 12, tile.q_stride, odd);
    codes += kStepBytes;
  }
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < 2; ++i) even[t][i] = _mm256_add_epi32(even[t][i], _mm256_srai_epi32(odd[t][i], 2));
  }
  store_tile<Vnni>(tile, even);
}

void gemm_2bit(const TernaryMatmul& problem) {
  static constexpr TileFunction kTiles[kTileTokens] = {
      field_tile<1>, field_tile<2>, field_tile<3>, packed_tile<Vnni, 4>, packed_tile<Vnni, 5>, packed_tile<Vnni, 6>,
  };
  // A block of codes stays in the first-level cache.
  constexpr int64_t kBlockColumns = 2048;
  if (problem.tokens == 1) return gemv_2bit(problem);
  multiply_in_tiles<kBlockColumns>(problem, kTiles);
}

}  // namespace
}  // namespace tritium::kernels::avx2
