// The kernels of metal/kernels on an NVIDIA GPU: what rewrite.py's glue and the programs here share. launch.cpp gives
// them the interface of the emulator, so that the emulator's tests run as they are.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "lanes.h"

namespace metal_on_cuda {

struct Grid {
  dim3 blocks, threads;
  cudaStream_t stream;
};

// Entered into the table of kernels where it is constructed.
struct Kernel {
  Kernel(const emulator::Kernel& kernel, void (*kernel_launch)(const Grid&, void* const* buffers),
         const void* kernel_code, uint32_t written_buffers);

  emulator::Kernel signature;
  // `buffers` by index: memory of the device, or of the host for what MSL calls constant.
  void (*launch)(const Grid& grid, void* const* buffers);
  const void* code;
  uint32_t written;  // a bit for each buffer that is not const
};

struct FunctionConstant {
  FunctionConstant(const char* constant_file, const char* constant_name, size_t constant_bytes,
                   const void* constant_symbol);

  const char* file;
  const char* name;
  size_t bytes;
  const void* symbol;
};

// Each throws an emulator::Fault.
const Kernel& find_kernel(const std::string& name);
void set_constant(const Kernel& kernel, const std::string& name, const void* value, size_t bytes);
void check(cudaError_t error, const std::string& what);

}  // namespace metal_on_cuda
