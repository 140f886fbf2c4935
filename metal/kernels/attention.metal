// Causal attention over pages of 64 tokens in float16, laid out as csrc/kernels/kernel_set.h says. Every page gives a
// part of its own, and parts are merged in the order of pages, so that the result does not depend on how the work was
// split. A simdgroup takes a page at a time: a lane has two keys, and then dimensions of the values.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"

using namespace tritium;

namespace tritium {

// A lane's share of a softmax over a part of the context: its dimensions are 128 * b + 4 * lane + (0 to 3).
template <int BLOCKS>
struct AttentionPart {
  float max;
  float sum;
  float4 values[BLOCKS];
};

// As the nearest float16 within ±65504; NaN stays NaN.
METAL_FUNC half narrow(float x) {
  const float limited = x > 65504.0f ? 65504.0f : x;
  return half(limited < -65504.0f ? -65504.0f : limited);
}

METAL_FUNC ulong place_in_page(constant AttentionArguments& shape, uint kv_head) {
  return ulong(shape.layer * shape.kv_heads + kv_head) * (2 * kPageTokens * shape.head_dim);
}

// The scores of a query, two a lane, become weights. part.max and part.sum.
template <int BLOCKS>
METAL_FUNC float2 weigh_keys(float2 scores, uint seen, uint lane, thread AttentionPart<BLOCKS>& part) {
  const bool sees_first = 2 * lane < seen, sees_second = 2 * lane + 1 < seen;
  float largest = -INFINITY;
  if (sees_first && scores.x > largest) largest = scores.x;
  if (sees_second && scores.y > largest) largest = scores.y;
  largest = simd_max(largest) + 0.0f;  // -0 becomes +0
  float2 weights = float2(0.0f);
  if (sees_first) weights.x = exponential(scores.x - largest);
  if (sees_second) weights.y = exponential(scores.y - largest);
  // Of the 16 partial sums, lanes 0 to 7 have two each.
  float2 lanes = weights + simd_shuffle(weights, (lane + 8) % 32);
  lanes += simd_shuffle(weights, (lane + 16) % 32);
  lanes += simd_shuffle(weights, (lane + 24) % 32);
  lanes += simd_shuffle_xor(lanes, 4);
  lanes += simd_shuffle_xor(lanes, 2);
  lanes += simd_shuffle_xor(lanes, 1);
  part.max = largest;
  part.sum = simd_broadcast(lanes.x + lanes.y, 0);
  return weights;
}

// Adds DIMENSIONS products from d on to the scores of two keys a lane. All keys are loaded before the first product.
template <int DIMENSIONS, int QUERIES>
METAL_FUNC void score_dimensions(device const half2* keys, device const float* q, thread const uint (&at)[QUERIES],
                                 uint d, uint lane, thread float2* scores) {
  half2 ahead[DIMENSIONS];
  for (uint n = 0; n < DIMENSIONS; ++n) ahead[n] = keys[(d + n) * 32 + lane];
  for (uint n = 0; n < DIMENSIONS; n += 4) {
    for (int i = 0; i < QUERIES; ++i) {
      const float4 query = *(device const float4*)(q + at[i] + d + n);
      for (uint j = 0; j < 4; ++j) scores[i] = fma(float2(query[j]), float2(ahead[n + j]), scores[i]);
    }
  }
}

// Query i is q + at[i] and sees the first seen[i] tokens of the page.
template <int QUERIES, int BLOCKS>
METAL_FUNC void attend_page(device const half* page, device const float* q, thread const uint (&at)[QUERIES],
                            thread const uint (&seen)[QUERIES], constant AttentionArguments& shape, uint lane,
                            thread AttentionPart<BLOCKS> (&parts)[QUERIES]) {
  const uint head_dim = shape.head_dim;
  device const half2* const keys = (device const half2*)page;  // (head_dim, 32)
  float2 weights[QUERIES];
  for (int i = 0; i < QUERIES; ++i) weights[i] = float2(0.0f);
  uint d = 0;
  for (; d + 16 <= head_dim; d += 16) score_dimensions<16, QUERIES>(keys, q, at, d, lane, weights);
  for (; d < head_dim; d += 4) score_dimensions<4, QUERIES>(keys, q, at, d, lane, weights);
  uint most = 0;
  for (int i = 0; i < QUERIES; ++i) {
    weights[i] = weigh_keys(weights[i] * shape.scale, seen[i], lane, parts[i]);
    for (int b = 0; b < BLOCKS; ++b) parts[i].values[b] = float4(0.0f);
    most = max(most, seen[i]);
  }
  device const half* const values = page + kPageTokens * head_dim;  // (64, head_dim)
  for (uint first = 0; first < most; first += 8) {
    for (int b = 0; b < BLOCKS; ++b) {
      const uint d = 128 * b + 4 * lane;
      device const half* const from = values + (d < head_dim ? d : 0);
      half4 ahead[8];
      for (uint n = 0; n < 8; ++n) ahead[n] = *(device const half4*)(from + (first + n) * head_dim);
      for (uint n = 0; n < 8; ++n) {
        for (int i = 0; i < QUERIES; ++i) {
          const float weight = simd_shuffle(n % 2 == 0 ? weights[i].x : weights[i].y, (first + n) / 2);
          if (first + n < seen[i]) parts[i].values[b] = fma(float4(weight), float4(ahead[n]), parts[i].values[b]);
        }
      }
    }
  }
}

template <int BLOCKS>
METAL_FUNC void merge(thread const AttentionPart<BLOCKS>& part, thread AttentionPart<BLOCKS>& total) {
  const float largest = part.max > total.max ? part.max : total.max;
  const float a = exponential(total.max - largest);
  const float b = exponential(part.max - largest);
  total.max = largest;
  total.sum = total.sum * a + part.sum * b;
  for (int i = 0; i < BLOCKS; ++i) total.values[i] = total.values[i] * a + part.values[i] * b;
}

template <int BLOCKS>
METAL_FUNC void load_part(device const float* from, uint head_dim, uint lane, thread AttentionPart<BLOCKS>& part) {
  part.max = from[head_dim];
  part.sum = from[head_dim + 1];
  for (int b = 0; b < BLOCKS; ++b) {
    const uint d = 128 * b + 4 * lane;
    part.values[b] = d < head_dim ? *(device const float4*)(from + d) : float4(0.0f);
  }
}

template <int BLOCKS>
METAL_FUNC void finish(thread const AttentionPart<BLOCKS>& total, uint head_dim, uint lane, device float* y) {
  for (int b = 0; b < BLOCKS; ++b) {
    const uint d = 128 * b + 4 * lane;
    if (d < head_dim) *(device float4*)(y + d) = total.values[b] / total.sum;
  }
}

}  // namespace tritium

// Writes keys and values of new tokens into their pages.
kernel void append_kv(device const float* keys           [[buffer(0)]],  // (rows, kv_heads, head_dim), rotated
                      device const float* values         [[buffer(1)]],  // (rows, kv_heads, head_dim)
                      device half* pages                 [[buffer(2)]],  // (pages, page_numbers)
                      device const uint* page_table      [[buffer(3)]],  // (sequences, max_pages)
                      device const uint* sequences       [[buffer(4)]],  // (rows)
                      device const uint* positions       [[buffer(5)]],  // (rows)
                      constant AttentionArguments& shape [[buffer(6)]],
                      uint i                             [[thread_position_in_grid]]) {
  const uint head_dim = shape.head_dim;
  if (i >= shape.rows * shape.kv_heads * head_dim) return;
  const uint d = i % head_dim, kv_head = i / head_dim % shape.kv_heads, row = i / head_dim / shape.kv_heads;
  const uint page = page_table[sequences[row] * shape.max_pages + positions[row] / kPageTokens];
  const uint slot = positions[row] % kPageTokens;
  device half* const to = pages + ulong(page) * shape.page_numbers + place_in_page(shape, kv_head);
  to[d * kPageTokens + slot] = narrow(keys[i]);
  to[kPageTokens * head_dim + slot * head_dim + d] = narrow(values[i]);
}

// A part for each page that a row sees. A threadgroup has a simdgroup for each of the heads that share a KV head.
template <int BLOCKS>
kernel void attend_pages(device const float* q              [[buffer(0)]],  // (rows, heads, head_dim), rotated
                         device const half* pages           [[buffer(1)]],  // (pages, page_numbers)
                         device const uint* page_table      [[buffer(2)]],  // (sequences, max_pages)
                         device const uint* sequences       [[buffer(3)]],  // (rows)
                         device const uint* positions       [[buffer(4)]],  // (rows)
                         device float* parts                [[buffer(5)]],  // (rows, heads, max_pages, head_dim + 4)
                         constant AttentionArguments& shape [[buffer(6)]],
                         uint3 place                        [[threadgroup_position_in_grid]],  // (page, KV head, row)
                         uint simdgroup                     [[simdgroup_index_in_threadgroup]],
                         uint lane                          [[thread_index_in_simdgroup]]) {
  const uint row = place.z, kv_head = place.y, head_dim = shape.head_dim;
  if (place.x * kPageTokens > positions[row]) return;
  const uint head = kv_head * (shape.heads / shape.kv_heads) + simdgroup;
  const uint page = page_table[sequences[row] * shape.max_pages + place.x];
  const uint seen[1] = {min(uint(kPageTokens), positions[row] + 1 - place.x * kPageTokens)};
  const uint at[1] = {(row * shape.heads + head) * head_dim};
  AttentionPart<BLOCKS> part[1];
  attend_page<1, BLOCKS>(pages + ulong(page) * shape.page_numbers + place_in_page(shape, kv_head), q, at, seen, shape,
                         lane, part);
  device float* const to = parts + ((row * shape.heads + head) * shape.max_pages + place.x) * (head_dim + 4);
  for (int b = 0; b < BLOCKS; ++b) {
    const uint d = 128 * b + 4 * lane;
    if (d < head_dim) *(device float4*)(to + d) = part[0].values[b];
  }
  if (lane == 0) *(device float2*)(to + head_dim) = float2(part[0].max, part[0].sum);
}

// Merges them. A threadgroup is a simdgroup.
template <int BLOCKS>
kernel void merge_pages(device const float* parts          [[buffer(0)]],  // (rows, heads, max_pages, head_dim + 4)
                        device const uint* positions       [[buffer(1)]],  // (rows)
                        device float* y                    [[buffer(2)]],  // (rows, heads, head_dim)
                        constant AttentionArguments& shape [[buffer(3)]],
                        uint2 place                        [[threadgroup_position_in_grid]],  // (head, row)
                        uint lane                          [[thread_index_in_simdgroup]]) {
  const uint head_dim = shape.head_dim, query = place.y * shape.heads + place.x;
  const uint stride = head_dim + 4, last = positions[place.y] / kPageTokens;
  parts += query * shape.max_pages * stride;
  AttentionPart<BLOCKS> total, next;
  load_part(parts, head_dim, lane, total);
  load_part(parts + min(1u, last) * stride, head_dim, lane, next);
  for (uint page = 1; page <= last; ++page) {
    const AttentionPart<BLOCKS> part = next;
    load_part(parts + min(page + 1, last) * stride, head_dim, lane, next);
    merge(part, total);
  }
  finish(total, head_dim, lane, y + query * head_dim);
}

// Tokens of a prompt, one tile and KV head a threadgroup. A simdgroup takes QUERIES queries at a time over all pages.
template <int QUERIES, int BLOCKS>
kernel void attend_tiles(device const float* q              [[buffer(0)]],  // (rows, heads, head_dim), rotated
                         device const half* pages           [[buffer(1)]],  // (pages, page_numbers)
                         device const uint* page_table      [[buffer(2)]],  // (sequences, max_pages)
                         device const AttentionTile* tiles  [[buffer(3)]],
                         device float* y                    [[buffer(4)]],  // (rows, heads, head_dim)
                         constant AttentionArguments& shape [[buffer(5)]],
                         uint2 place                        [[threadgroup_position_in_grid]],  // (tile, KV head)
                         uint simdgroup                     [[simdgroup_index_in_threadgroup]],
                         uint simdgroups                    [[simdgroups_per_threadgroup]],
                         uint lane                          [[thread_index_in_simdgroup]]) {
  const uint head_dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  const uint row = tiles[place.x].row, position = tiles[place.x].position, count = tiles[place.x].tokens * group;
  device const uint* const table = page_table + tiles[place.x].sequence * shape.max_pages;
  const ulong head_place = place_in_page(shape, place.y);
  for (uint first = simdgroup * QUERIES; first < count; first += simdgroups * QUERIES) {
    uint positions[QUERIES], at[QUERIES];
    for (int i = 0; i < QUERIES; ++i) {
      const uint query = min(first + i, count - 1);
      positions[i] = position + query / group;
      at[i] = ((row + query / group) * shape.heads + place.y * group + query % group) * head_dim;
    }
    AttentionPart<BLOCKS> totals[QUERIES];
    for (uint page = 0; page * kPageTokens <= positions[QUERIES - 1]; ++page) {
      const uint begin = page * kPageTokens;
      uint seen[QUERIES];
      for (int i = 0; i < QUERIES; ++i) {
        seen[i] = positions[i] < begin ? 0 : min(uint(kPageTokens), positions[i] + 1 - begin);
      }
      AttentionPart<BLOCKS> parts[QUERIES];
      attend_page<QUERIES, BLOCKS>(pages + ulong(table[page]) * shape.page_numbers + head_place, q, at, seen, shape,
                                   lane, parts);
      for (int i = 0; i < QUERIES; ++i) {
        if (page == 0) {
          totals[i] = parts[i];
        } else if (seen[i] > 0) {
          merge(parts[i], totals[i]);
        }
      }
    }
    for (int i = 0; i < QUERIES; ++i) {
      if (first + i < count) finish(totals[i], head_dim, lane, y + at[i]);
    }
  }
}

// By the largest head_dim.
template HOST_NAME("attend_pages_128") kernel decltype(attend_pages<1>) attend_pages<1>;
template HOST_NAME("attend_pages_256") kernel decltype(attend_pages<2>) attend_pages<2>;
template HOST_NAME("merge_pages_128") kernel decltype(merge_pages<1>) merge_pages<1>;
template HOST_NAME("merge_pages_256") kernel decltype(merge_pages<2>) merge_pages<2>;
template HOST_NAME("attend_tiles_128") kernel decltype(attend_tiles<4, 1>) attend_tiles<4, 1>;
template HOST_NAME("attend_tiles_256") kernel decltype(attend_tiles<4, 2>) attend_tiles<4, 2>;
