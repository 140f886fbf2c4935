#include "memory/buffer_cache.h"

#include <gtest/gtest.h>

#include <vector>

namespace tritium {
namespace {

using Cache = BufferCache<int>;
constexpr size_t kMiB = size_t{1} << 20;

TEST(BufferCache, GivesTheSmallestBufferThatHoldsTheRequest) {
  Cache cache;
  cache.put(3, 3000);
  cache.put(1, 1000);
  cache.put(2, 2000);
  EXPECT_EQ(cache.bytes(), 6000u);
  const auto entry = cache.take(1500);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->buffer, 2);
  EXPECT_EQ(entry->capacity, 2000u);
  EXPECT_EQ(cache.bytes(), 4000u);
  EXPECT_FALSE(cache.take(4000));
}

TEST(BufferCache, KeepsABufferThatIsTooLargeForTheRequest) {
  Cache cache;
  cache.put(1, 10 * kMiB);
  EXPECT_FALSE(cache.take(8 * kMiB - 1));
  EXPECT_TRUE(cache.take(8 * kMiB));
  cache.put(2, 100 + (64 << 10));
  EXPECT_FALSE(cache.take(99));
  EXPECT_TRUE(cache.take(100));
}

TEST(BufferCache, HandsBackTheOldestBuffersFirst) {
  Cache cache;
  for (int i = 0; i < 5; ++i) cache.put(i, 100);
  std::vector<int> freed;
  const auto free = [&](const Cache::Entry& entry) { freed.push_back(entry.buffer); };
  cache.evict(150, free);
  EXPECT_EQ(freed, (std::vector<int>{0, 1}));
  EXPECT_EQ(cache.bytes(), 300u);
  cache.evict(0, free);
  EXPECT_EQ(cache.bytes(), 300u);
  cache.clear(free);
  EXPECT_EQ(freed, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(cache.bytes(), 0u);
}

}  // namespace
}  // namespace tritium
