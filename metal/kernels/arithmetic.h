// The float functions that csrc/kernels/kernel_set.h defines, and sums over a row in its order.
#pragma once

namespace tritium {

METAL_FUNC float exponential(float x) {
  if (x != x) return x;
  if (x < -87.3365402f) return 0.0f;
  if (x > 88.7228317f) return as_type<float>(0x7F800000u);
  const float t = fma(x, 1.44269502f, 12582912.0f);
  const float n = t - 12582912.0f;
  const float r = fma(n, 1.90465421e-09f, fma(n, -0.693147182f, x));
  float p = 0.00139262131f;
  p = fma(p, r, 0.00836320315f);
  p = fma(p, r, 0.0416665561f);
  p = fma(p, r, 0.166665763f);
  p = fma(p, r, 0.5f);
  p = fma(p, r, 1.0f);
  p = fma(p, r, 1.0f);
  return as_type<float>(as_type<uint>(p) + (as_type<uint>(t) << 23));
}

METAL_FUNC float gelu(float v) {
  if (v != v) return v;
  const float magnitude = fabs(v);
  const float a = magnitude < 16.0f ? magnitude : 16.0f;
  const float u = 1.0f / (a + 3.5f);
  const float t = fma(u, -7.0f, 1.0f);
  float p = 0.00011525739f;
  p = fma(p, t, 0.000430428336f);
  p = fma(p, t, -0.000494017964f);
  p = fma(p, t, -0.00318076019f);
  p = fma(p, t, 0.00649143104f);
  p = fma(p, t, 0.0174075048f);
  p = fma(p, t, -0.116052702f);
  p = fma(p, t, 0.315424979f);
  p = fma(p, t, -0.565561771f);
  p = fma(p, t, 0.744416058f);
  float w = (a * u) * p;
  const float square = a * a;
  const float lost = fma(a, a, -square);
  w = fma(-0.5f * w, lost, w);
  return (v > 0.0f ? v : 0.0f) - w * exponential(-0.5f * square);
}

METAL_FUNC float activation_of(float v, int activation) {
  const float positive = v > 0.0f ? v : 0.0f;
  switch (activation) {
    case kRelu:
      return positive;
    case kRelu2:
      return positive * positive;
    case kSilu:
      return v / (1.0f + exponential(-v));
    case kGelu:
      return gelu(v);
  }
  return v;
}

// A sum "over lanes" keeps 16 partial sums. Four neighbouring threads of a simdgroup hold them: thread i of the four
// has those of 4 * i to 4 * i + 3. Returns the sum to all four.
METAL_FUNC float fold_lanes(float4 lanes) {
  lanes += simd_shuffle_xor(lanes, 2);
  lanes += simd_shuffle_xor(lanes, 1);
  const float2 halves = lanes.xy + lanes.zw;
  return halves.x + halves.y;
}

}  // namespace tritium
