// Command buffers on their queues.
#include <chrono>
#include <thread>

#include "fake_metal_tests.h"

namespace tritium::metal_tests {
namespace {

using Running = FakeMetal;

constexpr double kForever = 1e6;  // seconds of latency: a command buffer runs when something waits for it

TEST_F(Running, DoesNothingBeforeSomethingWaits) {
  fake_metal::configure({.seconds_of_latency = kForever});
  Addition addition;
  addition.dispatch();
  addition.encoder->endEncoding();
  EXPECT_EQ(addition.commands->status(), MTL::CommandBufferStatusNotEnqueued);
  addition.commands->commit();
  EXPECT_EQ(addition.commands->status(), MTL::CommandBufferStatusCommitted);
  EXPECT_EQ(Gpu::floats(addition.y)[0], 0.0f);  // what a missing wait sees
  addition.commands->waitUntilCompleted();
  EXPECT_EQ(Gpu::floats(addition.y)[0], 3.0f);
}

TEST_F(Running, EndsWithoutAWaitToo) {
  Addition addition;
  addition.dispatch();
  addition.encoder->endEncoding();
  addition.commands->commit();
  while (addition.commands->status() < MTL::CommandBufferStatusCompleted) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(Gpu::floats(addition.y)[0], 3.0f);
}

// y = x + z and then w = y + z, with a barrier between them or none.
float sum_of_sums(MTL::DispatchType type, void (*barrier)(Addition& addition)) {
  Addition addition(type);
  addition.dispatch();
  barrier(addition);
  const auto w = addition.gpu.buffer(std::vector<float>(kCount));
  addition.bind(addition.y.get(), addition.z.get(), w.get());
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  return Gpu::floats(w)[0];
}

TEST_F(Running, FindsAMissingBarrier) {
  EXPECT_EQ(sum_of_sums(MTL::DispatchTypeSerial, [](Addition&) {}), 5.0f);
  EXPECT_EQ(
      sum_of_sums(MTL::DispatchTypeConcurrent, [](Addition& a) { a.encoder->memoryBarrier(MTL::BarrierScopeBuffers); }),
      5.0f);
  EXPECT_EQ(sum_of_sums(MTL::DispatchTypeConcurrent,
                        [](Addition& a) {
                          const MTL::Resource* y = a.y.get();
                          a.encoder->memoryBarrier(&y, 1);
                        }),
            5.0f);
  // The first sum is not there yet.
  EXPECT_EQ(sum_of_sums(MTL::DispatchTypeConcurrent, [](Addition&) {}), 2.0f);
  EXPECT_EQ(sum_of_sums(MTL::DispatchTypeConcurrent,
                        [](Addition& a) { a.encoder->memoryBarrier(MTL::BarrierScopeTextures); }),
            2.0f);
  EXPECT_EQ(sum_of_sums(MTL::DispatchTypeConcurrent,
                        [](Addition& a) {
                          const MTL::Resource* x = a.x.get();
                          a.encoder->memoryBarrier(&x, 1);
                        }),
            2.0f);
}

// Fills a buffer.
MTL::CommandBuffer* filling(Gpu& gpu, const NS::SharedPtr<MTL::Buffer>& buffer, uint8_t value) {
  MTL::CommandBuffer* commands = gpu.queue->commandBuffer();
  MTL::BlitCommandEncoder* encoder = commands->blitCommandEncoder();
  encoder->fillBuffer(buffer.get(), NS::Range(0, 4), value);
  encoder->endEncoding();
  return commands;
}

TEST_F(Running, KeepsTheOrderOfTheQueue) {
  fake_metal::configure({.seconds_of_latency = kForever});
  Gpu gpu;
  const auto buffer = gpu.buffer(4);
  MTL::CommandBuffer* first = filling(gpu, buffer, 1);
  MTL::CommandBuffer* second = filling(gpu, buffer, 2);
  first->enqueue();
  EXPECT_EQ(first->status(), MTL::CommandBufferStatusEnqueued);
  second->commit();
  first->commit();
  second->waitUntilCompleted();
  EXPECT_EQ(first->status(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(*static_cast<const uint8_t*>(buffer->contents()), 2);
}

TEST_F(Running, WaitsForEventsOfOtherQueues) {
  Gpu gpu, other(gpu.device);
  const auto buffer = gpu.buffer(4);
  const auto event = NS::TransferPtr(gpu.device->newSharedEvent());
  MTL::CommandBuffer* waits = gpu.queue->commandBuffer();
  waits->encodeWait(event.get(), 2);
  MTL::BlitCommandEncoder* encoder = waits->blitCommandEncoder();
  encoder->fillBuffer(buffer.get(), NS::Range(0, 4), 2);
  encoder->endEncoding();
  waits->commit();
  EXPECT_FALSE(event->waitUntilSignaledValue(1, 0));
  MTL::CommandBuffer* signals = filling(other, buffer, 1);
  signals->encodeSignalEvent(event.get(), 2);
  signals->commit();
  waits->waitUntilCompleted();
  EXPECT_EQ(event->signaledValue(), 2u);
  EXPECT_EQ(*static_cast<const uint8_t*>(buffer->contents()), 2);
}

TEST_F(Running, TakesTheTimeOfTheDevice) {
  fake_metal::configure({.devices = {{.threads_per_second = 1e4}}});
  Addition addition;
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  EXPECT_NEAR(addition.commands->GPUEndTime() - addition.commands->GPUStartTime(), kCount / 1e4, 1e-6);
}

TEST_F(Running, FindsAMistakeOfAKernel) {
  for (const bool mistaken : {false, true}) {
    Gpu gpu;
    const auto pipeline = gpu.faulty("divergent_barrier", mistaken);
    const auto y = gpu.buffer(64 * sizeof(int));
    MTL::CommandBuffer* commands = gpu.queue->commandBuffer();
    MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
    encoder->setLabel(ns_string("layer 3"));
    encoder->setComputePipelineState(pipeline.get());
    encoder->setBuffer(y.get(), 0, 0);
    encoder->insertDebugSignpost(ns_string("divergent_barrier"));
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(64, 1, 1));
    encoder->endEncoding();
    commands->commit();
    commands->waitUntilCompleted();
    if (!mistaken) {
      EXPECT_EQ(commands->status(), MTL::CommandBufferStatusCompleted);
      continue;
    }
    EXPECT_EQ(commands->status(), MTL::CommandBufferStatusError);
    EXPECT_NE(fault().find("[divergent_barrier] divergence"), std::string::npos);
    // As Metal does with MTL::CommandBufferErrorOptionEncoderExecutionStatus.
    const auto* infos =
        static_cast<const NS::Array*>(commands->error()->userInfo()->object(MTL::CommandBufferEncoderInfoErrorKey));
    ASSERT_EQ(infos->count(), 1u);
    const auto* info = infos->object<MTL::CommandBufferEncoderInfo>(0);
    EXPECT_EQ(info->errorState(), MTL::CommandEncoderErrorStateFaulted);
    EXPECT_STREQ(info->label()->utf8String(), "layer 3");
    EXPECT_STREQ(info->debugSignposts()->object<NS::String>(0)->utf8String(), "divergent_barrier");
  }
}

TEST_F(Running, LosesADevice) {
  fake_metal::configure({.devices = {{.failing_command_buffer = 2}}});
  Gpu gpu;
  const auto buffer = gpu.buffer(4);
  for (int n = 1; n <= 3; ++n) {
    MTL::CommandBuffer* commands = filling(gpu, buffer, static_cast<uint8_t>(n));
    commands->commit();
    commands->waitUntilCompleted();
    if (n == 1) {
      EXPECT_EQ(commands->status(), MTL::CommandBufferStatusCompleted);
      continue;
    }
    ASSERT_EQ(commands->status(), MTL::CommandBufferStatusError);
    EXPECT_EQ(commands->error()->code(), static_cast<long>(MTL::CommandBufferErrorDeviceRemoved));
    EXPECT_STREQ(commands->error()->domain()->utf8String(), "MTLCommandBufferErrorDomain");
  }
  EXPECT_EQ(*static_cast<const uint8_t*>(buffer->contents()), 1);
}

TEST_F(Running, FailsAsATestAsks) {
  fake_metal::configure({.devices = {{.failing_command_buffer = 1,
                                      .failing_command_buffers = 1,
                                      .command_buffer_error = MTL::CommandBufferErrorOutOfMemory}}});
  Gpu gpu;
  for (const bool fails : {true, false}) {
    MTL::CommandBuffer* commands = filling(gpu, gpu.buffer(4), 1);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_EQ(commands->error() ? commands->error()->code() : 0,
              fails ? static_cast<long>(MTL::CommandBufferErrorOutOfMemory) : 0);
  }
}

TEST_F(Running, KeepsWhatACommandBufferUses) {
  Gpu gpu;
  MTL::CommandBuffer* commands = filling(gpu, gpu.buffer(4), 1);
  EXPECT_EQ(fake_metal::live_objects("MTLBuffer"), 1u);
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT_EQ(fake_metal::live_objects("MTLBuffer"), 0u);
}

TEST_F(Running, FindsWhatIsReleasedTooEarly) {
  fake_metal::configure({.seconds_of_latency = kForever});
  const auto descriptor = NS::TransferPtr(MTL::CommandBufferDescriptor::alloc()->init());
  descriptor->setRetainedReferences(false);
  for (const bool with_descriptor : {false, true}) {
    Addition addition;
    addition.finish();
    MTL::CommandQueue* queue = addition.gpu.queue.get();
    addition.commands =
        with_descriptor ? queue->commandBuffer(descriptor.get()) : queue->commandBufferWithUnretainedReferences();
    addition.encoder = addition.commands->computeCommandEncoder();
    addition.encoder->setComputePipelineState(addition.pipeline.get());
    addition.bind(addition.x.get(), addition.z.get(), addition.y.get());
    addition.encoder->setBytes(&addition.count, sizeof addition.count, 3);
    addition.dispatch();
    addition.bind(addition.x.get(), addition.z.get(), addition.y.get());
    addition.encoder->endEncoding();
    addition.commands->commit();
    addition.x = {};
    EXPECT_EQ(fault(), "an object of MTLBuffer is released while a command buffer uses it");
    addition.commands->waitUntilCompleted();
    EXPECT_EQ(Gpu::floats(addition.y)[0], 3.0f);
    EXPECT_EQ(fake_metal::live_objects("MTLBuffer"), 2u);
    addition.z = {};
    EXPECT_EQ(fault(), "");
  }
}

TEST_F(Running, FindsASecondCommit) {
  Addition addition;
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  addition.commands->commit();
  EXPECT_EQ(fault(), "commit of a command buffer that is committed");
}

TEST_F(Running, FindsAWaitThatNeverEnds) {
  Gpu gpu;
  gpu.queue->commandBuffer()->waitUntilCompleted();
  EXPECT_EQ(fault(), "waitUntilCompleted of a command buffer that is not committed never returns");
  gpu.queue->commandBuffer()->waitUntilScheduled();
  EXPECT_EQ(fault(), "waitUntilScheduled of a command buffer that is not committed never returns");
}

TEST_F(Running, FindsMoreCommandBuffersThanAQueueHas) {
  Gpu gpu;
  gpu.queue = NS::TransferPtr(gpu.device->newCommandQueue(2));
  gpu.queue->commandBuffer();
  gpu.queue->commandBuffer();
  EXPECT_EQ(fault(), "");
  gpu.queue->commandBuffer();
  EXPECT_EQ(fault(), "a command buffer more than the 2 of a queue: Metal waits until one completes");
}

TEST_F(Running, CallsHandlersBeforeAWaitReturns) {
  Gpu gpu;
  MTL::CommandBuffer* commands = filling(gpu, gpu.buffer(4), 1);
  std::vector<std::string> calls;
  commands->addScheduledHandler([&](MTL::CommandBuffer*) { calls.push_back("scheduled"); });
  commands->addCompletedHandler([&](MTL::CommandBuffer* completed) {
    calls.push_back(completed->status() == MTL::CommandBufferStatusCompleted ? "completed" : "too early");
  });
  commands->commit();
  commands->waitUntilScheduled();
  commands->waitUntilCompleted();
  EXPECT_EQ(calls, (std::vector<std::string>{"scheduled", "completed"}));
}

}  // namespace
}  // namespace tritium::metal_tests
