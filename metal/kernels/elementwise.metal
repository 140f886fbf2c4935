// One thread an element.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "arguments.h"
#include "arithmetic.h"

using namespace tritium;

kernel void add(device const float* x [[buffer(0)]],
                device const float* z [[buffer(1)]],
                device float* y       [[buffer(2)]],  // may be x or z
                constant uint& count  [[buffer(3)]],
                uint i                [[thread_position_in_grid]]) {
  if (i < count) y[i] = x[i] + z[i];
}

kernel void activate(device const float* x    [[buffer(0)]],
                     device float* y          [[buffer(1)]],  // may be x
                     constant uint& count     [[buffer(2)]],
                     constant int& activation [[buffer(3)]],  // an ActivationFunction
                     uint i                   [[thread_position_in_grid]]) {
  if (i < count) y[i] = activation_of(x[i], activation);
}

// y = activation(gate) * up.
kernel void gate(device const float* gate     [[buffer(0)]],
                 device const float* up       [[buffer(1)]],
                 device float* y              [[buffer(2)]],  // may be gate or up
                 constant uint& count         [[buffer(3)]],
                 constant int& activation     [[buffer(4)]],  // an ActivationFunction
                 uint i                       [[thread_position_in_grid]]) {
  if (i < count) y[i] = activation_of(gate[i], activation) * up[i];
}

// Rotates the pairs (j, j + pairs) of each head by its row's position.
kernel void rope(device const float* x            [[buffer(0)]],  // (rows, heads, 2 * pairs)
                 device float* y                  [[buffer(1)]],  // (rows, heads, 2 * pairs); may be x
                 device const float* cosines      [[buffer(2)]],  // (positions, pairs)
                 device const float* sines        [[buffer(3)]],  // (positions, pairs)
                 device const uint* positions     [[buffer(4)]],  // (rows)
                 constant RopeArguments& rope_args [[buffer(5)]],
                 uint i                           [[thread_position_in_grid]]) {
  const uint pairs = rope_args.pairs;
  if (i >= rope_args.rows * rope_args.heads * pairs) return;
  const uint j = i % pairs, head = i / pairs;
  const uint turn = positions[head / rope_args.heads] * pairs + j;
  const uint at = head * 2 * pairs + j;
  const float a = x[at], b = x[at + pairs];
  const float cosine = cosines[turn], sine = sines[turn];
  y[at] = a * cosine - b * sine;
  y[at + pairs] = b * cosine + a * sine;
}
