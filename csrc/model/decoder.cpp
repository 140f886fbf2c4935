#include "model/decoder.h"

namespace tritium {
namespace {

ValueId attention_block(const ModelConfig& config, const DecoderOptions& options, int64_t layer, ValueId x,
                        const std::string& prefix, GraphBuilder& builder) {
  const bool bias = config.attention_bias;
  const ValueId q = builder.linear(x, prefix + "q_proj", config.heads * config.head_dim, bias);
  const ValueId k = builder.linear(x, prefix + "k_proj", config.kv_heads * config.head_dim, bias);
  const ValueId v = builder.linear(x, prefix + "v_proj", config.kv_heads * config.head_dim, bias);
  const ValueId q_rotated = builder.rope(q, prefix + "q_rope", config.heads);
  const ValueId k_rotated = builder.rope(k, prefix + "k_rope", config.kv_heads);
  ValueId mixed = builder.attention(q_rotated, k_rotated, v, prefix + "attention", layer);
  if (options.sub_norms) mixed = builder.rms_norm(mixed, prefix + "attn_sub_norm");
  return builder.linear(mixed, prefix + "o_proj", config.hidden_size, bias);
}

ValueId feed_forward_block(const ModelConfig& config, const DecoderOptions& options, ValueId x,
                           const std::string& prefix, GraphBuilder& builder) {
  const bool bias = config.mlp_bias;
  const ValueId gate = builder.linear(x, prefix + "gate_proj", config.intermediate_size, bias);
  const ValueId up = builder.linear(x, prefix + "up_proj", config.intermediate_size, bias);
  ValueId gated = builder.gate(gate, up, prefix + "gate", config.activation);
  if (options.sub_norms) gated = builder.rms_norm(gated, prefix + "ffn_sub_norm");
  return builder.linear(gated, prefix + "down_proj", config.hidden_size, bias);
}

}  // namespace

void build_decoder(const ModelConfig& config, const DecoderOptions& options, GraphBuilder& builder) {
  ValueId x = builder.embedding(builder.token_ids(), "model.embed_tokens");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const ValueId attended = attention_block(config, options, layer, builder.rms_norm(x, prefix + "input_layernorm"),
                                             prefix + "self_attn.", builder);
    x = builder.add(x, attended, prefix + "attention_residual");
    const ValueId fed = feed_forward_block(config, options, builder.rms_norm(x, prefix + "post_attention_layernorm"),
                                           prefix + "mlp.", builder);
    x = builder.add(x, fed, prefix + "mlp_residual");
  }
  x = builder.rms_norm(builder.select_outputs(x, "model.outputs"), "model.norm");
  builder.set_output(
      builder.dense_linear(x, config.tied_head ? "model.embed_tokens" : "lm_head", config.vocab_size, false));
}

}  // namespace tritium
