// Objects of Foundation and their counts.
#include <cstdlib>
#include <memory>

#include "fake_metal_tests.h"

namespace tritium::metal_tests {
namespace {

using Objects = FakeMetal;

TEST_F(Objects, CountsThoseThatAreAlive) {
  Gpu gpu;
  const size_t before = fake_metal::live_objects();
  auto buffer = gpu.buffer(4);
  EXPECT_EQ(fake_metal::live_objects("MTLBuffer"), 1u);
  EXPECT_EQ(fake_metal::live_objects(), before + 1);
  const auto copy = buffer;
  EXPECT_EQ(buffer->retainCount(), 2u);
  buffer = {};
  EXPECT_EQ(fake_metal::live_objects("MTLBuffer"), 1u);
}

TEST_F(Objects, FindsAnOverRelease) {
  Gpu gpu;
  MTL::Buffer* buffer = gpu.device->newBuffer(4, MTL::ResourceStorageModeShared);
  buffer->release();
  EXPECT_EQ(fault(), "");
  buffer->release();
  EXPECT_EQ(fault(), "release is sent to an object of MTLBuffer that is gone");
}

TEST_F(Objects, FindsAUseAfterTheLastRelease) {
  Gpu gpu;
  MTL::Buffer* buffer = gpu.device->newBuffer(4, MTL::ResourceStorageModeShared);
  EXPECT_EQ(buffer->length(), 4u);
  buffer->release();
  EXPECT_EQ(buffer->length(), 0u);
  EXPECT_EQ(fault(), "length is sent to an object of MTLBuffer that is gone");
}

TEST_F(Objects, LiveUntilTheirPoolIsReleased) {
  const Pool outer;
  NS::String* kept = ns_string("kept");
  {
    const Pool inner;
    ns_string("gone");
    EXPECT_EQ(fake_metal::live_objects("NSString"), 2u);
  }
  EXPECT_EQ(fake_metal::live_objects("NSString"), 1u);
  EXPECT_STREQ(kept->utf8String(), "kept");
}

TEST_F(Objects, FindsAnAutoreleaseWithoutAPool) {
  NS::String* text = ns_string("leaks");
  EXPECT_EQ(fault(), "autorelease of an object of NSString without a pool: it is never released");
  text->release();
}

TEST_F(Objects, FindsAPoolThatIsNotTheInnermost) {
  NS::AutoreleasePool* outer = NS::AutoreleasePool::alloc()->init();
  NS::AutoreleasePool* inner = NS::AutoreleasePool::alloc()->init();
  outer->release();
  EXPECT_EQ(fault(), "an NSAutoreleasePool is released that is not the innermost of its thread");
  inner->release();
}

TEST_F(Objects, KeepBlocksThatOutliveTheirFunction) {
  Addition addition;
  const auto captured = std::make_shared<int>(0);
  addition.commands->addCompletedHandler([captured](MTL::CommandBuffer* commands) {
    *captured = commands->status() == MTL::CommandBufferStatusCompleted;
  });
  EXPECT_EQ(captured.use_count(), 2);
  addition.dispatch();
  EXPECT_EQ(addition.finish(), MTL::CommandBufferStatusCompleted);
  EXPECT_EQ(*captured, 1);
}

TEST_F(Objects, AreWhatMetalCppMakesThem) {
  const Pool pool;
  NS::Object* const texts[] = {ns_string("a"), ns_string("b")};
  const auto* array = NS::Array::array(texts, 2);
  EXPECT_EQ(array->count(), 2u);
  EXPECT_TRUE(array->object<NS::String>(1)->isEqualToString(ns_string("b")));
  array->object(2);
  EXPECT_EQ(fault(), "object 2 is asked of an NSArray of 2");
  EXPECT_STREQ(NS::URL::fileURLWithPath(ns_string("/a"))->fileSystemRepresentation(), "/a");
  fake_metal::configure({.macos_version = 14});
  EXPECT_TRUE(NS::ProcessInfo::processInfo()->isOperatingSystemAtLeastVersion({14, 0, 0}));
  EXPECT_FALSE(NS::ProcessInfo::processInfo()->isOperatingSystemAtLeastVersion({15, 0, 0}));
}

using ObjectsDeathTest = FakeMetal;

TEST_F(ObjectsDeathTest, EndTheProgramAtAMessageThatTheyDoNotKnow) {
  EXPECT_DEATH(
      {
        const auto device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
        device->newFence();
      },
      "MTLDevice has no method newFence");
}

TEST_F(ObjectsDeathTest, FailAProgramThatDoesNotLookAtItsFaults) {
  EXPECT_EXIT(
      {
        ns_string("leaks");
        std::exit(0);
      },
      ::testing::ExitedWithCode(1), "1 faults were not looked at");
}

}  // namespace
}  // namespace tritium::metal_tests
