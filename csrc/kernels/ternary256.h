// Products of 2-bit weights with several tokens in registers of 8 rows, for any instruction that multiplies codes by
// activations. A set brings it in a type `Product`:
//   add(sum, codes, q)   `sum` and the products of 32 codes and activations
//   widened(sum)         such a sum as int32
//   kBlockColumns        columns of codes, at most 2, after which a sum is widened; a multiple of 16
//   kGroupPanels         panels of which such a block of unpacked codes fits the first-level cache
//   gemv(problem)        the product with one token
#pragma once

#include "kernels/avx2.h"

namespace tritium::kernels::avx2 {

inline constexpr int kRegisterRows = 8;
inline constexpr int kTileTokens = 6;
inline constexpr int kFewTokens = 8;

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

// Codes one a byte, 64 bytes for every four columns.
template <class Product, int kTokens>
static void unpacked_tile(const GemmTile& tile) {
  __m256i sum[kTokens][2];
  clear(sum);
  const uint8_t* codes = tile.codes;
  const int8_t* q = tile.q;
  for (const int8_t* end = q + tile.columns; q < end; q += 4) {
    const __m256i w[2] = {load_bytes(codes), load_bytes(codes + 32)};
    accumulate<Product>(w, q, tile.q_stride, sum);
    codes += 64;
  }
  store_tile<Product>(tile, sum);
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
  constexpr int kAhead = 4096;
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

static void unpack_block(const uint8_t* packed, int64_t columns, uint8_t* codes) {
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

template <class Product>
static void gemm_few_tokens(const TernaryMatmul& problem) {
  static constexpr TileFunction kTiles[kTileTokens] = {
      packed_tile<Product, 1>, packed_tile<Product, 2>, packed_tile<Product, 3>,
      packed_tile<Product, 4>, packed_tile<Product, 5>, packed_tile<Product, 6>,
  };
  constexpr int64_t kBlock = Product::kBlockColumns;
  const int64_t first = problem.tokens > kTileTokens ? (problem.tokens + 1) / 2 : problem.tokens;
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    for (int64_t k = 0; k < problem.columns; k += kBlock) {
      const uint8_t* codes = packed_at(problem, panel, k);
      kTiles[first - 1](tile_at(problem, panel, 0, k, kBlock, codes));
      if (first == problem.tokens) continue;
      kTiles[problem.tokens - first - 1](tile_at(problem, panel, first, k, kBlock, codes));
    }
  }
}

// A block of unpacked codes of some panels stays in the first-level cache while tiles of tokens pass; each tile's
// activations are used by all of them.
template <class Product>
static void gemm_group(const TernaryMatmul& problem, int64_t first_panel, int64_t panels, int64_t first_token,
                       int64_t tokens) {
  static constexpr TileFunction kTiles[kTileTokens] = {
      unpacked_tile<Product, 1>, unpacked_tile<Product, 2>, unpacked_tile<Product, 3>,
      unpacked_tile<Product, 4>, unpacked_tile<Product, 5>, unpacked_tile<Product, 6>,
  };
  constexpr int64_t kBlock = Product::kBlockColumns, kCodes = kBlock * kPanelRows;
  alignas(64) uint8_t codes[Product::kGroupPanels * kCodes];
  const int64_t tiles = (tokens + kTileTokens - 1) / kTileTokens;
  for (int64_t k = 0; k < problem.columns; k += kBlock) {
    const int64_t columns = problem.columns - k < kBlock ? problem.columns - k : kBlock;
    for (int64_t i = 0; i < panels; ++i) {
      unpack_block(packed_at(problem, first_panel + i, k), columns, codes + i * kCodes);
    }
    int64_t token = first_token;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t tile_tokens = tokens / tiles + (t < tokens % tiles ? 1 : 0);
      const TileFunction multiply = kTiles[tile_tokens - 1];
      for (int64_t i = 0; i < panels; ++i) {
        multiply(tile_at(problem, first_panel + i, token, k, kBlock, codes + i * kCodes));
      }
      token += tile_tokens;
    }
  }
}

template <class Product>
static void gemm_2bit(const TernaryMatmul& problem) {
  if (problem.tokens == 1) return Product::gemv(problem);
  if (problem.tokens <= kFewTokens) return gemm_few_tokens<Product>(problem);
  // A block of activations that stays in the second-level cache.
  constexpr int64_t kBlockBytes = int64_t{512} << 10, kGroup = Product::kGroupPanels;
  int64_t block = kBlockBytes / problem.columns / kTileTokens * kTileTokens;
  if (block < 8 * kTileTokens) block = 8 * kTileTokens;
  for (int64_t token = 0; token < problem.tokens; token += block) {
    const int64_t tokens = problem.tokens - token < block ? problem.tokens - token : block;
    for (int64_t panel = 0; panel < problem.panels_used; panel += kGroup) {
      const int64_t left = problem.panels_used - panel;
      gemm_group<Product>(problem, panel, left < kGroup ? left : kGroup, token, tokens);
    }
  }
}

}  // namespace tritium::kernels::avx2
