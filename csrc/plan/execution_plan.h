// ExecutionPlan: the steps that run a model, over offsets into one arena. Data that every backend walks; it holds no
// pointers and no functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/graph.h"

namespace tritium {

enum class OptimizationLevel {
  kNone,        // the graph as it is
  kBasic,       // with fusions
  kAggressive,  // with fusions, and the ternary format that is fastest here by measurement
};

std::string_view optimization_level_name(OptimizationLevel level);  // "none", "basic", "aggressive"
OptimizationLevel parse_optimization_level(std::string_view name);  // OptimizationError lists the known names

// How the output head is stored and read.
enum class HeadFormat {
  kAuto,       // kScreened if the head is large enough for it to pay, else kFull; kFull at level none
  kFull,       // as it lies in the file
  kScreened,   // the results of kFull: a copy in 4 bits with a bound leaves few rows to compute (docs/head.md)
  kScreened8,  // the same with a copy in 8 bits, whose bound is certain
  kInt8,       // a copy in 8 bits: other results
  kInt4,       // a copy in 4 bits: other results
};

std::string_view head_format_name(HeadFormat format);  // "auto", "full", "screened", "screened8", "int8", "int4"
HeadFormat parse_head_format(std::string_view name);   // OptimizationError lists the known names

// How keys and values are kept.
enum class KVDType {
  kF16,
  kInt8,  // with a scale for each token and head
};

std::string_view kv_dtype_name(KVDType dtype);  // "f16", "int8"
KVDType parse_kv_dtype(std::string_view name);  // OptimizationError lists the known names

// Rows of float32 -> int8 rows with the absmax and the sum of each.
struct QuantizeStep {};

// RMSNorm whose result is wanted as int8 only.
struct NormQuantizeStep {
  WeightId weight;  // dense (width)
  float eps;
};

// int8 rows times ternary matrices that share them. Inputs: the quantised rows, then the residual if one is added.
// Outputs: one a weight.
struct TernaryMatmulStep {
  std::vector<WeightId> weights;
  bool adds_residual = false;
  std::optional<ActivationKind> activation = std::nullopt;  // applied last
};

// Attention; with `rotates`, q and k come unrotated and the rotary positions are applied on the way.
struct AttentionStep {
  AttentionOp attention;
  bool rotates = false;
  std::vector<float> frequencies;  // of the rotary positions, if it rotates; as in RopeOp
};

// The output head with a small copy of its weights.
struct HeadStep {
  WeightId weight;  // dense (vocab, inputs)
  HeadFormat format;

  bool screens() const { return format == HeadFormat::kScreened || format == HeadFormat::kScreened8; }
  int bits() const { return format == HeadFormat::kScreened || format == HeadFormat::kInt4 ? 4 : 8; }
};

using StepKind =
    std::variant<EmbeddingOp, RmsNormOp, LayerNormOp, QuantizeStep, NormQuantizeStep, TernaryMatmulStep, DenseLinearOp,
                 HeadStep, RopeOp, AttentionStep, GateOp, ActivationOp, SoftmaxOp, AddOp, CustomOp, SelectOutputsOp>;

std::string step_name(const StepKind& kind);  // "ternary_matmul", "custom:softcap"

using PlanValueId = int;

struct Step {
  std::string name;  // where in the model
  StepKind kind;
  std::vector<PlanValueId> inputs;
  std::vector<PlanValueId> outputs;
};

enum class Storage {
  kTokenIds,   // int32; given by the caller
  kFloat,      // float32 (rows, width)
  kQuantized,  // int8 (rows, width padded to kQuantizedColumns), then float32 absmax (rows), then int32 sum (rows)
};

std::string_view storage_name(Storage storage);  // "token_ids", "float32", "quantized"

inline constexpr int64_t kQuantizedColumns = 16;
inline constexpr int64_t kOutsideArena = -1;

struct PlanValue {
  std::string name;
  Storage storage = Storage::kFloat;
  RowKind rows = RowKind::kTokens;
  int64_t width = 0;
  int64_t offset = kOutsideArena;  // bytes from the start of the arena; the input and the output lie outside

  int64_t padded_width() const { return (width + kQuantizedColumns - 1) / kQuantizedColumns * kQuantizedColumns; }
  // Bytes for `count` rows.
  int64_t bytes(int64_t count) const;
};

struct MemoryEstimate {
  int64_t arena = 0;     // bytes of intermediate values
  int64_t weights = 0;   // bytes of packed weights and other constants; mapped files not counted
  int64_t kv_cache = 0;  // bytes of KV pages when every sequence is full
  int64_t outputs = 0;   // bytes of one output row a sequence

  int64_t total() const { return arena + weights + kv_cache + outputs; }
};

struct PlanOptions {
  OptimizationLevel level = OptimizationLevel::kBasic;
  int64_t max_tokens = 256;  // rows of one pass
  int64_t context_size = 0;  // tokens of one sequence
  int64_t max_sequences = 1;
  KVDType kv_dtype = KVDType::kF16;
  HeadFormat head = HeadFormat::kAuto;  // never kAuto in a plan
  std::string ternary_format = "2bit";  // how ternary weights are stored; what there is depends on the kernel set
};

struct ExecutionPlan {
  PlanOptions options;
  std::vector<PlanValue> values;
  std::vector<Step> steps;
  PlanValueId input = -1;
  PlanValueId output = -1;
  std::vector<std::string> fusions;  // "residual_into_matmul x60"
  MemoryEstimate memory;
  int64_t weight_bytes_per_token = 0;  // bytes of weights that a pass of one row reads

  int64_t estimated_memory() const { return memory.total(); }
  // Steps with their arena places, fusions and memory, as text.
  std::string describe() const;
  // The head, or null where it is a dense matrix as any other.
  const HeadStep* head() const;
};

}  // namespace tritium
