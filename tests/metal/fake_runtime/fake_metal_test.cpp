// Metal's interface on the fake runtime: that right uses work, and that each mistake is found.
#include "fake_metal.h"

#include <gtest/gtest.h>

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>

#include "arguments.h"
#include "emulator.h"

namespace tritium::metal_tests {
namespace {

class FakeMetal : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(fake_metal::take_faults(), std::vector<std::string>());
    EXPECT_EQ(fake_metal::live_objects(), 0u);
    fake_metal::configure({});
  }

  // The only fault since the last.
  static std::string fault() {
    const std::vector<std::string> faults = fake_metal::take_faults();
    return faults.size() == 1 ? faults[0] : "there are " + std::to_string(faults.size()) + " faults";
  }
};

struct Pool {
  NS::AutoreleasePool* pool = NS::AutoreleasePool::alloc()->init();
  ~Pool() { pool->release(); }
};

NS::String* string(const std::string& text) { return NS::String::string(text.c_str(), NS::UTF8StringEncoding); }

// A device with a queue.
struct Gpu {
  Pool pool;
  NS::SharedPtr<MTL::Device> device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
  NS::SharedPtr<MTL::CommandQueue> queue = NS::TransferPtr(device->newCommandQueue());

  template <class T>
  NS::SharedPtr<MTL::Buffer> buffer(const std::vector<T>& values) {
    return NS::TransferPtr(device->newBuffer(values.data(), values.size() * sizeof(T), MTL::ResourceStorageModeShared));
  }
  template <class T>
  static std::vector<T> values(const NS::SharedPtr<MTL::Buffer>& buffer) {
    const T* first = static_cast<const T*>(buffer->contents());
    return {first, first + buffer->length() / sizeof(T)};
  }

  NS::SharedPtr<MTL::Library> library(const std::string& name) {
    const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
    options->setLanguageVersion(MTL::LanguageVersion3_2);
    NS::Error* error = nullptr;
    auto library = NS::TransferPtr(device->newLibrary(string(fake_metal::sources()[name]), options.get(), &error));
    EXPECT_EQ(error, nullptr) << (error ? error->localizedDescription()->utf8String() : "");
    return library;
  }
  NS::SharedPtr<MTL::ComputePipelineState> pipeline(const std::string& file, const std::string& kernel) {
    const auto function = NS::TransferPtr(library(file)->newFunction(string(kernel)));
    NS::Error* error = nullptr;
    return NS::TransferPtr(device->newComputePipelineState(function.get(), &error));
  }
};

TEST_F(FakeMetal, RunsAKernel) {
  Gpu gpu;
  const auto add = gpu.pipeline("elementwise", "add");
  const auto x = gpu.buffer(std::vector<float>(100, 1.0f)), z = gpu.buffer(std::vector<float>(100, 2.0f));
  const auto y = gpu.buffer(std::vector<float>(100));
  const uint32_t count = 99;
  MTL::CommandBuffer* commands = gpu.queue->commandBuffer();
  MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(add.get());
  encoder->setBuffer(x.get(), 0, 0);
  encoder->setBuffer(z.get(), 0, 1);
  encoder->setBuffer(y.get(), 0, 2);
  encoder->setBytes(&count, sizeof count, 3);
  encoder->dispatchThreads(MTL::Size(count, 1, 1), MTL::Size(add->threadExecutionWidth(), 1, 1));
  encoder->endEncoding();
  commands->commit();
  EXPECT_EQ(Gpu::values<float>(y), std::vector<float>(100));
  commands->waitUntilCompleted();
  EXPECT_EQ(commands->status(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(commands->error(), nullptr);
  std::vector<float> expected(100, 3.0f);
  expected[99] = 0.0f;
  EXPECT_EQ(Gpu::values<float>(y), expected);
}

}  // namespace
}  // namespace tritium::metal_tests
