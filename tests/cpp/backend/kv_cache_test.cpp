#include "backend/cpu_kv_cache.h"

#include <gtest/gtest.h>

#include "error_text.h"

namespace tritium {
namespace {

class KVCacheTest : public testing::Test {
 protected:
  static constexpr KVCacheShape kShape{3, 2, 4};
  std::shared_ptr<MemoryPool> pool_ = std::make_shared<MemoryPool>(size_t{1} << 30);
  CpuKVCache cache_{kShape, 200, pool_};

  int64_t pages_in_use() const { return static_cast<int64_t>(pool_->active(kCacheMemory)) / kShape.page_bytes(); }
};

TEST_F(KVCacheTest, TakesAPageForEvery64Tokens) {
  const SequenceId id = cache_.create();
  EXPECT_EQ(cache_.length(id), 0);
  EXPECT_EQ(pages_in_use(), 0);
  cache_.append(id, 1);
  EXPECT_EQ(pages_in_use(), 1);
  cache_.append(id, 63);
  EXPECT_EQ(pages_in_use(), 1);
  cache_.append(id, 1);
  EXPECT_EQ(pages_in_use(), 2);
  EXPECT_EQ(cache_.length(id), 65);
  EXPECT_EQ(cache_.pages(id).size(), 2u);
  EXPECT_EQ(kShape.bytes(65, 3), 6 * kShape.page_bytes());
}

TEST_F(KVCacheTest, GivesEveryLayerAndHeadItsOwnPlace) {
  for (KVDType dtype : {KVDType::kF16, KVDType::kInt8}) {
    const KVCacheShape shape{3, 2, 4, dtype};
    // Keys and values of 64 tokens, and in int8 a float for each of them.
    EXPECT_EQ(shape.head_bytes(), dtype == KVDType::kF16 ? 2 * 64 * 4 * 2 : 2 * 64 * (4 + 4));
    int64_t expected = 0;
    for (int64_t layer = 0; layer < 3; ++layer) {
      for (int64_t head = 0; head < 2; ++head) {
        EXPECT_EQ(shape.offset(layer, head), expected);
        expected += shape.head_bytes();
      }
    }
    EXPECT_EQ(shape.page_bytes(), expected);
  }
}

TEST_F(KVCacheTest, RefusesMoreThanTheContextAndChangesNothing) {
  const SequenceId id = cache_.create();
  cache_.append(id, 199);
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { cache_.append(id, 2); }),
                       "199 + 2 tokens do not fit the context of 200"));
  EXPECT_EQ(cache_.length(id), 199);
  cache_.append(id, 1);
}

TEST_F(KVCacheTest, RefusesMoreThanTheMemoryAndChangesNothing) {
  auto pool = std::make_shared<MemoryPool>(static_cast<size_t>(2 * kShape.page_bytes()));
  CpuKVCache cache(kShape, 1000, pool);
  const SequenceId id = cache.create();
  cache.append(id, 60);
  EXPECT_TRUE(contains(error_text<MemoryLimitError>([&] { cache.append(id, 200); }), "the KV cache"));
  EXPECT_EQ(cache.length(id), 60);
  EXPECT_EQ(pool->active(kCacheMemory), static_cast<size_t>(kShape.page_bytes()));
  cache.append(id, 68);
}

TEST_F(KVCacheTest, TruncateFreesPages) {
  const SequenceId id = cache_.create();
  cache_.append(id, 130);
  EXPECT_EQ(pages_in_use(), 3);
  cache_.truncate(id, 64);
  EXPECT_EQ(pages_in_use(), 1);
  cache_.truncate(id, 0);
  EXPECT_EQ(pages_in_use(), 0);
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { cache_.truncate(id, 1); }), "of 0 tokens to 1"));
}

TEST_F(KVCacheTest, ForkSharesPagesUntilOneWrites) {
  const SequenceId a = cache_.create();
  cache_.append(a, 70);
  cache_.pages(a)[1][0] = 42;
  const SequenceId b = cache_.fork(a);
  EXPECT_EQ(pages_in_use(), 2);
  EXPECT_EQ(cache_.pages(a), cache_.pages(b));
  cache_.append(b, 1);  // writes into the second page
  EXPECT_EQ(pages_in_use(), 3);
  EXPECT_EQ(cache_.pages(a)[0], cache_.pages(b)[0]);
  EXPECT_NE(cache_.pages(a)[1], cache_.pages(b)[1]);
  EXPECT_EQ(cache_.pages(b)[1][0], 42);
  cache_.append(a, 1);  // the page is a's alone by now
  EXPECT_EQ(pages_in_use(), 3);
}

TEST_F(KVCacheTest, ForkOfWholePagesCopiesNothing) {
  const SequenceId a = cache_.create();
  cache_.append(a, 64);
  const SequenceId b = cache_.fork(a);
  cache_.append(b, 1);
  EXPECT_EQ(pages_in_use(), 2);
  EXPECT_EQ(cache_.pages(a)[0], cache_.pages(b)[0]);
}

TEST_F(KVCacheTest, TruncateIntoASharedPageThenAppendCopiesIt) {
  const SequenceId a = cache_.create();
  cache_.append(a, 64);
  const SequenceId b = cache_.fork(a);
  cache_.truncate(b, 10);
  cache_.append(b, 1);
  EXPECT_NE(cache_.pages(a)[0], cache_.pages(b)[0]);
}

TEST_F(KVCacheTest, FreeGivesPagesBackAndForgetsTheSequence) {
  const SequenceId a = cache_.create();
  cache_.append(a, 70);
  const SequenceId b = cache_.fork(a);
  cache_.free(a);
  EXPECT_EQ(pages_in_use(), 2);
  cache_.free(b);
  cache_.free(b);
  EXPECT_EQ(pages_in_use(), 0);
  EXPECT_TRUE(contains(error_text<BatchProcessingError>([&] { cache_.length(a); }), "is not open"));
}

}  // namespace
}  // namespace tritium
