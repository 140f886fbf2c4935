// Sums and maxima of a row that is one threadgroup's.
#pragma once

namespace tritium {

// The sum over lanes of x[i], or of (x[i] - mean)², given to every thread. `terms` holds kStagedTerms.
template <bool SQUARES>
METAL_FUNC float sum_over_lanes(device const float* x, uint count, float mean, threadgroup float4* terms, uint id,
                                uint threads) {
  threadgroup float* const staged = (threadgroup float*)terms;
  const uint quarter = id % 4;
  float4 lanes = float4(0.0f);
  for (uint start = 0; start < count; start += kStagedTerms) {
    const uint terms_here = min(count - start, uint(kStagedTerms));
    for (uint i = id; i < terms_here; i += threads) {
      const float value = x[start + i] - mean;
      staged[i] = SQUARES ? value * value : x[start + i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    // The chain of a lane is long and cannot be cut. One simdgroup follows it, for all of them together would read more
    // than threadgroup memory delivers; what it adds is read ahead.
    if (id < 32) {
      const uint whole = terms_here / 16;
      uint next = 0;
      for (; next + 8 <= whole; next += 8) {
        float4 ahead[8];
        for (uint i = 0; i < 8; ++i) ahead[i] = terms[4 * (next + i) + quarter];
        for (uint i = 0; i < 8; ++i) lanes += ahead[i];
      }
      for (; next < whole; ++next) lanes += terms[4 * next + quarter];
      for (uint i = 0; i < 4; ++i) {
        const uint place = 16 * whole + 4 * quarter + i;
        if (place < terms_here) lanes[i] += staged[place];
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (id < 32) {
    const float sum = fold_lanes(lanes);
    if (id == 0) staged[0] = sum;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float sum = staged[0];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return sum;
}

// `partial` holds kMaxRowSimdgroups and is not written again before a barrier. No value is NaN.
METAL_FUNC float threadgroup_max(float value, threadgroup float* partial, uint id, uint threads) {
  const uint lane = id % 32;
  value = simd_max(value);
  if (lane == 0) partial[id / 32] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return simd_max(partial[lane < threads / 32 ? lane : 0]);
}

METAL_FUNC int threadgroup_sum(int value, threadgroup int* partial, uint id, uint threads) {
  const uint lane = id % 32;
  value = simd_sum(value);
  if (lane == 0) partial[id / 32] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return simd_sum(lane < threads / 32 ? partial[lane] : 0);
}

}  // namespace tritium
