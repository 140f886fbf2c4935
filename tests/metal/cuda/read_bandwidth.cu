#include "read_bandwidth.h"

namespace {

__global__ void read_all(const uint4* memory, size_t count, unsigned* result) {
  unsigned sum = 0;
  const size_t stride = size_t(gridDim.x) * blockDim.x;
  size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    const uint4 a = memory[i], b = memory[i + stride], c = memory[i + 2 * stride], d = memory[i + 3 * stride];
    sum += (a.x ^ a.y ^ a.z ^ a.w) + (b.x ^ b.y ^ b.z ^ b.w) + (c.x ^ c.y ^ c.z ^ c.w) + (d.x ^ d.y ^ d.z ^ d.w);
  }
  if (sum == 0x12345678u) *result = sum;  // so that the reads are not left out
}

}  // namespace

void read_memory(const void* memory, size_t bytes, unsigned* result, int blocks, cudaStream_t stream) {
  read_all<<<blocks, 512, 0, stream>>>(static_cast<const uint4*>(memory), bytes / sizeof(uint4), result);
}
