// Kernels with a mistake each, which the emulator must find.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

FUNCTION_CONSTANT(bool, MISTAKEN, 9);

// Reads what its neighbour has written.
kernel void missing_barrier(device int* y [[buffer(0)]],
                            uint id       [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(int, values, 64);
  values[id] = int(id);
  if (!MISTAKEN) threadgroup_barrier(mem_flags::mem_threadgroup);
  y[id] = values[63 - id];
}

// Writes again what its neighbour may not have read.
kernel void missing_second_barrier(device int* y [[buffer(0)]],
                                   uint id       [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(int, values, 64);
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    values[id] = int(id) * round;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sum += values[63 - id];
    if (!MISTAKEN) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  y[id] = sum;
}

kernel void divergent_barrier(device int* y [[buffer(0)]],
                              uint id       [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(int, values, 64);
  values[id] = 1;
  if (!MISTAKEN || id < 32) threadgroup_barrier(mem_flags::mem_threadgroup);
  y[id] = values[63 - id];
}

kernel void two_barriers(device int* y [[buffer(0)]],
                         uint id       [[thread_index_in_threadgroup]]) {
  y[id] = 1;
  if (MISTAKEN && id < 32) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

kernel void divergent_sum(device int* y [[buffer(0)]],
                          uint lane     [[thread_index_in_simdgroup]],
                          uint id       [[thread_index_in_threadgroup]]) {
  int sum = 1;
  if (!MISTAKEN || lane < 7) sum = simd_sum(sum);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[id] = sum;
}

kernel void sum_and_maximum(device int* y [[buffer(0)]],
                            uint lane     [[thread_index_in_simdgroup]],
                            uint id       [[thread_index_in_threadgroup]]) {
  y[id] = MISTAKEN && lane < 7 ? simd_sum(1) : simd_max(1);
}

kernel void shuffle_from_a_lane_that_is_gone(device int* y [[buffer(0)]],
                                             uint lane     [[thread_index_in_simdgroup]],
                                             uint id       [[thread_index_in_threadgroup]]) {
  y[id] = int(id);
  if (MISTAKEN && lane > 30) return;
  y[id] = simd_shuffle(int(id), 31);
}

kernel void uninitialised_threadgroup_memory(device float* y [[buffer(0)]],
                                             uint id         [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(float, sums, 64);
  if (!MISTAKEN) sums[id] = 0.0f;
  sums[id] += 1.0f;
  y[id] = sums[id];
}

kernel void too_much_threadgroup_memory(device float* y [[buffer(0)]],
                                        uint id         [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(float, values, 8193);
  values[id] = 1.0f;
  y[id] = values[id];
}

// Each of these reads or writes one element beyond an array.
kernel void overrun_of_a_buffer(device int* y [[buffer(0)]],
                                uint id       [[thread_index_in_threadgroup]]) {
  y[id + (MISTAKEN ? 1 : 0)] = 1;
}

kernel void overrun_of_threadgroup_memory(device int* y [[buffer(0)]],
                                          uint id       [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(int, values, 64);
  threadgroup int* const first = values;
  first[id + (MISTAKEN ? 1 : 0)] = 1;
  y[id] = 1;
}

kernel void misaligned(device int* y [[buffer(0)]],
                       uint id       [[thread_index_in_threadgroup]]) {
  device char* const bytes = (device char*)y;
  *(device int*)(bytes + 4 * id + (MISTAKEN && id == 5 ? 1 : 0)) = 1;
}

kernel void overflow(device int* y [[buffer(0)]],
                     uint id       [[thread_index_in_threadgroup]]) {
  y[id] = (MISTAKEN ? 0x7FFFFFFF : 0) + int(id);
}
