// What the tests of the fake Metal runtime share.
#pragma once

#include <gtest/gtest.h>

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <string>
#include <vector>

#include "fake_metal.h"

namespace tritium::metal_tests {

// Every fault is one that the test asks for, and every object is released.
class FakeMetal : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(fake_metal::take_faults(), std::vector<std::string>());
    EXPECT_EQ(fake_metal::live_objects(), 0u);
    fake_metal::configure({});
  }
};

// The only fault since the last, or all.
inline std::string fault() {
  std::string faults;
  for (const std::string& fault : fake_metal::take_faults()) faults += (faults.empty() ? "" : "\n") + fault;
  return faults;
}

struct Pool {
  NS::AutoreleasePool* pool = NS::AutoreleasePool::alloc()->init();
  ~Pool() { pool->release(); }
};

inline NS::String* ns_string(const std::string& text) {
  return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}
inline std::string text_of(const NS::Error* error) { return error ? error->localizedDescription()->utf8String() : ""; }

// A device with a queue.
struct Gpu {
  explicit Gpu(NS::SharedPtr<MTL::Device> its_device = NS::TransferPtr(MTL::CreateSystemDefaultDevice()))
      : device(std::move(its_device)), queue(NS::TransferPtr(device->newCommandQueue())) {}

  NS::SharedPtr<MTL::Buffer> buffer(size_t bytes, MTL::ResourceOptions options = MTL::ResourceStorageModeShared) {
    return NS::TransferPtr(device->newBuffer(bytes, options));
  }
  NS::SharedPtr<MTL::Buffer> buffer(const std::vector<float>& values) {
    return NS::TransferPtr(
        device->newBuffer(values.data(), values.size() * sizeof(float), MTL::ResourceStorageModeShared));
  }
  static std::vector<float> floats(const NS::SharedPtr<MTL::Buffer>& buffer) {
    const auto* first = static_cast<const float*>(buffer->contents());
    return {first, first + buffer->length() / sizeof(float)};
  }

  // Null and an error, or a library.
  NS::SharedPtr<MTL::Library> compile(const std::string& source, NS::Error** error = nullptr) {
    const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
    options->setLanguageVersion(MTL::LanguageVersion3_2);
    return NS::TransferPtr(device->newLibrary(ns_string(source), options.get(), error));
  }
  NS::SharedPtr<MTL::Function> function(const std::string& file, const std::string& kernel) {
    return NS::TransferPtr(compile(fake_metal::sources()[file])->newFunction(ns_string(kernel)));
  }
  NS::SharedPtr<MTL::ComputePipelineState> pipeline(const NS::SharedPtr<MTL::Function>& function,
                                                    NS::Error** error = nullptr) {
    return NS::TransferPtr(device->newComputePipelineState(function.get(), error));
  }
  // A kernel of emulator/faults.
  NS::SharedPtr<MTL::ComputePipelineState> faulty(const std::string& kernel, bool mistaken) {
    const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
    constants->setConstantValue(&mistaken, MTL::DataTypeBool, NS::UInteger{9});
    NS::Error* error = nullptr;
    const auto library = compile(fake_metal::sources()["faults"]);
    return pipeline(NS::TransferPtr(library->newFunction(ns_string(kernel), constants.get(), &error)));
  }

  Pool pool;
  NS::SharedPtr<MTL::Device> device;
  NS::SharedPtr<MTL::CommandQueue> queue;
};

constexpr uint32_t kCount = 100;

// A command buffer that adds x and z, which is where a test makes its mistake.
struct Addition {
  explicit Addition(MTL::DispatchType type = MTL::DispatchTypeSerial)
      : commands(gpu.queue->commandBuffer()), encoder(commands->computeCommandEncoder(type)) {
    encoder->setComputePipelineState(pipeline.get());
    bind(x.get(), z.get(), y.get());
    encoder->setBytes(&count, sizeof count, 3);
  }
  void bind(MTL::Buffer* first, MTL::Buffer* second, MTL::Buffer* sum) {
    encoder->setBuffer(first, 0, 0);
    encoder->setBuffer(second, 0, 1);
    encoder->setBuffer(sum, 0, 2);
  }
  void dispatch() { encoder->dispatchThreads(MTL::Size(kCount, 1, 1), MTL::Size(32, 1, 1)); }
  MTL::CommandBufferStatus finish() {
    encoder->endEncoding();
    return run();
  }
  MTL::CommandBufferStatus run() {
    commands->commit();
    commands->waitUntilCompleted();
    return commands->status();
  }

  Gpu gpu;
  NS::SharedPtr<MTL::ComputePipelineState> pipeline = gpu.pipeline(gpu.function("elementwise", "add"));
  NS::SharedPtr<MTL::Buffer> x = gpu.buffer(std::vector<float>(kCount, 1.0f));
  NS::SharedPtr<MTL::Buffer> z = gpu.buffer(std::vector<float>(kCount, 2.0f));
  NS::SharedPtr<MTL::Buffer> y = gpu.buffer(std::vector<float>(kCount));
  uint32_t count = kCount;
  MTL::CommandBuffer* commands;
  MTL::ComputeCommandEncoder* encoder;
};

}  // namespace tritium::metal_tests
