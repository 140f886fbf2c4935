// Aligned memory from the system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tritium {

inline constexpr size_t kAlignment = 64;              // bytes; one cache line, one AVX-512 vector
inline constexpr size_t kHugePage = size_t{2} << 20;  // bytes

// At least `bytes` bytes, aligned to kAlignment (to kHugePage, advised to be huge pages, from kHugePage on).
// MemoryLimitError when the system has none.
void* allocate_aligned(size_t bytes);

// Takes back what allocate_aligned(bytes) gave.
void free_aligned(void* pointer, size_t bytes) noexcept;

}  // namespace tritium
