// Devices and their buffers.
#include <sys/mman.h>
#include <unistd.h>

#include "fake_metal_tests.h"

namespace tritium::metal_tests {
namespace {

using Devices = FakeMetal;
using Memory = FakeMetal;

TEST_F(Devices, AreThoseThatATestAsksFor) {
  fake_metal::configure({.devices = {}});
  EXPECT_EQ(MTL::CreateSystemDefaultDevice(), nullptr);
  EXPECT_EQ(NS::TransferPtr(MTL::CopyAllDevices())->count(), 0u);

  fake_metal::configure({.devices = {{.name = "one"}, {.name = "two", .is_apple = false, .memory = 1 << 20}}});
  const Gpu one;
  const auto all = NS::TransferPtr(MTL::CopyAllDevices());
  ASSERT_EQ(all->count(), 2u);
  EXPECT_EQ(all->object<MTL::Device>(0), one.device.get());
  EXPECT_STREQ(one.device->name()->utf8String(), "one");
  EXPECT_TRUE(one.device->hasUnifiedMemory());
  EXPECT_TRUE(one.device->supportsFamily(MTL::GPUFamilyApple7));
  EXPECT_FALSE(one.device->supportsFamily(MTL::GPUFamilyApple8));
  EXPECT_EQ(one.device->maxThreadsPerThreadgroup().height, 1024u);

  const auto* two = all->object<MTL::Device>(1);
  EXPECT_NE(two->registryID(), one.device->registryID());
  EXPECT_FALSE(two->hasUnifiedMemory());
  EXPECT_FALSE(const_cast<MTL::Device*>(two)->supportsFamily(MTL::GPUFamilyApple1));
  EXPECT_TRUE(const_cast<MTL::Device*>(two)->supportsFamily(MTL::GPUFamilyMac2));
  EXPECT_EQ(two->recommendedMaxWorkingSetSize(), 1u << 20);
}

TEST_F(Memory, IsPoisonUntilItIsWritten) {
  Gpu gpu;
  const float first = Gpu::floats(gpu.buffer(8))[0];
  EXPECT_NE(first, first);
}

TEST_F(Memory, IsCountedAndLimited) {
  fake_metal::configure({.devices = {{.memory = 1000}}});
  Gpu gpu;
  auto buffer = gpu.buffer(600);
  EXPECT_EQ(gpu.device->currentAllocatedSize(), 600u);
  EXPECT_EQ(gpu.buffer(401).get(), nullptr);
  EXPECT_NE(gpu.buffer(400).get(), nullptr);
  buffer = {};
  EXPECT_EQ(gpu.device->currentAllocatedSize(), 0u);
}

TEST_F(Memory, IsRefusedAtTheNthAllocation) {
  fake_metal::configure({.devices = {{.failing_allocation = 2}}});
  Gpu gpu;
  EXPECT_NE(gpu.buffer(4).get(), nullptr);
  EXPECT_EQ(gpu.buffer(4).get(), nullptr);
  EXPECT_NE(gpu.buffer(4).get(), nullptr);
}

TEST_F(Memory, FindsAnImpossibleLength) {
  fake_metal::configure({.devices = {{.max_buffer_length = 8}}});
  Gpu gpu;
  EXPECT_NE(gpu.buffer(8).get(), nullptr);
  EXPECT_EQ(gpu.buffer(9).get(), nullptr);
  EXPECT_EQ(fault(), "newBuffer of 9 bytes; possible are 1 to 8");
  EXPECT_EQ(gpu.buffer(size_t{0}).get(), nullptr);
  EXPECT_EQ(fault(), "newBuffer of 0 bytes; possible are 1 to 8");
}

TEST_F(Memory, OfTheHostIsUsedWhereItLies) {
  Gpu gpu;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  auto* pages =
      static_cast<std::byte*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  __block size_t freed = 0;
  auto buffer = NS::TransferPtr(
      gpu.device->newBuffer(pages, 2 * page, MTL::ResourceStorageModeShared, ^(void*, NS::UInteger length) {
        freed = length;
      }));
  EXPECT_EQ(buffer->contents(), pages);
  EXPECT_EQ(gpu.device->newBuffer(pages + 4, page, MTL::ResourceStorageModeShared, nullptr), nullptr);
  EXPECT_EQ(fault(), "newBuffer without a copy of " + std::to_string(page) + " bytes that are not whole pages");
  EXPECT_EQ(gpu.device->newBuffer(pages, page + 4, MTL::ResourceStorageModeShared, nullptr), nullptr);
  EXPECT_EQ(fault(), "newBuffer without a copy of " + std::to_string(page + 4) + " bytes that are not whole pages");
  EXPECT_EQ(gpu.device->newBuffer(pages, page, MTL::ResourceStorageModePrivate, nullptr), nullptr);
  EXPECT_NE(fault(), "");
  EXPECT_EQ(freed, 0u);
  buffer = {};
  EXPECT_EQ(freed, 2 * page);
  munmap(pages, 2 * page);
}

TEST_F(Memory, FindsAUseOfPrivateMemoryByTheHost) {
  Gpu gpu;
  const auto buffer = gpu.buffer(4, MTL::ResourceStorageModePrivate);
  EXPECT_EQ(buffer->contents(), nullptr);
  EXPECT_EQ(fault(), "contents of a private buffer");
  EXPECT_EQ(gpu.device->newBuffer(&gpu, 4, MTL::ResourceStorageModePrivate), nullptr);
  EXPECT_EQ(fault(), "newBuffer with bytes in private storage");
}

TEST_F(Memory, FindsABufferWithoutHazardTracking) {
  Gpu gpu;
  EXPECT_EQ(gpu.buffer(4, MTL::ResourceHazardTrackingModeUntracked).get(), nullptr);
  EXPECT_EQ(fault(), "newBuffer without hazard tracking, which is not in this runtime");
}

}  // namespace
}  // namespace tritium::metal_tests
