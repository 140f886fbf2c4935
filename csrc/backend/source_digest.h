// From which files, and into which layout, something was packed: the key of an entry in the PackedCache.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "backend/packed_cache.h"
#include "model/tensor_source.h"

namespace tritium {

// A digest of `layout` (name it with its version), of each tensor's kind, shape and place, and of the files that hold
// them: number, size, time of modification, time of change, and 16 blocks of 4 KiB at even distances. A file that was
// written to, replaced or copied has another digest, even with the size and the time of modification of the old one;
// reading all of it would cost more than packing it.
//
// Nothing for bytes that lie in no file, and for a file that changed within the last two seconds: another change could
// follow in the same tick of its file system's clock and go unseen.
std::optional<Digest> source_digest(std::span<const StoredTensor* const> tensors, std::string_view layout);

}  // namespace tritium
