// What a build for macOS must refuse, one MISTAKE at a time; CMakeLists.txt has the words. Without one it links.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION
#include <Python.h>
#include <arm_neon.h>

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>

#if MISTAKE == 1
#include <sys/auxv.h>
#endif

namespace mlx::core {
void synchronize();
void synchronise();
}  // namespace mlx::core

extern "C" void* MTLCreateSystemDefaultDevices();
extern "C" PyObject* PyLong_FromText(const char* text);
extern "C" int sched_getaffinity(int process, size_t size, void* set);

int use(MTL::Device* device) {
  MTL::CommandQueue* queue = device->newCommandQueue();
#if MISTAKE == 2
  queue->newCommandBuffer();
#elif MISTAKE == 3
  device->newBuffer(16);
#elif MISTAKE == 4
  return std::min(size_t{1}, uint64_t{2}) == 1;
#elif MISTAKE == 5
  return vgetq_lane_s32(vmmlaq_s32(vdupq_n_s32(0), vdupq_n_s8(1), vdupq_n_s8(1)), 0);
#elif MISTAKE == 6
  return MTLCreateSystemDefaultDevices() == device;
#elif MISTAKE == 7
  return PyLong_FromText("1") != nullptr;
#elif MISTAKE == 8
  return sched_getaffinity(0, 0, nullptr);
#elif MISTAKE == 9
  mlx::core::synchronise();
#endif
  mlx::core::synchronize();
  return queue != nullptr && PyLong_FromLong(1) != nullptr;
}
