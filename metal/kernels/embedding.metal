// Rows of a dense matrix as it lies in its model file.
#include <metal_stdlib>

#include "dialect.h"

using namespace metal;

#include "elements.h"

using namespace tritium;

template <typename T>
kernel void embedding(device const T* table       [[buffer(0)]],  // (vocabulary, columns)
                      device const int* token_ids [[buffer(1)]],  // (tokens) inside the vocabulary
                      device float* y             [[buffer(2)]],  // (tokens, columns)
                      constant uint& columns      [[buffer(3)]],
                      uint2 place                 [[thread_position_in_grid]]) {  // (column, token)
  if (place.x >= columns) return;
  y[place.y * columns + place.x] = widen(table[ulong(token_ids[place.y]) * columns + place.x]);
}

template HOST_NAME("embedding_f32") kernel decltype(embedding<float>) embedding<float>;
template HOST_NAME("embedding_f16") kernel decltype(embedding<half>) embedding<half>;
template HOST_NAME("embedding_bf16") kernel decltype(embedding<ushort>) embedding<ushort>;
