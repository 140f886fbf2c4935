// The limit beside which kernels are timed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

// Reads all of the memory once.
void read_memory(const void* memory, size_t bytes, unsigned* result, int blocks, cudaStream_t stream);
