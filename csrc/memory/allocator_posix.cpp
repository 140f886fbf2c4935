#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "memory/allocator.h"

namespace tritium {

void* allocate_aligned(size_t bytes) {
  const bool huge = bytes >= kHugePage;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, huge ? kHugePage : kAlignment, std::max(bytes, kAlignment)) != 0) {
    throw MemoryLimitError(concat("[memory] the system has no ", bytes, " bytes"));
  }
#ifdef MADV_HUGEPAGE
  // Advice only; whole huge pages, so that neighbours in the heap are not touched.
  if (huge) madvise(pointer, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return pointer;
}

void free_aligned(void* pointer, size_t) noexcept { std::free(pointer); }

}  // namespace tritium
