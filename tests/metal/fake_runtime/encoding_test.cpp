// What is wrong when it is encoded. A command buffer with such a mistake ends with an error.
#include "fake_metal_tests.h"

namespace tritium::metal_tests {
namespace {

using Encoding = FakeMetal;

TEST_F(Encoding, RunsAKernel) {
  Addition addition;
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(addition.commands->error(), nullptr);
  EXPECT_EQ(Gpu::floats(addition.y), std::vector<float>(kCount, 3.0f));
}

TEST_F(Encoding, RunsWholeThreadgroups) {
  Addition addition;
  addition.encoder->dispatchThreadgroups(MTL::Size(4, 1, 1), MTL::Size(32, 1, 1));
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(Gpu::floats(addition.y), std::vector<float>(kCount, 3.0f));
}

TEST_F(Encoding, BindsBuffersByOffset) {
  Addition addition;
  addition.count = kCount - 7;
  addition.encoder->setBytes(&addition.count, sizeof addition.count, 3);
  addition.encoder->setBuffer(addition.y.get(), 7 * sizeof(float), 2);
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  std::vector<float> expected(kCount, 3.0f);
  for (size_t i = 0; i < 7; ++i) expected[i] = 0.0f;
  EXPECT_EQ(Gpu::floats(addition.y), expected);
}

// Each makes its mistake in an addition that is right without it.
struct Mistake {
  const char* name;
  void (*make)(Addition& addition);
  const char* fault;
};

class EncodingMistake : public FakeMetal, public ::testing::WithParamInterface<Mistake> {};

TEST_P(EncodingMistake, IsFound) {
  Addition addition;
  GetParam().make(addition);
  addition.dispatch();
  const std::string found = fault();
  EXPECT_EQ(found.substr(0, found.find('\n')), GetParam().fault);
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusError);
  EXPECT_EQ(text_of(addition.commands->error()), GetParam().fault);
  EXPECT_EQ(addition.commands->error()->code(), static_cast<long>(MTL::CommandBufferErrorInvalidResource));
}

const Mistake kMistakes[] = {
    {"UnboundBuffer", [](Addition& a) { a.encoder->setBuffer(nullptr, 0, 2); }, "[add] nothing is bound to y (2)"},
    {"OffsetBehindTheBuffer", [](Addition& a) { a.encoder->setBuffer(a.y.get(), 400, 2); },
     "setBuffer with offset 400 of 400 bytes"},
    {"MisalignedOffset", [](Addition& a) { a.encoder->setBuffer(a.y.get(), 6, 2); },
     "[add] the offset 6 of y (2) is not a multiple of 4"},
    {"OffsetOfNoBuffer", [](Addition& a) { a.encoder->setBufferOffset(0, 3); },
     "setBufferOffset at index 3, which has no buffer"},
    {"TooFewBytes", [](Addition& a) { a.encoder->setBytes(&a.count, 2, 3); },
     "[add] 2 bytes are bound to count (3), which has 4"},
    {"NoBytes", [](Addition& a) { a.encoder->setBytes(&a.count, 0, 3); }, "setBytes of 0 bytes, 1 to 4096"},
    {"TooManyBytes",
     [](Addition& a) {
       const std::vector<char> bytes(4097);
       a.encoder->setBytes(bytes.data(), bytes.size(), 3);
     },
     "setBytes of 4097 bytes, 1 to 4096"},
    {"IndexOfABuffer", [](Addition& a) { a.encoder->setBuffer(a.y.get(), 0, 31); }, "setBuffer at index 31 of 31"},
    {"IndexOfBytes", [](Addition& a) { a.encoder->setBytes(&a.count, 4, 31); }, "setBytes at index 31 of 31"},
    {"ThreadgroupMemory", [](Addition& a) { a.encoder->setThreadgroupMemoryLength(8, 0); },
     "setThreadgroupMemoryLength of 8 bytes at index 0"},
    {"NoPipeline", [](Addition& a) { a.encoder->setComputePipelineState(nullptr); },
     "setComputePipelineState without one"},
    {"NoThreadgroups", [](Addition& a) { a.encoder->dispatchThreadgroups(MTL::Size(0, 1, 1), MTL::Size(32, 1, 1)); },
     "[add] no threads: (0, 1, 1) in threadgroups of (32, 1, 1)"},
    {"NoThreads", [](Addition& a) { a.encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(32, 0, 1)); },
     "[add] no threads: (1, 1, 1) in threadgroups of (32, 0, 1)"},
    {"TooManyThreads", [](Addition& a) { a.encoder->dispatchThreads(MTL::Size(1, 1, 1), MTL::Size(32, 33, 1)); },
     "[add] 1056 threads in a threadgroup, the pipeline has at most 1024"},
    {"SecondEncoder", [](Addition& a) { a.commands->blitCommandEncoder()->endEncoding(); },
     "an encoder is made before the last one has ended"},
    {"EventInsideAnEncoder",
     [](Addition& a) {
       const auto event = NS::TransferPtr(a.gpu.device->newSharedEvent());
       a.commands->encodeSignalEvent(event.get(), 1);
     },
     "encodeSignalEvent while an encoder is open"},
};
INSTANTIATE_TEST_SUITE_P(Each, EncodingMistake, ::testing::ValuesIn(kMistakes),
                         [](const auto& info) { return info.param.name; });

TEST_F(Encoding, FindsADispatchWithoutAPipeline) {
  Addition addition;
  addition.encoder->endEncoding();
  addition.encoder = addition.commands->computeCommandEncoder();
  addition.dispatch();
  EXPECT_EQ(fault(), "dispatchThreads without a pipeline");
  addition.encoder->endEncoding();
}

TEST_F(Encoding, FindsTooManyThreadsForAPipeline) {
  fake_metal::configure({.max_threads = {{"add", 16}}});
  Addition addition;
  addition.dispatch();
  EXPECT_EQ(fault(), "[add] 32 threads in a threadgroup, the pipeline has at most 16");
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusError);
}

TEST_F(Encoding, FindsAnOffsetOfConstantsThatOnlyAppleGpusTake) {
  for (const bool is_apple : {true, false}) {
    fake_metal::configure({.devices = {{.is_apple = is_apple}}});
    Addition addition;
    const auto arguments = addition.gpu.buffer(std::vector<float>(16));
    addition.encoder->setBuffer(arguments.get(), 4, 3);
    addition.dispatch();
    EXPECT_EQ(fault(), is_apple ? "" : "[add] the offset 4 of count (3) is not a multiple of 32");
    addition.finish();
  }
}

TEST_F(Encoding, FindsWhatBelongsToAnotherDevice) {
  fake_metal::configure({.devices = {{}, {}}});
  Addition addition;
  const auto all = NS::TransferPtr(MTL::CopyAllDevices());
  Gpu other(NS::RetainPtr(all->object<MTL::Device>(1)));
  const auto pipeline = other.pipeline(other.function("elementwise", "add"));
  const auto buffer = other.buffer(std::vector<float>(kCount));
  addition.encoder->setComputePipelineState(pipeline.get());
  EXPECT_EQ(fault(), "setComputePipelineState: MTLComputePipelineState of another device");
  addition.encoder->setBuffer(buffer.get(), 0, 2);
  EXPECT_EQ(fault(), "setBuffer: MTLBuffer of another device");
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusError);
  MTL::BlitCommandEncoder* encoder = addition.gpu.queue->commandBuffer()->blitCommandEncoder();
  encoder->copyFromBuffer(buffer.get(), 0, addition.x.get(), 0, 4);
  EXPECT_EQ(fault(), "copyFromBuffer: MTLBuffer of another device");
  encoder->fillBuffer(buffer.get(), NS::Range(0, 4), 0);
  EXPECT_EQ(fault(), "fillBuffer: MTLBuffer of another device");
  encoder->endEncoding();
}

TEST_F(Encoding, FindsEncodingAfterItsEnd) {
  Addition addition;
  addition.encoder->endEncoding();
  addition.dispatch();
  EXPECT_EQ(fault(), "dispatchThreads after endEncoding");
  addition.bind(addition.x.get(), addition.z.get(), addition.y.get());
  EXPECT_EQ(fault(), "setBuffer after endEncoding\nsetBuffer after endEncoding\nsetBuffer after endEncoding");
  addition.encoder->endEncoding();
  EXPECT_EQ(fault(), "endEncoding after endEncoding");
  EXPECT_EQ(addition.run(), MTL::CommandBufferStatusError);
}

TEST_F(Encoding, FindsAnEncoderThatHasNotEnded) {
  Addition addition;
  addition.dispatch();
  addition.commands->commit();
  EXPECT_EQ(fault(), "commit before the encoder has ended");
  addition.commands->waitUntilCompleted();
  EXPECT_EQ(addition.commands->status(), MTL::CommandBufferStatusError);
  addition.encoder->endEncoding();
  {
    const Gpu gpu;
    gpu.queue->commandBuffer()->computeCommandEncoder();
  }
  EXPECT_EQ(fault(), "an encoder is released that has not ended");
}

TEST_F(Encoding, FindsAnEncoderAfterCommit) {
  Addition addition;
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(addition.commands->computeCommandEncoder(), nullptr);
  EXPECT_EQ(fault(), "an encoder after commit");
}

TEST_F(Encoding, CopiesAndFills) {
  Gpu gpu;
  const auto x = gpu.buffer(std::vector<float>{1, 2, 3}), y = gpu.buffer(std::vector<float>{4, 5, 6});
  MTL::CommandBuffer* commands = gpu.queue->commandBuffer();
  MTL::BlitCommandEncoder* encoder = commands->blitCommandEncoder();
  encoder->copyFromBuffer(x.get(), 4, y.get(), 0, 8);
  encoder->fillBuffer(y.get(), NS::Range(8, 4), 0);
  encoder->endEncoding();
  commands->commit();
  EXPECT_EQ(Gpu::floats(y), (std::vector<float>{4, 5, 6}));
  commands->waitUntilCompleted();
  EXPECT_EQ(Gpu::floats(y), (std::vector<float>{2, 3, 0}));
}

TEST_F(Encoding, FindsCopiesThatMetalRefuses) {
  Gpu gpu;
  const auto x = gpu.buffer(std::vector<float>(4)), y = gpu.buffer(std::vector<float>(4));
  MTL::BlitCommandEncoder* encoder = gpu.queue->commandBuffer()->blitCommandEncoder();
  encoder->copyFromBuffer(x.get(), 8, y.get(), 0, 12);
  EXPECT_EQ(fault(), "copyFromBuffer of 12 bytes from 8 on, multiples of 4 within 16");
  encoder->copyFromBuffer(x.get(), 0, y.get(), 16, 4);
  EXPECT_EQ(fault(), "copyFromBuffer, to a buffer, of 4 bytes from 16 on, multiples of 4 within 16");
  encoder->copyFromBuffer(x.get(), 0, y.get(), 0, 6);
  EXPECT_EQ(fault(), "copyFromBuffer of 6 bytes from 0 on, multiples of 4 within 16");
  encoder->copyFromBuffer(x.get(), 0, x.get(), 4, 8);
  EXPECT_EQ(fault(), "copyFromBuffer between ranges that overlap");
  encoder->fillBuffer(x.get(), NS::Range(2, 4), 0);
  EXPECT_EQ(fault(), "fillBuffer of 4 bytes from 2 on, multiples of 4 within 16");
  encoder->endEncoding();
}

}  // namespace
}  // namespace tritium::metal_tests
