// Products of 2-bit weights with several tokens in registers of 8 rows, for any instruction that multiplies codes by
// activations. A set brings it in a type `Product`:
//   add(sum, codes, q)   `sum` and the products of 32 codes and activations
//   widened(sum)         such a sum as int32
#pragma once

#include "kernels/avx2.h"

namespace tritium::kernels::avx2 {

inline constexpr int kRegisterRows = 8;
inline constexpr int kTileTokens = 6;
inline constexpr int kAhead = 4096;  // bytes to prefetch

// Activations of so many tokens stay in the second-level cache.
constexpr int64_t block_tokens(int64_t columns) {
  constexpr int64_t kBlockBytes = int64_t{512} << 10, kLeast = 8 * kTileTokens;
  const int64_t tokens = kBlockBytes / columns / kTileTokens * kTileTokens;
  return tokens < kLeast ? kLeast : tokens;
}

// A block of columns of one panel.
struct GemmTile {
  const uint8_t* codes;
  int64_t columns;
  const int8_t* q;  // first token, first column of the block
  int64_t q_stride;
  const int32_t* q_sum;  // (tokens) for the first block; null for later ones, which add to acc
  int32_t* acc;
  int64_t acc_stride;
};

template <int kTokens, int kVectors>
TRITIUM_INLINE void clear(__m256i (&sum)[kTokens][kVectors]) {
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) sum[t][i] = _mm256_setzero_si256();
  }
}

// Four columns of kVectors * 8 rows and kTokens tokens.
template <class Product, int kTokens, int kVectors>
TRITIUM_INLINE void accumulate(const __m256i (&w)[kVectors], const int8_t* q, int64_t q_stride,
                               __m256i (&sum)[kTokens][kVectors]) {
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const __m256i x = broadcast_columns(q + t * q_stride);
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      sum[t][i] = Product::add(sum[t][i], w[i], x);
      TRITIUM_KEEP(sum[t][i]);
    }
  }
}

template <class Product, int kTokens, int kVectors>
TRITIUM_INLINE void store_tile(const GemmTile& tile, const __m256i (&sum)[kTokens][kVectors]) {
  TRITIUM_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    TRITIUM_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      int32_t* acc = tile.acc + t * tile.acc_stride + kRegisterRows * i;
      const __m256i start = tile.q_sum ? _mm256_set1_epi32(-tile.q_sum[t]) : load_bytes(acc);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc), _mm256_add_epi32(start, Product::widened(sum[t][i])));
    }
  }
}

template <int kField>
TRITIUM_INLINE void shift_field(const __m256i (&packed)[2], __m256i (&w)[2]) {
  TRITIUM_UNROLL
  for (int i = 0; i < 2; ++i) {
    w[i] = _mm256_and_si256(_mm256_srli_epi16(packed[i], 2 * kField), _mm256_set1_epi8(3));
  }
}

// Codes as in the panel.
template <class Product, int kTokens>
static void packed_tile(const GemmTile& tile) {
  __m256i sum[kTokens][2];
  clear(sum);
  const uint8_t* codes = tile.codes;
  const int8_t* q = tile.q;
  for (const int8_t* end = q + tile.columns; q < end; q += kStepColumns) {
    _mm_prefetch(reinterpret_cast<const char*>(codes) + kAhead, _MM_HINT_T0);
    const __m256i packed[2] = {load_bytes(codes), load_bytes(codes + 32)};
    __m256i w[2];
    shift_field<0>(packed, w);
    accumulate<Product>(w, q, tile.q_stride, sum);
    shift_field<1>(packed, w);
    accumulate<Product>(w, q + 4, tile.q_stride, sum);
    shift_field<2>(packed, w);
    accumulate<Product>(w, q + 8, tile.q_stride, sum);
    shift_field<3>(packed, w);
    accumulate<Product>(w, q + 12, tile.q_stride, sum);
    codes += kStepBytes;
  }
  store_tile<Product>(tile, sum);
}

static const uint8_t* packed_at(const TernaryMatmul& problem, int64_t panel, int64_t k) {
  return problem.panels + panel * k2BitLayout.panel_bytes(problem.columns) + k2BitLayout.panel_bytes(k);
}

static GemmTile tile_at(const TernaryMatmul& problem, int64_t panel, int64_t token, int64_t k, int64_t block,
                        const uint8_t* codes) {
  const int64_t left = problem.columns - k, rows = problem.panels_used * kPanelRows;
  GemmTile tile;
  tile.codes = codes;
  tile.columns = left < block ? left : block;
  tile.q = problem.q + token * problem.columns + k;
  tile.q_stride = problem.columns;
  tile.q_sum = k == 0 ? problem.q_sum + token : nullptr;
  tile.acc = problem.acc + token * rows + panel * kPanelRows;
  tile.acc_stride = rows;
  return tile;
}

using TileFunction = void (*)(const GemmTile&);

// All panels times all tokens, in tiles of about the same size; kTiles[n - 1] takes n tokens and kBlock columns.
template <int64_t kBlock>
static void multiply_in_tiles(const TernaryMatmul& problem, const TileFunction (&tiles)[kTileTokens]) {
  const int64_t block = block_tokens(problem.columns);
  for (int64_t first = 0; first < problem.tokens; first += block) {
    const int64_t tokens = problem.tokens - first < block ? problem.tokens - first : block;
    const int64_t count = (tokens + kTileTokens - 1) / kTileTokens;
    for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
      for (int64_t k = 0; k < problem.columns; k += kBlock) {
        const uint8_t* codes = packed_at(problem, panel, k);
        int64_t token = first;
        for (int64_t t = 0; t < count; ++t) {
          const int64_t tile_tokens = tokens / count + (t < tokens % count ? 1 : 0);
          tiles[tile_tokens - 1](tile_at(problem, panel, token, k, kBlock, codes));
          token += tile_tokens;
        }
      }
    }
  }
}

}  // namespace tritium::kernels::avx2
