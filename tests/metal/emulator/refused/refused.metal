// Mistakes that the compiler must refuse, one at a time: MISTAKE says which.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

METAL_FUNC int first_of(threadgroup const int* values) { return values[0]; }

kernel void refused(device int* y          [[buffer(0)]],
                    device const float4* x [[buffer(1)]],
                    constant uint& count   [[buffer(2)]],
                    uint id                [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(int, values, 64);
  values[id] = int(count);
  threadgroup_barrier(mem_flags::mem_threadgroup);
#if MISTAKE == 0
  y[id] = first_of(values) + int(x[id].x);
#elif MISTAKE == 1  // another address space
  y[id] = first_of(y);
#elif MISTAKE == 2  // a thread's pointer to a device's memory
  int* const place = y + id;
  *place = 1;
#elif MISTAKE == 3  // constant memory is not written
  count = 1;
#elif MISTAKE == 4  // nor is what is const
  x[id] = float4(1.0f);
#elif MISTAKE == 5  // vectors are not converted without saying so
  const int4 truncated = x[id];
  y[id] = truncated.x;
#elif MISTAKE == 6  // double does not exist
  y[id] = int(x[id].x * 2.0);
#elif MISTAKE == 7  // nor do functions of the C library
  y[id] = int(fabsf(x[id].x));
#elif MISTAKE == 8  // nor the C++ library
#include <vector>
#endif
}
