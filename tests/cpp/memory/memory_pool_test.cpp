#include "memory/memory_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "error_text.h"
#include "memory/allocator.h"

namespace tritium {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

bool is_aligned(const void* pointer, size_t alignment) { return reinterpret_cast<uintptr_t>(pointer) % alignment == 0; }

std::string limit_error(MemoryPool& pool, size_t bytes) {
  return error_text<MemoryLimitError>([&] { pool.allocate(bytes, {"arena"}); });
}

TEST(AllocateAligned, AlignsSmallAndHugeBlocks) {
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{4097}, kHugePage - 1}) {
    void* block = allocate_aligned(bytes);
    EXPECT_TRUE(is_aligned(block, kAlignment)) << bytes;
    std::memset(block, 1, bytes);
    free_aligned(block, bytes);
  }
  for (size_t bytes : {kHugePage, kHugePage + 1, 3 * kHugePage}) {
    void* block = allocate_aligned(bytes);
    EXPECT_TRUE(is_aligned(block, kHugePage)) << bytes;
    std::memset(block, 1, bytes);
    free_aligned(block, bytes);
  }
}

TEST(MemoryPool, GivesAlignedBuffersOfTheSizeAskedFor) {
  MemoryPool pool(64 * kMiB);
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{64}, size_t{65}, kMiB, 5 * kMiB + 3}) {
    const auto buffer = pool.allocate(bytes, {"test"});
    EXPECT_EQ(buffer.size(), bytes);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_TRUE(is_aligned(buffer.data(), kAlignment));
    if (bytes > 0) std::memset(buffer.data(), 1, bytes);
  }
}

TEST(MemoryPool, ReusesABufferOfSimilarSize) {
  MemoryPool pool(64 * kMiB);
  auto first = pool.allocate(4 * kMiB, {"first"});
  void* data = first.data();
  first = {};
  EXPECT_EQ(pool.stats().cached, 4 * kMiB);

  const auto second = pool.allocate(4 * kMiB - 1000, {"second"});
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.size(), 4 * kMiB - 1000);
  EXPECT_EQ(pool.stats().cached, 0u);
}

TEST(MemoryPool, DoesNotSpendALargeBufferOnASmallRequest) {
  MemoryPool pool(64 * kMiB);
  {
    const auto large = pool.allocate(8 * kMiB, {"large"});
  }
  const auto small = pool.allocate(kMiB, {"small"});
  EXPECT_EQ(pool.stats().cached, 8 * kMiB);
  EXPECT_EQ(pool.stats().active, kMiB);
}

TEST(MemoryPool, CountsActivePeakAndCachedBytes) {
  MemoryPool pool(10 * kMiB);
  EXPECT_EQ(pool.stats().limit, 10 * kMiB);
  {
    const auto a = pool.allocate(2 * kMiB, {"a"});
    {
      const auto b = pool.allocate(3 * kMiB, {"b"});
      EXPECT_EQ(pool.stats().active, 5 * kMiB);
    }
    EXPECT_EQ(pool.stats().active, 2 * kMiB);
    EXPECT_EQ(pool.stats().cached, 3 * kMiB);
  }
  const MemoryStats stats = pool.stats();
  EXPECT_EQ(stats.active, 0u);
  EXPECT_EQ(stats.peak, 5 * kMiB);
  EXPECT_EQ(stats.cached, 5 * kMiB);

  pool.trim();
  EXPECT_EQ(pool.stats().cached, 0u);
  EXPECT_EQ(pool.stats().peak, 5 * kMiB);
}

// A source with so many bytes.
class SmallSource final : public MemorySource {
 public:
  explicit SmallSource(size_t bytes) : free_bytes(bytes) {}
  void* allocate(size_t bytes, const MemoryUse& use) override {
    if (bytes > free_bytes) throw MemoryLimitError(concat("[memory] ", use.name, ": ", free_bytes, " bytes here"));
    free_bytes -= bytes;
    return ::operator new(bytes);
  }
  void free(void* memory, size_t bytes) noexcept override {
    free_bytes += bytes;
    ::operator delete(memory);
  }

  size_t free_bytes;
};

TEST(MemoryPool, MemoryOfASourceIsCountedAndReusedForThatSourceAlone) {
  MemoryPool pool(10 * kMiB);
  const auto one = std::make_shared<SmallSource>(8 * kMiB), other = std::make_shared<SmallSource>(8 * kMiB);
  const void* data;
  {
    const auto buffer = pool.allocate(2 * kMiB, {"test"}, one);
    EXPECT_EQ(one->free_bytes, 6 * kMiB);
    EXPECT_EQ(pool.active({"test"}), 2 * kMiB);
    data = buffer.data();
  }
  EXPECT_EQ(pool.stats().cached, 2 * kMiB);
  const auto of_system = pool.allocate(2 * kMiB, {"test"}), of_other = pool.allocate(2 * kMiB, {"test"}, other);
  EXPECT_NE(of_system.data(), data);
  EXPECT_NE(of_other.data(), data);
  EXPECT_EQ(pool.allocate(2 * kMiB, {"test"}, one).data(), data);
  EXPECT_EQ(pool.stats().active, 4 * kMiB);
}

TEST(MemoryPool, WhatIsKeptOfASourceMakesRoomForTheSystemAndForTheSourceItself) {
  MemoryPool pool(10 * kMiB);
  const auto source = std::make_shared<SmallSource>(8 * kMiB);
  pool.allocate(6 * kMiB, {"test"}, source);
  EXPECT_EQ(source->free_bytes, 2 * kMiB);
  pool.allocate(8 * kMiB, {"test"}, source);  // the source is asked again after the first refusal
  EXPECT_EQ(source->free_bytes, 0u);
  const auto of_system = pool.allocate(9 * kMiB, {"test"});
  EXPECT_EQ(source->free_bytes, 8 * kMiB);
}

TEST(MemoryPool, WhatASourceDoesNotHaveIsRefusedInItsWords) {
  MemoryPool pool(100 * kMiB);
  const auto source = std::make_shared<SmallSource>(kMiB);
  EXPECT_EQ(error_text<MemoryLimitError>([&] { pool.allocate(2 * kMiB, {"weights"}, source); }),
            concat("[memory] weights: ", kMiB, " bytes here"));
  EXPECT_EQ(pool.stats().active, 0u);
}

TEST(MemoryPool, KeepsASourceAsLongAsItsMemory) {
  std::weak_ptr<SmallSource> source;
  {
    MemoryPool::Buffer buffer;
    {
      MemoryPool pool(10 * kMiB);
      const auto made = std::make_shared<SmallSource>(kMiB);
      source = made;
      pool.allocate(kMiB, {"test"}, made);
      buffer = pool.allocate(kMiB, {"test"}, made);
    }
    EXPECT_FALSE(source.expired());
  }
  EXPECT_TRUE(source.expired());
}

TEST(MemoryPool, RefusesWhatPassesTheLimitAndSaysWhatIsFree) {
  MemoryPool pool(10 * kMiB);
  const auto held = pool.allocate(6 * kMiB, {"held"});
  EXPECT_EQ(limit_error(pool, 5 * kMiB),
            "[memory] arena needs 5242880 bytes, 4194304 of 10485760 bytes are free; a larger memory_limit gives more");
  EXPECT_EQ(limit_error(pool, SIZE_MAX),
            concat("[memory] arena needs ", SIZE_MAX,
                   " bytes, 4194304 of 10485760 bytes are free; a larger memory_limit gives more"));
  EXPECT_EQ(pool.stats().active, 6 * kMiB);
  const auto rest = pool.allocate(4 * kMiB, {"exactly the rest"});
  EXPECT_EQ(pool.stats().active, 10 * kMiB);
}

TEST(MemoryPool, FreesCachedBuffersBeforeItRefuses) {
  MemoryPool pool(10 * kMiB);
  {
    const auto a = pool.allocate(3 * kMiB, {"a"});
    const auto b = pool.allocate(6 * kMiB, {"b"});
  }
  EXPECT_EQ(pool.stats().cached, 9 * kMiB);
  const auto large = pool.allocate(10 * kMiB, {"large"});
  EXPECT_EQ(pool.stats().active, 10 * kMiB);
  EXPECT_EQ(pool.stats().cached, 0u);
}

constexpr MemoryUse kStored{"stored", false};
constexpr MemoryUse kWorking{"working"};
constexpr MemoryUse kOnce{"once", false, false};

TEST(MemoryPool, LimitsAndCountsWorkingMemoryApart) {
  MemoryPool pool(10 * kMiB, 4 * kMiB);
  const auto stored = pool.allocate(5 * kMiB, kStored);
  {
    const auto working = pool.allocate(3 * kMiB, kWorking);
    EXPECT_EQ(error_text<MemoryLimitError>([&] { pool.allocate(2 * kMiB, kWorking); }),
              "[memory] working needs 2097152 bytes, 1048576 of 4194304 bytes of working memory are free; "
              "a larger memory_pool_size gives more");
    EXPECT_EQ(
        error_text<MemoryLimitError>([&] { pool.allocate(3 * kMiB, kWorking); }),
        "[memory] working needs 3145728 bytes, 2097152 of 10485760 bytes are free; a larger memory_limit gives more");
    EXPECT_EQ(pool.working_stats().active, 3 * kMiB);
    EXPECT_EQ(pool.stats().active, 8 * kMiB);
  }
  const MemoryStats working = pool.working_stats();
  EXPECT_EQ(working.active, 0u);
  EXPECT_EQ(working.peak, 3 * kMiB);
  EXPECT_EQ(working.cached, 3 * kMiB);
  EXPECT_EQ(working.limit, 4 * kMiB);
  EXPECT_EQ(pool.active(kStored), 5 * kMiB);
  EXPECT_EQ(pool.active(kWorking), 0u);
}

TEST(MemoryPool, WhatIsKeptOfOneKindMakesRoomForTheOther) {
  MemoryPool pool(10 * kMiB);
  {
    const auto stored = pool.allocate(4 * kMiB, kStored);
    const auto working = pool.allocate(5 * kMiB, kWorking);
  }
  EXPECT_EQ(pool.working_stats().cached, 5 * kMiB);
  EXPECT_EQ(pool.stats().cached, 9 * kMiB);
  const auto stored = pool.allocate(6 * kMiB, kStored);
  EXPECT_EQ(pool.working_stats().cached, 0u) << "the other kind's buffers go first";
  EXPECT_EQ(pool.stats().cached, 4 * kMiB);
  EXPECT_LE(pool.stats().active + pool.stats().cached, pool.stats().limit);
}

TEST(MemoryPool, GivesBackAtOnceWhatIsNotReusable) {
  MemoryPool pool(10 * kMiB);
  {
    const auto once = pool.allocate(4 * kMiB, kOnce);
    EXPECT_EQ(pool.active(kOnce), 4 * kMiB);
  }
  EXPECT_EQ(pool.stats().cached, 0u);
  EXPECT_EQ(pool.stats().active, 0u);
}

TEST(MemoryPool, UsesALimitToItsLastByte) {
  MemoryPool pool(100);
  const auto buffer = pool.allocate(100, {"all"});
  EXPECT_EQ(pool.stats().active, 100u);
  EXPECT_NE(limit_error(pool, 1), "no error");
}

TEST(MemoryPool, WithoutALimitDoesNotOverflow) {
  MemoryPool pool(SIZE_MAX);
  const auto buffer = pool.allocate(1000, {"some"});
  EXPECT_LE(pool.stats().active + pool.stats().cached, pool.stats().limit);
}

TEST(MemoryPoolBuffer, MovesItsMemory) {
  MemoryPool pool(kMiB);
  auto a = pool.allocate(1000, {"a"});
  void* data = a.data();
  MemoryPool::Buffer b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
  auto c = pool.allocate(500, {"c"});
  const size_t before = pool.stats().active;
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(c.size(), 1000u);
  EXPECT_LT(pool.stats().active, before) << "the old memory of c went back";
  auto& same = c;
  c = std::move(same);
  EXPECT_EQ(c.data(), data);
}

TEST(MemoryPoolBuffer, OutlivesThePool) {
  MemoryPool::Buffer survivor;
  {
    MemoryPool pool(kMiB);
    {
      const auto cached = pool.allocate(5000, {"cached"});
    }
    survivor = pool.allocate(200000, {"survivor"});
  }
  std::memset(survivor.data(), 1, survivor.size());
  survivor = {};
}

TEST(MemoryPool, ServesSeveralThreadsAtOnce) {
  MemoryPool pool(64 * kMiB);
  std::vector<std::thread> users;
  std::vector<int> damaged(4, 0);
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&, user] {
      for (size_t round = 0; round < 300; ++round) {
        const auto a = pool.allocate(1 + round * 37 % 5000, {"a"});
        const auto b = pool.allocate(1 + round * 7919 % 300000, {"b"});
        std::memset(a.data(), user, a.size());
        std::memset(b.data(), user, b.size());
        const auto* bytes = a.as<uint8_t>();
        damaged[user] += std::any_of(bytes, bytes + a.size(), [&](uint8_t byte) { return byte != user; });
        if (round % 50 == 0) pool.trim();
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_EQ(damaged, std::vector<int>(4, 0));
  const MemoryStats stats = pool.stats();
  EXPECT_EQ(stats.active, 0u);
  EXPECT_LE(stats.cached, stats.limit);
  EXPECT_GT(stats.peak, 0u);
}

}  // namespace
}  // namespace tritium
