// Sizes of memory as people write them.
#pragma once

#include <cstddef>
#include <string_view>

namespace tritium {

// Bytes of "512MB", "1.5 GiB", "64kB" or "1000": a number with at most 6 decimals, and B, kB, MB, GB or TB (powers of
// 1000), KiB, MiB, GiB or TiB (powers of 1024), or no unit for bytes. Case does not matter; a part of a byte is
// dropped. MemoryLimitError says what is wrong.
size_t parse_byte_size(std::string_view text);

}  // namespace tritium
