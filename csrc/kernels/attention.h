// Attention over one KV page, written once over the vectors of an instruction set. attention_<isa>.cpp describes them:
//
//   kWidth, kStrip            floats of a vector; vectors of sums that each query of a block keeps in registers
//   Floats                    a vector
//   zero(), set1(x), load(p), load(p, n), store(p, x), store(p, n, x)    n: the first n lanes; others +0, or left
//   add, mul, div(a, b), greater(a, b)    the last is a > b ? a : b, so b where a is NaN
//   first(n, a, b)            a in the first n lanes, b in the others
//   exponential(x)            as in kernel_set.h
//   low(x), largest(x)        the first lane; the largest, where none is NaN
//   fold_lanes(lanes)         of 16 / kWidth vectors
//   store_codes(p, x)         x in ±32768 as int16, rounded half to even
//   prefetch(p)               64 bytes to the second-level cache
//   F16, Int8                 products with rows of two-byte elements, which are a float16 or two codes:
//     Sum, Wide, Factor       a vector of sums; of elements, widened; what multiplies them in all lanes
//     load(p), load(p, n), factor(p), zero(), add(sum, wide, factor), floats(sum)
//     kTokensPerRow           tokens of a row of values
//
// The types of an instruction set belong to its file alone, and so does every instance of these templates.
#pragma once

#include <math.h>
#include <string.h>

#include "kernels/compiler.h"
#include "kernels/kernel_set.h"

namespace tritium::kernels {

inline constexpr int kBlockQueries = 4;
inline constexpr int kSumLanes = 16;
inline constexpr int kElementBytes = 2;
inline constexpr int kFactorBytes = 4;  // a float, or two int16

template <int kValue>
struct Constant {
  constexpr operator int() const { return kValue; }
};

// kVectors vectors of products for each of kQueries queries, over `count` rows.
template <class Isa, class Format, int kQueries, int kVectors, bool kPartial>
TRITIUM_INLINE void add_rows(const uint8_t* rows, const uint8_t* next, int64_t row_bytes, int64_t count,
                             const uint8_t* factors, int64_t query_bytes, int64_t lanes,
                             typename Format::Sum (&sum)[kQueries][kVectors]) {
  for (int64_t row = 0; row < count; ++row) {
    typename Format::Wide wide[kVectors];
    TRITIUM_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const uint8_t* p = rows + v * Isa::kWidth * kElementBytes;
      wide[v] = kPartial ? Format::load(p, lanes) : Format::load(p);
    }
    Isa::prefetch(next);
    if constexpr (kVectors * Isa::kWidth * kElementBytes > 64) Isa::prefetch(next + 64);
    TRITIUM_UNROLL
    for (int i = 0; i < kQueries; ++i) {
      const typename Format::Factor factor = Format::factor(factors + i * query_bytes);
      TRITIUM_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Format::add(sum[i][v], wide[v], factor);
    }
    rows += row_bytes;
    next += row_bytes;
    factors += kFactorBytes;
  }
}

template <class Format, int kQueries, int kVectors>
TRITIUM_INLINE void clear(typename Format::Sum (&sum)[kQueries][kVectors]) {
  TRITIUM_UNROLL
  for (int i = 0; i < kQueries; ++i) {
    TRITIUM_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Format::zero();
  }
}

// Products of kQueries queries with kVectors vectors of keys, as floats.
template <class Isa, class Format, int kQueries, int kVectors>
TRITIUM_INLINE void score_keys(const uint8_t* keys, const uint8_t* next, int64_t rows, const uint8_t* q, int64_t first,
                               float (&scores)[kQueries][kPageTokens]) {
  typename Format::Sum sum[kQueries][kVectors];
  clear<Format>(sum);
  add_rows<Isa, Format, kQueries, kVectors, false>(keys, next, kPageTokens * kElementBytes, rows, q,
                                                   rows * kFactorBytes, Isa::kWidth, sum);
  TRITIUM_UNROLL
  for (int i = 0; i < kQueries; ++i) {
    TRITIUM_UNROLL
    for (int v = 0; v < kVectors; ++v) Isa::store(scores[i] + first + v * Isa::kWidth, Format::floats(sum[i][v]));
  }
}

// The first `tokens` of scores to weights, in place, the others up to `end`, a multiple of 16, to +0; also part.max and
// part.sum. scale(j) is what multiplies the scores of the vector from j.
template <class Isa, class Scale>
TRITIUM_INLINE void weigh_keys(float* p, int64_t tokens, int64_t end, Scale scale, AttentionPart* part) {
  using Floats = typename Isa::Floats;
  constexpr int kLaneVectors = kSumLanes / Isa::kWidth;
  const Floats least = Isa::set1(-HUGE_VALF);
  Floats max = least;
  for (int64_t j = 0; j < tokens; j += Isa::kWidth) {
    const Floats score = Isa::first(tokens - j, Isa::mul(Isa::load(p + j), scale(j)), least);
    Isa::store(p + j, score);
    max = Isa::greater(score, max);
  }
  const float top = Isa::largest(max) + 0.0f;
  Floats lanes[kLaneVectors];
  for (int v = 0; v < kLaneVectors; ++v) lanes[v] = Isa::zero();
  // Weights are never -0, so that adding the +0 of an absent one changes nothing.
  for (int64_t j = 0; j < end; j += kSumLanes) {
    TRITIUM_UNROLL
    for (int v = 0; v < kLaneVectors; ++v) {
      const int64_t k = j + v * Isa::kWidth;
      const Floats weight =
          Isa::first(tokens - k, Isa::exponential(Isa::add(Isa::load(p + k), Isa::set1(-top))), Isa::zero());
      Isa::store(p + k, weight);
      lanes[v] = Isa::add(lanes[v], weight);
    }
  }
  part->max = top;
  part->sum = Isa::fold_lanes(lanes);
}

// Weights to codes of what they are together with the scales of their values; what turns sums of codes into values.
template <class Isa>
TRITIUM_INLINE float code_weights(float* p, int64_t tokens, int64_t end, const float* scales, int16_t* codes) {
  typename Isa::Floats max = Isa::set1(0x1p-100f);
  for (int64_t j = 0; j < end; j += Isa::kWidth) {
    const auto weight = Isa::first(tokens - j, Isa::mul(Isa::load(p + j), Isa::load(scales + j)), Isa::zero());
    Isa::store(p + j, weight);
    max = Isa::greater(weight, max);
  }
  const float most = Isa::largest(max);
  const auto r = Isa::set1(32767.0f / most);
  for (int64_t j = 0; j < end; j += Isa::kWidth) {
    Isa::store_codes(codes + j, Isa::greater(Isa::mul(Isa::load(p + j), r), Isa::zero()));
  }
  return most / 32767.0f;
}

// kVectors vectors of the values of each query, the last of `lanes` lanes if it is partial.
template <class Isa, class Format, int kQueries, int kVectors, bool kPartial>
TRITIUM_INLINE void weigh_values(const uint8_t* values, const uint8_t* next, int64_t row_bytes, const int32_t* seen,
                                 int64_t least, int64_t most, const uint8_t* weights, int64_t query_bytes,
                                 const float* multipliers, int64_t first, int64_t lanes, AttentionPart* parts) {
  typename Format::Sum sum[kQueries][kVectors];
  clear<Format>(sum);
  if constexpr (Format::kTokensPerRow > 1) {
    // A token that is not seen has code 0.
    const int64_t rows = (most + Format::kTokensPerRow - 1) / Format::kTokensPerRow;
    add_rows<Isa, Format, kQueries, kVectors, kPartial>(values, next, row_bytes, rows, weights, query_bytes, lanes,
                                                        sum);
  } else {
    add_rows<Isa, Format, kQueries, kVectors, kPartial>(values, next, row_bytes, least, weights, query_bytes, lanes,
                                                        sum);
    // Times +0 would not do: a value that is not seen may be NaN, and a sum may be -0.
    for (int64_t j = least; j < most; ++j) {
      TRITIUM_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const uint8_t* p = values + j * row_bytes + v * Isa::kWidth * kElementBytes;
        const typename Format::Wide wide = kPartial ? Format::load(p, lanes) : Format::load(p);
        TRITIUM_UNROLL
        for (int i = 0; i < kQueries; ++i) {
          if (j >= seen[i]) continue;
          sum[i][v] = Format::add(sum[i][v], wide, Format::factor(weights + i * query_bytes + j * kFactorBytes));
        }
      }
    }
  }
  TRITIUM_UNROLL
  for (int i = 0; i < kQueries; ++i) {
    TRITIUM_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      typename Isa::Floats value = Format::floats(sum[i][v]);
      if constexpr (Format::kTokensPerRow > 1) value = Isa::mul(value, Isa::set1(multipliers[i]));
      float* out = parts[i].values + first + v * Isa::kWidth;
      kPartial ? Isa::store(out, lanes, value) : Isa::store(out, value);
    }
  }
}

template <class Isa, class Format, int kQueries>
void attend_block(const AttentionPage& page, int64_t block, const uint8_t* next, AttentionPart* parts) {
  constexpr bool kCodes = Format::kTokensPerRow > 1;
  constexpr int64_t kStripLanes = Isa::kStrip * Isa::kWidth;
  const int64_t head_dim = page.head_dim;
  const int32_t* seen = page.seen + block;
  int64_t least = seen[0], most = seen[0];
  for (int i = 1; i < kQueries; ++i) {
    least = seen[i] < least ? seen[i] : least;
    most = seen[i] > most ? seen[i] : most;
  }
  const int64_t end = (most + kSumLanes - 1) / kSumLanes * kSumLanes;

  const int64_t key_rows = kCodes ? key_pairs(head_dim) : head_dim;
  const uint8_t* q = static_cast<const uint8_t*>(page.q) + block * key_rows * kFactorBytes;
  alignas(64) float p[kQueries][kPageTokens];
  int64_t key = 0;
  for (; key + kStripLanes <= end; key += kStripLanes) {
    const int64_t offset = key * kElementBytes;
    score_keys<Isa, Format, kQueries, Isa::kStrip>(page.page + offset, next + offset, key_rows, q, key, p);
  }
  for (; key < end; key += Isa::kWidth) {
    const int64_t offset = key * kElementBytes;
    score_keys<Isa, Format, kQueries, 1>(page.page + offset, next + offset, key_rows, q, key, p);
  }

  alignas(64) int16_t codes[kQueries][kCodes ? kPageTokens : 1];
  float multipliers[kQueries];
  for (int i = 0; i < kQueries; ++i) {
    if constexpr (kCodes) {
      const float* scales = reinterpret_cast<const float*>(page.page + int8_scales_offset(head_dim));
      const auto multiplier = Isa::set1(page.q_multiplier[block + i]);
      weigh_keys<Isa>(
          p[i], seen[i], end, [&](int64_t j) { return Isa::mul(multiplier, Isa::load(scales + j)); }, &parts[i]);
      multipliers[i] = code_weights<Isa>(p[i], seen[i], end, scales + kPageTokens, codes[i]);
    } else {
      const auto scale = Isa::set1(page.scale);
      weigh_keys<Isa>(p[i], seen[i], end, [&](int64_t) { return scale; }, &parts[i]);
    }
  }

  const auto* weights = kCodes ? reinterpret_cast<const uint8_t*>(codes) : reinterpret_cast<const uint8_t*>(p);
  constexpr int64_t kQueryBytes = kCodes ? sizeof codes[0] : sizeof p[0];
  const int64_t row_bytes = head_dim * kElementBytes, keys_bytes = key_rows * kPageTokens * kElementBytes;
  const auto part_of_values = [&](auto vectors, auto partial, int64_t d) {
    const int64_t offset = keys_bytes + d * kElementBytes;
    weigh_values<Isa, Format, kQueries, vectors, partial>(page.page + offset, next + offset, row_bytes, seen, least,
                                                          most, weights, kQueryBytes, multipliers, d, head_dim - d,
                                                          parts);
  };
  int64_t d = 0;
  for (; d + kStripLanes <= head_dim; d += kStripLanes) part_of_values(Constant<Isa::kStrip>{}, Constant<false>{}, d);
  for (; d + Isa::kWidth <= head_dim; d += Isa::kWidth) part_of_values(Constant<1>{}, Constant<false>{}, d);
  if (d < head_dim) part_of_values(Constant<1>{}, Constant<true>{}, d);
}

template <class Isa, class Format>
TRITIUM_INLINE void attend_page(const AttentionPage& page, AttentionPart* parts) {
  const uint8_t* next = page.next;  // fetched by the first block alone
  int64_t block = 0;
  for (; block + kBlockQueries <= page.queries; block += kBlockQueries) {
    attend_block<Isa, Format, kBlockQueries>(page, block, next, parts + block);
    next = page.page;
  }
  switch (page.queries - block) {
    case 3:
      return attend_block<Isa, Format, 3>(page, block, next, parts + block);
    case 2:
      return attend_block<Isa, Format, 2>(page, block, next, parts + block);
    case 1:
      return attend_block<Isa, Format, 1>(page, block, next, parts + block);
  }
}

template <class Isa>
TRITIUM_INLINE void code_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
  const auto magnitude = [](typename Isa::Floats x) { return Isa::greater(x, Isa::mul(x, Isa::set1(-1.0f))); };
  auto max = Isa::set1(1e-5f);
  int64_t d = 0;
  for (; d + Isa::kWidth <= head_dim; d += Isa::kWidth) max = Isa::greater(magnitude(Isa::load(q + d)), max);
  const int64_t n = head_dim - d;
  if (n > 0) max = Isa::greater(magnitude(Isa::load(q + d, n)), max);
  const float absmax = Isa::largest(max);
  // Only NaN needs the limit: |q| * r rounds to at most 32767.
  const auto r = Isa::set1(32767.0f / absmax), least = Isa::set1(-32767.0f);
  for (d = 0; d + Isa::kWidth <= head_dim; d += Isa::kWidth) {
    Isa::store_codes(codes + d, Isa::greater(Isa::mul(Isa::load(q + d), r), least));
  }
  if (n > 0) {
    int16_t last[Isa::kWidth];
    Isa::store_codes(last, Isa::greater(Isa::mul(Isa::load(q + d, n), r), least));
    memcpy(codes + d, last, static_cast<size_t>(2 * key_pairs(head_dim) - d) * sizeof(int16_t));
  }
  *multiplier = (absmax / 32767.0f) * scale;
}

template <class Isa>
TRITIUM_INLINE void merge_parts(const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
  const float max = part.max > total->max ? part.max : total->max;
  const auto a = Isa::exponential(Isa::set1(total->max - max)), b = Isa::exponential(Isa::set1(part.max - max));
  total->max = max;
  total->sum = total->sum * Isa::low(a) + part.sum * Isa::low(b);
  float* values = total->values;
  int64_t d = 0;
  for (; d + Isa::kWidth <= head_dim; d += Isa::kWidth) {
    Isa::store(values + d, Isa::add(Isa::mul(Isa::load(values + d), a), Isa::mul(Isa::load(part.values + d), b)));
  }
  const int64_t n = head_dim - d;
  if (n == 0) return;
  const auto earlier = Isa::mul(Isa::load(values + d, n), a), later = Isa::mul(Isa::load(part.values + d, n), b);
  Isa::store(values + d, n, Isa::add(earlier, later));
}

template <class Isa>
TRITIUM_INLINE void divide_by_sum(const AttentionPart& total, int64_t head_dim, float* y) {
  const auto sum = Isa::set1(total.sum);
  int64_t d = 0;
  for (; d + Isa::kWidth <= head_dim; d += Isa::kWidth) Isa::store(y + d, Isa::div(Isa::load(total.values + d), sum));
  const int64_t n = head_dim - d;
  if (n > 0) Isa::store(y + d, n, Isa::div(Isa::load(total.values + d, n), sum));
}

}  // namespace tritium::kernels
