#include "plan/execution_plan.h"

#include <iomanip>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace tritium {
namespace {

// By value.
constexpr std::pair<HeadFormat, std::string_view> kHeadFormats[] = {
    {HeadFormat::kAuto, "auto"},           {HeadFormat::kFull, "full"}, {HeadFormat::kScreened, "screened"},
    {HeadFormat::kScreened8, "screened8"}, {HeadFormat::kInt8, "int8"}, {HeadFormat::kInt4, "int4"},
};

std::string megabytes(int64_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << static_cast<double>(bytes) / 1e6 << " MB";
  return out.str();
}

void describe_values(std::ostringstream& out, const ExecutionPlan& plan, const std::vector<PlanValueId>& ids) {
  for (size_t i = 0; i < ids.size(); ++i) {
    const PlanValue& value = plan.values[ids[i]];
    out << (i ? ", " : "") << value.name;
    if (value.offset != kOutsideArena) out << "@" << value.offset;
  }
}

}  // namespace

std::string_view optimization_level_name(OptimizationLevel level) {
  switch (level) {
    case OptimizationLevel::kNone:
      return "none";
    case OptimizationLevel::kBasic:
      return "basic";
    case OptimizationLevel::kAggressive:
      return "aggressive";
  }
  return "";
}

OptimizationLevel parse_optimization_level(std::string_view name) {
  if (name == "none") return OptimizationLevel::kNone;
  if (name == "basic") return OptimizationLevel::kBasic;
  if (name == "aggressive") return OptimizationLevel::kAggressive;
  throw OptimizationError(concat("[plan] unknown optimization level '", name, "'; known are none, basic, aggressive"));
}

std::string_view head_format_name(HeadFormat format) { return kHeadFormats[static_cast<size_t>(format)].second; }

HeadFormat parse_head_format(std::string_view name) {
  for (const auto& [format, known] : kHeadFormats) {
    if (known == name) return format;
  }
  throw OptimizationError(
      concat("[plan] unknown head '", name, "'; known are auto, full, screened, screened8, int8, int4"));
}

std::string_view kv_dtype_name(KVDType dtype) { return dtype == KVDType::kF16 ? "f16" : "int8"; }

KVDType parse_kv_dtype(std::string_view name) {
  if (name == "f16") return KVDType::kF16;
  if (name == "int8") return KVDType::kInt8;
  throw OptimizationError(concat("[plan] unknown kv_dtype '", name, "'; known are f16, int8"));
}

std::string step_name(const StepKind& kind) {
  return std::visit<std::string>(
      Overloaded{
          [](const EmbeddingOp&) { return "embedding"; },
          [](const RmsNormOp&) { return "rms_norm"; },
          [](const LayerNormOp&) { return "layer_norm"; },
          [](const QuantizeStep&) { return "quantize"; },
          [](const NormQuantizeStep&) { return "rms_norm_quantize"; },
          [](const TernaryMatmulStep& step) {
            if (step.activation) return step.adds_residual ? "ternary_matmul_add_act" : "ternary_matmul_act";
            return step.adds_residual ? "ternary_matmul_add" : "ternary_matmul";
          },
          [](const DenseLinearOp&) { return "dense_matmul"; },
          [](const HeadStep& step) {
            switch (step.format) {
              case HeadFormat::kScreened:
                return "screened_head";
              case HeadFormat::kScreened8:
                return "screened8_head";
              case HeadFormat::kInt8:
                return "int8_head";
              default:
                return "int4_head";
            }
          },
          [](const RopeOp&) { return "rope"; },
          [](const AttentionStep& step) { return step.rotates ? "rope_attention" : "attention"; },
          [](const GateOp&) { return "gate"; },
          [](const ActivationOp& op) { return std::string(activation_name(op.activation)); },
          [](const SoftmaxOp&) { return "softmax"; },
          [](const AddOp&) { return "add"; },
          [](const CustomOp& op) { return "custom:" + op.name; },
          [](const SelectOutputsOp&) { return "select_outputs"; },
      },
      kind);
}

std::string_view storage_name(Storage storage) {
  switch (storage) {
    case Storage::kTokenIds:
      return "token_ids";
    case Storage::kFloat:
      return "float32";
    case Storage::kQuantized:
      return "quantized";
  }
  return "";
}

int64_t PlanValue::bytes(int64_t count) const {
  switch (storage) {
    case Storage::kTokenIds:
    case Storage::kFloat:
      return count * width * 4;
    case Storage::kQuantized:
      return count * (padded_width() + 8);
  }
  return 0;
}

const HeadStep* ExecutionPlan::head() const {
  return steps.empty() ? nullptr : std::get_if<HeadStep>(&steps.back().kind);
}

std::string ExecutionPlan::describe() const {
  std::ostringstream out;
  out << "plan: level " << optimization_level_name(options.level) << ", " << steps.size() << " steps, up to "
      << options.max_tokens;
  if (values[input].storage == Storage::kTokenIds) {
    out << " tokens a pass, context " << options.context_size << ", sequences " << options.max_sequences << ", kv "
        << kv_dtype_name(options.kv_dtype) << ", head " << head_format_name(options.head) << "\n";
  } else {
    out << " samples a pass\n";
  }
  out << "memory: arena " << megabytes(memory.arena) << ", weights " << megabytes(memory.weights) << ", kv cache "
      << megabytes(memory.kv_cache) << ", outputs " << megabytes(memory.outputs) << ", total "
      << megabytes(estimated_memory()) << "\n";
  out << "ternary weights: " << options.ternary_format << "\n";
  for (const std::string& fusion : fusions) out << "fusion: " << fusion << "\n";
  for (size_t i = 0; i < steps.size(); ++i) {
    out << std::setw(4) << i << "  " << std::left << std::setw(20) << step_name(steps[i].kind) << std::right << " (";
    describe_values(out, *this, steps[i].inputs);
    out << ") -> (";
    describe_values(out, *this, steps[i].outputs);
    out << ")\n";
  }
  return out.str();
}

}  // namespace tritium
