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

}  // namespace

std::string_view activation_name(ActivationKind kind) { return kind == ActivationKind::kRelu2 ? "relu2" : "silu"; }

ActivationKind parse_activation(std::string_view name) {
  if (name == "relu2") return ActivationKind::kRelu2;
  if (name == "silu") return ActivationKind::kSilu;
  throw ModelLoadError(concat("[config] unknown activation '", name, "'; known are relu2, silu"));
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
  if (!(rms_norm_eps > 0) || !(rms_norm_eps < 1)) {
    throw ModelLoadError(concat("[config] rms_norm_eps must lie in (0, 1), got ", rms_norm_eps));
  }
  if (!(rope_theta >= 1) || !std::isfinite(rope_theta)) {
    throw ModelLoadError(concat("[config] rope_theta must be a finite number >= 1, got ", rope_theta));
  }
}

}  // namespace tritium
