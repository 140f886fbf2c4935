// A fault as in ../emulator/faults, of a kind that the emulator does not find.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

FUNCTION_CONSTANT(bool, MISTAKEN, 9);

// Reads what nothing has written.
kernel void uninitialised_buffer(device int* y [[buffer(0)]],
                                 uint id       [[thread_index_in_threadgroup]]) {
  if (!MISTAKEN) y[id] = 0;
  y[id] += 1;
}
