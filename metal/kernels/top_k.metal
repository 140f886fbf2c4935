// The largest of many values, the lower id among equals; NaN and -infinity are left out. A threadgroup finds those of
// kTopKChunk values; a second launch finds those of what the first has found.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"

using namespace tritium;

namespace tritium {

struct Candidate {
  float value;
  int id;
};

METAL_FUNC bool before(Candidate a, Candidate b) { return a.value > b.value || (a.value == b.value && a.id < b.id); }

// The best of a simdgroup, to all its lanes.
METAL_FUNC Candidate best_of_lanes(Candidate best) {
  for (ushort distance = 16; distance > 0; distance /= 2) {
    Candidate other;
    other.value = simd_shuffle_xor(best.value, distance);
    other.id = simd_shuffle_xor(best.id, distance);
    if (before(other, best)) best = other;
  }
  return best;
}

}  // namespace tritium

// Ids without a value are -1.
kernel void top_k(device const float* values      [[buffer(0)]],  // (rows, columns)
                  device const int* ids           [[buffer(1)]],  // (rows, columns) if has_ids
                  device float* best_values       [[buffer(2)]],  // (rows, chunks, k), the best first
                  device int* best_ids            [[buffer(3)]],  // (rows, chunks, k)
                  constant TopKArguments& args    [[buffer(4)]],
                  uint2 place                     [[threadgroup_position_in_grid]],  // (chunk, row)
                  uint2 chunks                    [[threadgroups_per_grid]],
                  uint id                         [[thread_index_in_threadgroup]],
                  uint simdgroups                 [[simdgroups_per_threadgroup]]) {
  THREADGROUP_ARRAY(float, values_of_simdgroups, 32);
  THREADGROUP_ARRAY(int, ids_of_simdgroups, 32);
  const uint threads = 32 * simdgroups;
  const uint begin = place.x * kTopKChunk, end = min(begin + kTopKChunk, args.columns);
  const uint out = (place.y * chunks.x + place.x) * args.k;
  values += place.y * args.columns;
  if (args.has_ids != 0) ids += place.y * args.columns;

  Candidate nothing;
  nothing.value = -INFINITY;
  nothing.id = -1;
  Candidate last;
  last.value = INFINITY;
  last.id = -1;
  for (uint round = 0; round < args.k; ++round) {
    Candidate best = nothing;
    for (uint i = begin + id; i < end; i += threads) {
      Candidate candidate;
      candidate.value = values[i];
      candidate.id = args.has_ids != 0 ? ids[i] : int(i);
      if (before(last, candidate) && before(candidate, best)) best = candidate;
    }
    best = best_of_lanes(best);
    if (id % 32 == 0) {
      values_of_simdgroups[id / 32] = best.value;
      ids_of_simdgroups[id / 32] = best.id;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    best = nothing;
    if (id % 32 < simdgroups) {
      best.value = values_of_simdgroups[id % 32];
      best.id = ids_of_simdgroups[id % 32];
    }
    best = best_of_lanes(best);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (id == 0) {
      best_values[out + round] = best.value;
      best_ids[out + round] = best.id;
    }
    last = best;
  }
}
