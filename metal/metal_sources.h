// The sources of the kernels, for who compiles them at run time.
#pragma once

#include <cstddef>

namespace tritium {

// A file of metal/kernels with what it includes; embed_kernels.py writes them.
struct MetalSource {
  const char* name;
  const char* text;
};
extern const MetalSource kMetalSources[];
extern const size_t kMetalSourceCount;

}  // namespace tritium
