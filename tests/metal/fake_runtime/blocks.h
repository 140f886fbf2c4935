// Blocks that outlive the function that wrote them.
#pragma once

extern "C" {
void* _Block_copy(const void* block);
void _Block_release(const void* block);
}

namespace fake_metal {

template <class Block>
Block copy_block(Block block) {
  return reinterpret_cast<Block>(_Block_copy(reinterpret_cast<const void*>(block)));
}
template <class Block>
void release_block(Block block) {
  _Block_release(reinterpret_cast<const void*>(block));
}

}  // namespace fake_metal
