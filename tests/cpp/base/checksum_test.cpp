#include "base/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace tritium {
namespace {

TEST(Checksum, ChangesWithEveryByteTheLengthAndTheSeed) {
  for (const size_t length : {1, 7, 8, 63, 64, 65, 200, 1000}) {
    std::vector<std::byte> bytes(length);
    std::set<uint64_t> sums = {checksum(bytes), checksum(bytes, 1), checksum({bytes.data(), length - 1})};
    for (std::byte& byte : bytes) {
      for (int value = 1; value < 256; value += 127) {
        byte = static_cast<std::byte>(value);
        sums.insert(checksum(bytes));
      }
      byte = {};
    }
    EXPECT_EQ(sums.size(), 3 + 3 * length) << length << " bytes";
  }
}

TEST(Checksum, ChangesWhenWordsChangePlaces) {
  std::vector<std::byte> bytes(256);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const uint64_t before = checksum(bytes);
  std::set<uint64_t> sums = {before};
  for (size_t word = 0; word + 8 < bytes.size(); word += 8) {
    std::vector<std::byte> swapped = bytes;
    std::swap_ranges(swapped.begin() + static_cast<long>(word), swapped.begin() + static_cast<long>(word) + 8,
                     swapped.begin() + static_cast<long>(word) + 8);
    sums.insert(checksum(swapped));
  }
  EXPECT_EQ(sums.size(), bytes.size() / 8);
}

}  // namespace
}  // namespace tritium
