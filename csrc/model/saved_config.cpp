#include "model/saved_config.h"

namespace tritium {
namespace {

const std::string kPrefix = "tritium.config.";

// Calls visit(key, field) for each field that is written as it is.
template <class Config>
void for_each_field(Config& config, const auto& visit) {
  visit("vocab_size", config.vocab_size);
  visit("hidden_size", config.hidden_size);
  visit("intermediate_size", config.intermediate_size);
  visit("layers", config.layers);
  visit("heads", config.heads);
  visit("kv_heads", config.kv_heads);
  visit("head_dim", config.head_dim);
  visit("context_length", config.context_length);
  visit("rms_norm_eps", config.rms_norm_eps);
  visit("tied_head", config.tied_head);
  visit("attention_bias", config.attention_bias);
  visit("mlp_bias", config.mlp_bias);
  visit("rope.theta", config.rope.theta);
  visit("rope.factor", config.rope.factor);
  visit("rope.low_freq_factor", config.rope.low_freq_factor);
  visit("rope.high_freq_factor", config.rope.high_freq_factor);
  visit("rope.original_context", config.rope.original_context);
}

}  // namespace

void write_config(const ModelConfig& config, GgufMetadata& metadata) {
  for_each_field(config, [&]<class T>(const std::string& key, const T& field) {
    if constexpr (std::is_same_v<T, int64_t>) {
      metadata[kPrefix + key] = static_cast<uint64_t>(field);
    } else {
      metadata[kPrefix + key] = field;
    }
  });
  metadata[kPrefix + "rope.scaling"] = std::string(RopeConfig::scaling_name(config.rope.scaling));
  metadata[kPrefix + "activation"] = std::string(activation_name(config.activation));
  metadata[kPrefix + "scale_direction"] = std::string(scale_direction_name(config.scale_direction));
  if (config.linear_norm_eps) metadata[kPrefix + "linear_norm_eps"] = *config.linear_norm_eps;
}

ModelConfig read_config(GgufFields& fields, const std::string& architecture) {
  ModelConfig config;
  config.architecture = architecture;
  for_each_field(config, [&]<class T>(const std::string& key, T& field) {
    if constexpr (std::is_same_v<T, int64_t>) {
      field = fields.size(kPrefix + key);
    } else {
      field = fields.get<T>(kPrefix + key);
    }
  });
  config.rope.scaling = RopeConfig::parse_scaling(fields.get<std::string>(kPrefix + "rope.scaling"));
  config.activation = parse_activation(fields.get<std::string>(kPrefix + "activation"));
  config.scale_direction = parse_scale_direction(fields.get<std::string>(kPrefix + "scale_direction"));
  if (fields.contains(kPrefix + "linear_norm_eps")) {
    config.linear_norm_eps = fields.get<double>(kPrefix + "linear_norm_eps");
  }
  config.validate();
  return config;
}

}  // namespace tritium
