// Numbers as they lie in model files. A bfloat16 is read as its bits, which any device can.
#pragma once

namespace tritium {

METAL_FUNC float widen(float x) { return x; }
METAL_FUNC float widen(half x) { return float(x); }
METAL_FUNC float widen(ushort x) { return as_type<float>(uint(x) << 16); }

METAL_FUNC float4 widen(float4 x) { return x; }
METAL_FUNC float4 widen(half4 x) { return float4(x); }
METAL_FUNC float4 widen(ushort4 x) { return as_type<float4>(uint4(x) << 16); }

// Four elements side by side.
METAL_FUNC float4 load_four(device const float* x) { return *(device const float4*)x; }
METAL_FUNC float4 load_four(device const half* x) { return widen(*(device const half4*)x); }
METAL_FUNC float4 load_four(device const ushort* x) { return widen(*(device const ushort4*)x); }

}  // namespace tritium
