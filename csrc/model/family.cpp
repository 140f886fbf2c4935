#include "model/family.h"

#include "base/error.h"

namespace tritium {

FamilyBuilder find_family(const std::string& architecture) {
  if (architecture == "bitnet") return build_bitnet;
  if (architecture == "llama") return build_llama;
  throw ModelLoadError(concat("[config] unknown architecture '", architecture, "'; known are bitnet, llama"));
}

}  // namespace tritium
