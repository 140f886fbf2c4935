#include <malloc.h>

#include <algorithm>

#include "base/error.h"
#include "memory/allocator.h"

namespace tritium {

void* allocate_aligned(size_t bytes) {
  // Huge pages would need a privilege that users rarely have.
  void* pointer = _aligned_malloc(std::max(bytes, kAlignment), bytes >= kHugePage ? kHugePage : kAlignment);
  if (!pointer) throw MemoryLimitError(concat("[memory] the system has no ", bytes, " bytes"));
  return pointer;
}

void free_aligned(void* pointer, size_t) noexcept { _aligned_free(pointer); }

}  // namespace tritium
