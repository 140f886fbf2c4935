// Sizes and rules of a decoder language model, whatever file they came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tritium {

enum class ActivationKind { kRelu, kRelu2, kSilu, kGelu };

// What a stored weight scale does to the integer sum: y = acc * scale or y = acc / scale.
enum class ScaleDirection { kMultiply, kDivide };

std::string_view activation_name(ActivationKind kind);  // "relu", "relu2", "silu", "gelu"
std::optional<ActivationKind> find_activation(std::string_view name);
ActivationKind parse_activation(std::string_view name);           // ModelLoadError lists the known names
std::string_view scale_direction_name(ScaleDirection direction);  // "multiply", "divide"
ScaleDirection parse_scale_direction(std::string_view name);      // ModelLoadError lists the known names

// Rotary positions: pair j turns by position * frequency j. Frequencies are theta^(-2j / head_dim), stretched:
struct RopeConfig {
  enum class Scaling {
    kNone,
    kLinear,  // all divided by `factor`
    kLlama3,  // those whose wavelength exceeds original_context / low_freq_factor divided by `factor`, those below
              // original_context / high_freq_factor kept, in between interpolated (Llama 3.1)
  };

  double theta = 0;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_context = 8192;  // tokens

  static std::string_view scaling_name(Scaling scaling);  // "none", "linear", "llama3"
  static Scaling parse_scaling(std::string_view name);    // ModelLoadError lists the known names

  bool operator==(const RopeConfig&) const = default;
  // Frequencies (head_dim / 2), float32 arithmetic as in transformers.
  std::vector<float> frequencies(int64_t head_dim) const;

 private:
  float scaled(float frequency) const;
};

struct ModelConfig {
  std::string architecture;  // name of the family: "bitnet", "llama"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t context_length = 0;  // tokens
  double rms_norm_eps = 0;
  RopeConfig rope;
  ActivationKind activation = ActivationKind::kRelu2;
  bool tied_head = true;
  bool attention_bias = false;  // of q, k, v and o
  bool mlp_bias = false;        // of gate, up and down
  // A norm with a weight of its own in front of every ternary linear ("norm inside the linear"), and its eps.
  std::optional<double> linear_norm_eps;
  ScaleDirection scale_direction = ScaleDirection::kMultiply;

  // ModelLoadError names the first field that cannot be, its value and what it must be.
  void validate() const;
};

}  // namespace tritium
