// Sizes and rules of a decoder language model, whatever file they came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tritium {

enum class ActivationKind { kRelu2, kSilu };

// What a stored weight scale does to the integer sum: y = acc * scale or y = acc / scale.
enum class ScaleDirection { kMultiply, kDivide };

std::string_view activation_name(ActivationKind kind);            // "relu2", "silu"
ActivationKind parse_activation(std::string_view name);           // ModelLoadError lists the known names
std::string_view scale_direction_name(ScaleDirection direction);  // "multiply", "divide"
ScaleDirection parse_scale_direction(std::string_view name);      // ModelLoadError lists the known names

struct ModelConfig {
  std::string architecture;  // name of the family: "bitnet"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t context_length = 0;  // tokens
  double rms_norm_eps = 0;
  double rope_theta = 0;
  ActivationKind activation = ActivationKind::kRelu2;
  bool tied_head = true;
  ScaleDirection scale_direction = ScaleDirection::kMultiply;

  // ModelLoadError names the first field that cannot be, its value and what it must be.
  void validate() const;
};

}  // namespace tritium
