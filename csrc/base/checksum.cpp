#include "base/checksum.h"

#include <bit>
#include <cstring>

namespace tritium {
namespace {

constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
constexpr size_t kLanes = 8;  // as many as hide the latency of a multiplication
constexpr size_t kBlock = kLanes * sizeof(uint64_t);

// For each state a bijection of words, and for each word one of states.
uint64_t mix(uint64_t state, uint64_t word) { return std::rotl((state ^ word) * kOdd, 29); }

}  // namespace

uint64_t checksum(std::span<const std::byte> bytes, uint64_t seed) noexcept {
  uint64_t lanes[kLanes];
  for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = mix(seed, lane);
  const auto add_block = [&](const std::byte* block) {
    uint64_t words[kLanes];
    std::memcpy(words, block, kBlock);
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = mix(lanes[lane], words[lane]);
  };
  const size_t whole = bytes.size() / kBlock * kBlock;
  for (size_t i = 0; i < whole; i += kBlock) add_block(bytes.data() + i);
  if (whole < bytes.size()) {
    std::byte last[kBlock] = {};
    std::memcpy(last, bytes.data() + whole, bytes.size() - whole);
    add_block(last);
  }
  uint64_t result = mix(seed, bytes.size());
  for (const uint64_t lane : lanes) result = mix(result, lane);
  return result;
}

}  // namespace tritium
