#include "model/decoder.h"
#include "model/family.h"

namespace tritium {

void build_llama(const ModelConfig& config, GraphBuilder& builder) { build_decoder(config, {}, builder); }

}  // namespace tritium
