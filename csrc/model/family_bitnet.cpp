#include "model/family.h"

namespace tritium {

void build_bitnet(const ModelConfig& config, GraphBuilder& builder) {
  const ValueId ids = builder.token_ids();
  ValueId x = builder.embedding(ids, "model.embed_tokens");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const std::string attn = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";

    const ValueId z = builder.rms_norm(x, prefix + "input_layernorm");
    const ValueId q = builder.ternary_linear(z, attn + "q_proj", config.heads * config.head_dim);
    const ValueId k = builder.ternary_linear(z, attn + "k_proj", config.kv_heads * config.head_dim);
    const ValueId v = builder.ternary_linear(z, attn + "v_proj", config.kv_heads * config.head_dim);
    const ValueId q_rotated = builder.rope(q, attn + "q_rope", config.heads);
    const ValueId k_rotated = builder.rope(k, attn + "k_rope", config.kv_heads);
    const ValueId mixed = builder.attention(q_rotated, k_rotated, v, attn + "attention", layer);
    const ValueId mixed_norm = builder.rms_norm(mixed, attn + "attn_sub_norm");
    const ValueId attn_out = builder.ternary_linear(mixed_norm, attn + "o_proj", config.hidden_size);
    const ValueId h = builder.add(x, attn_out, prefix + "attention_residual");

    const ValueId h_norm = builder.rms_norm(h, prefix + "post_attention_layernorm");
    const ValueId gate = builder.ternary_linear(h_norm, mlp + "gate_proj", config.intermediate_size);
    const ValueId up = builder.ternary_linear(h_norm, mlp + "up_proj", config.intermediate_size);
    const ValueId gated = builder.gate(gate, up, mlp + "gate", config.activation);
    const ValueId gated_norm = builder.rms_norm(gated, mlp + "ffn_sub_norm");
    const ValueId down = builder.ternary_linear(gated_norm, mlp + "down_proj", config.hidden_size);
    x = builder.add(h, down, prefix + "mlp_residual");
  }
  x = builder.select_outputs(x, "model.outputs");
  x = builder.rms_norm(x, "model.norm");
  builder.set_output(builder.dense_linear(x, config.tied_head ? "model.embed_tokens" : "lm_head", config.vocab_size));
}

}  // namespace tritium
