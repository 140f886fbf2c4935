// Blocks, which clang compiles and whose runtime Linux has not: a block is copied when it outlives its function. What
// a block and a __block variable look like is Clang's documented layout ("Block Implementation Specification").
#include "blocks.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

enum Flags : int32_t {
  kReferences = 0xFFFF,
  kIsOnHeap = 1 << 24,
  kHasHelpers = 1 << 25,
  kIsGlobal = 1 << 28,
};
enum Kind : int { kKindBlock = 7, kKindVariable = 8 };

struct Block {
  void* is_a;
  int32_t flags;
  int32_t reserved;
  void (*invoke)();
  struct Descriptor {
    unsigned long reserved;
    unsigned long size;
    void (*copy)(void* to, const void* from);
    void (*dispose)(const void* block);
  }* descriptor;
};

// A variable declared __block.
struct Variable {
  void* is_a;
  Variable* forwarding;
  int32_t flags;
  uint32_t size;
  // If it kHasHelpers.
  void (*copy)(void* to, void* from);
  void (*dispose)(void* variable);
};

Variable* copy_variable(Variable* from) {
  Variable* variable = from->forwarding;
  if (variable->flags & kIsOnHeap) {
    ++variable->flags;
    return variable;
  }
  auto* copy = static_cast<Variable*>(std::malloc(variable->size));
  std::memcpy(copy, variable, variable->size);
  copy->flags |= kIsOnHeap;
  copy->flags += 2;  // of the block and of the function that declares it
  copy->forwarding = variable->forwarding = copy;
  if (copy->flags & kHasHelpers) copy->copy(copy, variable);
  return copy;
}

void release_variable(Variable* from) {
  Variable* variable = from->forwarding;
  if (!(variable->flags & kIsOnHeap) || (--variable->flags & kReferences) != 0) return;
  if (variable->flags & kHasHelpers) variable->dispose(variable);
  std::free(variable);
}

}  // namespace

extern "C" {

void* _NSConcreteStackBlock[32];
void* _NSConcreteGlobalBlock[32];

void* _Block_copy(const void* from) {
  auto* block = static_cast<Block*>(const_cast<void*>(from));
  if (!block || block->flags & kIsGlobal) return block;
  if (block->flags & kIsOnHeap) {
    ++block->flags;
    return block;
  }
  auto* copy = static_cast<Block*>(std::malloc(block->descriptor->size));
  std::memcpy(copy, block, block->descriptor->size);
  copy->flags = (copy->flags & ~kReferences) | kIsOnHeap | 1;
  if (copy->flags & kHasHelpers) copy->descriptor->copy(copy, block);
  return copy;
}

void _Block_release(const void* released) {
  auto* block = static_cast<Block*>(const_cast<void*>(released));
  if (!block || !(block->flags & kIsOnHeap) || (--block->flags & kReferences) != 0) return;
  if (block->flags & kHasHelpers) block->descriptor->dispose(block);
  std::free(block);
}

void _Block_object_assign(void* to, const void* object, const int kind) {
  void* copy = const_cast<void*>(object);
  if ((kind & kKindVariable) != 0) copy = copy_variable(static_cast<Variable*>(copy));
  if ((kind & kKindVariable) == 0 && (kind & kKindBlock) == kKindBlock) copy = _Block_copy(object);
  std::memcpy(to, &copy, sizeof copy);
}

void _Block_object_dispose(const void* object, const int kind) {
  if ((kind & kKindVariable) != 0) release_variable(static_cast<Variable*>(const_cast<void*>(object)));
  if ((kind & kKindVariable) == 0 && (kind & kKindBlock) == kKindBlock) _Block_release(object);
}

}  // extern "C"
