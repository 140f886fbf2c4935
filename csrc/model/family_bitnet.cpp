#include "model/decoder.h"
#include "model/family.h"

namespace tritium {

void build_bitnet(const ModelConfig& config, GraphBuilder& builder) {
  build_decoder(config, {.sub_norms = true}, builder);
}

}  // namespace tritium
