// A 64-bit checksum at memory speed, against damage and mistakes; no defence against an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tritium {

// Any change within one aligned word of 8 bytes changes the result; other changes go unseen once in 2^64. Seeds give
// functions that are independent in practice. The same on every machine of one byte order.
uint64_t checksum(std::span<const std::byte> bytes, uint64_t seed = 0) noexcept;

}  // namespace tritium
