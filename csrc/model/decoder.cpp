#include "model/decoder.h"

namespace tritium {
namespace {

// The layers of a decoder by its configuration.
class Decoder {
 public:
  Decoder(const ModelConfig& config, const DecoderOptions& options, GraphBuilder& builder)
      : config_(config), options_(options), builder_(builder), frequencies_(config.rope.frequencies(config.head_dim)) {}

  void build() {
    ValueId x = builder_.embedding(builder_.token_ids(), "model.embed_tokens", config_.vocab_size, config_.hidden_size);
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      const ValueId attended = attention_block(layer, norm(x, prefix + "input_layernorm"), prefix + "self_attn.");
      x = builder_.add(x, attended, prefix + "attention_residual");
      const ValueId fed = feed_forward_block(norm(x, prefix + "post_attention_layernorm"), prefix + "mlp.");
      x = builder_.add(x, fed, prefix + "mlp_residual");
    }
    x = norm(builder_.select_outputs(x, "model.outputs"), "model.norm");
    builder_.set_output(
        builder_.dense_linear(x, config_.tied_head ? "model.embed_tokens" : "lm_head", config_.vocab_size, false));
  }

 private:
  ValueId attention_block(int64_t layer, ValueId x, const std::string& prefix) {
    const bool bias = config_.attention_bias;
    const ValueId q = linear(x, prefix + "q_proj", config_.heads * config_.head_dim, bias);
    const ValueId k = linear(x, prefix + "k_proj", config_.kv_heads * config_.head_dim, bias);
    const ValueId v = linear(x, prefix + "v_proj", config_.kv_heads * config_.head_dim, bias);
    const ValueId q_rotated = builder_.rope(q, prefix + "q_rope", config_.heads, config_.head_dim, frequencies_);
    const ValueId k_rotated = builder_.rope(k, prefix + "k_rope", config_.kv_heads, config_.head_dim, frequencies_);
    ValueId mixed = builder_.attention(q_rotated, k_rotated, v, prefix + "attention",
                                       {layer, config_.heads, config_.kv_heads, config_.head_dim});
    if (options_.sub_norms) mixed = norm(mixed, prefix + "attn_sub_norm");
    return linear(mixed, prefix + "o_proj", config_.hidden_size, bias);
  }

  ValueId feed_forward_block(ValueId x, const std::string& prefix) {
    const bool bias = config_.mlp_bias;
    const ValueId gate = linear(x, prefix + "gate_proj", config_.intermediate_size, bias);
    const ValueId up = linear(x, prefix + "up_proj", config_.intermediate_size, bias);
    ValueId gated = builder_.gate(gate, up, prefix + "gate", config_.activation);
    if (options_.sub_norms) gated = norm(gated, prefix + "ffn_sub_norm");
    return linear(gated, prefix + "down_proj", config_.hidden_size, bias);
  }

  ValueId norm(ValueId x, const std::string& name) { return builder_.rms_norm(x, name, config_.rms_norm_eps); }

  // Ternary or in floats, as the tensor's encoding says.
  ValueId linear(ValueId x, const std::string& name, int64_t outputs, bool bias) {
    const std::string tensor = name + ".weight";
    if (builder_.source().contains(tensor) && builder_.source().get(tensor).encoding == Encoding::kPlain) {
      return builder_.dense_linear(x, name, outputs, bias);
    }
    return builder_.ternary_linear(x, name, outputs,
                                   {.bias = bias,
                                    .direction = config_.scale_direction,
                                    .bias_before_scale = true,
                                    .norm_eps = config_.linear_norm_eps});
  }

  const ModelConfig& config_;
  const DecoderOptions& options_;
  GraphBuilder& builder_;
  const std::vector<float> frequencies_;
};

}  // namespace

void build_decoder(const ModelConfig& config, const DecoderOptions& options, GraphBuilder& builder) {
  Decoder(config, options, builder).build();
}

}  // namespace tritium
