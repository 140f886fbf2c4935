// The transformer decoder that the families are made of: attention and a gated feed-forward, each with a norm in front
// and its result added to the stream.
#pragma once

#include "model/graph_builder.h"
#include "model/model_config.h"

namespace tritium {

struct DecoderOptions {
  // A norm on the concatenated heads before o_proj (attn_sub_norm) and on the gated rows before down_proj
  // (ffn_sub_norm).
  bool sub_norms = false;
};

void build_decoder(const ModelConfig& config, const DecoderOptions& options, GraphBuilder& builder);

}  // namespace tritium
