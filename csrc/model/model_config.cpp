#include "model/model_config.h"

#include <cmath>

#include "base/error.h"

namespace tritium {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 31;
// The integer sums of a row stay inside int32 up to this width.
constexpr int64_t kMaxWidth = int64_t{1} << 22;

void check_size(const char* field, int64_t value, int64_t limit = kMaxSize) {
  if (value < 1 || value > limit) {
    throw ModelLoadError(concat("[config] ", field, " must lie in [1, ", limit, "], got ", value));
  }
}

void check_eps(const char* field, double value) {
  if (!(value > 0) || !(value < 1))
    throw ModelLoadError(concat("[config] ", field, " must lie in (0, 1), got ", value));
}

void check_positive(const char* field, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    throw ModelLoadError(concat("[config] ", field, " must be a finite number > 0, got ", value));
  }
}

}  // namespace

std::string_view activation_name(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return "relu";
    case ActivationKind::kRelu2:
      return "relu2";
    case ActivationKind::kSilu:
      return "silu";
    case ActivationKind::kGelu:
      return "gelu";
  }
  return "unknown";
}

std::optional<ActivationKind> find_activation(std::string_view name) {
  for (ActivationKind kind :
       {ActivationKind::kRelu, ActivationKind::kRelu2, ActivationKind::kSilu, ActivationKind::kGelu}) {
    if (activation_name(kind) == name) return kind;
  }
  return std::nullopt;
}

ActivationKind parse_activation(std::string_view name) {
  if (const auto kind = find_activation(name)) return *kind;
  throw ModelLoadError(concat("[config] unknown activation '", name, "'; known are relu, relu2, silu, gelu"));
}

std::string_view scale_direction_name(ScaleDirection direction) {
  return direction == ScaleDirection::kMultiply ? "multiply" : "divide";
}

ScaleDirection parse_scale_direction(std::string_view name) {
  if (name == "multiply") return ScaleDirection::kMultiply;
  if (name == "divide") return ScaleDirection::kDivide;
  throw ModelLoadError(concat("[config] unknown scale direction '", name, "'; known are multiply, divide"));
}

void ModelConfig::validate() const {
  check_size("vocab_size", vocab_size);
  check_size("hidden_size", hidden_size, kMaxWidth);
  check_size("intermediate_size", intermediate_size, kMaxWidth);
  check_size("layers", layers, 1 << 16);
  check_size("heads", heads, 1 << 16);
  check_size("kv_heads", kv_heads, 1 << 16);
  check_size("head_dim", head_dim, 1 << 16);
  check_size("context_length", context_length);
  if (heads % kv_heads != 0) {
    throw ModelLoadError(concat("[config] ", heads, " heads cannot share ", kv_heads, " kv_heads evenly"));
  }
  if (head_dim % 2 != 0) {
    throw ModelLoadError(concat("[config] head_dim must be even for rotary positions, got ", head_dim));
  }
  check_size("heads * head_dim", heads * head_dim, kMaxWidth);
  check_eps("rms_norm_eps", rms_norm_eps);
  if (linear_norm_eps) check_eps("linear_norm_eps", *linear_norm_eps);
  if (!(rope.theta >= 1) || !std::isfinite(rope.theta)) {
    throw ModelLoadError(concat("[config] rope_theta must be a finite number >= 1, got ", rope.theta));
  }
  if (rope.scaling == RopeConfig::Scaling::kNone) return;
  check_positive("rope factor", rope.factor);
  if (rope.scaling == RopeConfig::Scaling::kLinear) return;
  check_positive("rope low_freq_factor", rope.low_freq_factor);
  check_positive("rope original context", rope.original_context);
  if (!(rope.high_freq_factor > rope.low_freq_factor) || !std::isfinite(rope.high_freq_factor)) {
    throw ModelLoadError(concat("[config] rope high_freq_factor must be greater than low_freq_factor ",
                                rope.low_freq_factor, ", got ", rope.high_freq_factor));
  }
}

std::string_view RopeConfig::scaling_name(Scaling scaling) {
  return scaling == Scaling::kNone ? "none" : scaling == Scaling::kLinear ? "linear" : "llama3";
}

RopeConfig::Scaling RopeConfig::parse_scaling(std::string_view name) {
  for (Scaling scaling : {Scaling::kNone, Scaling::kLinear, Scaling::kLlama3}) {
    if (scaling_name(scaling) == name) return scaling;
  }
  throw ModelLoadError(concat("[config] unknown rope scaling '", name, "'; known are none, linear, llama3"));
}

std::vector<float> RopeConfig::frequencies(int64_t head_dim) const {
  std::vector<float> result(static_cast<size_t>(head_dim / 2));
  for (size_t j = 0; j < result.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    const float frequency = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    result[j] = scaled(frequency);
  }
  return result;
}

float RopeConfig::scaled(float frequency) const {
  const float divided = frequency / static_cast<float>(factor);
  if (scaling == Scaling::kNone) return frequency;
  if (scaling == Scaling::kLinear) return divided;
  const float wavelength = static_cast<float>(2 * 3.14159265358979323846) / frequency;
  const float low = static_cast<float>(low_freq_factor);
  const float high = static_cast<float>(high_freq_factor);
  const float context = static_cast<float>(original_context);
  if (wavelength > context / low) return divided;
  if (wavelength < context / high) return frequency;
  const float smooth = (context / wavelength - low) / (high - low);
  return (1.0f - smooth) * divided + smooth * frequency;
}

}  // namespace tritium
