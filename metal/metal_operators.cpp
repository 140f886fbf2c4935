#include "metal/metal_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "metal/ternary_dispatch.h"

namespace tritium {
namespace {

constexpr int64_t kElementThreads = 256;  // of kernels with a thread for each element
constexpr int64_t kTopKThreads = 256;
constexpr int64_t kDenseSimdgroups = 4;  // each has 8 rows
constexpr int64_t kTileSimdgroups = 8;   // of a tile of attention, each with 4 queries at a time
constexpr int64_t kTileQueries = 4 * kTileSimdgroups;
// What parts of the attention of single tokens take at most, unless one token's take more.
constexpr int64_t kPartsBytes = int64_t{32} << 20;
constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMaxGroup = 32;  // query heads of a KV head: simdgroups of a threadgroup

constexpr uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }

int64_t aligned(int64_t bytes) { return parts_of(bytes, 64) * 64; }

ActivationFunction function_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return kRelu;
    case ActivationKind::kRelu2:
      return kRelu2;
    case ActivationKind::kSilu:
      return kSilu;
    case ActivationKind::kGelu:
      return kGelu;
  }
  return kIdentity;
}

// "dense_matmul" for float16 is "dense_matmul_f16".
struct ElementKernels {
  const char* f32;
  const char* f16;
  const char* bf16;

  const char* of(kernels::Element element) const {
    return element == kernels::Element::kF16 ? f16 : element == kernels::Element::kBF16 ? bf16 : f32;
  }
};
constexpr ElementKernels kEmbedding = {"embedding_f32", "embedding_f16", "embedding_bf16"};
constexpr ElementKernels kDenseMatmul = {"dense_matmul_f32", "dense_matmul_f16", "dense_matmul_bf16"};
constexpr ElementKernels kDenseMatmul4 = {"dense_matmul_f32_4", "dense_matmul_f16_4", "dense_matmul_bf16_4"};

int64_t width(const MetalPass& pass, PlanValueId value) { return pass.plan.values[value].width; }

RowArguments row_arguments(const PlanValue& value, float eps) {
  return {u32(value.width), u32(value.padded_width()), eps};
}

struct QuantizedViews {
  MetalView q;       // int8 (rows, padded width)
  MetalView absmax;  // (rows)
  MetalView sum;     // int32 (rows)
};

QuantizedViews quantized(const MetalPass& pass, PlanValueId value) {
  const auto rows = static_cast<size_t>(pass.count(value));
  const MetalView q = pass.view(value);
  const MetalView absmax = q.at(rows * static_cast<size_t>(pass.plan.values[value].padded_width()));
  return {q, absmax, absmax.at(rows * sizeof(float))};
}

const MetalRope& rope_of(const MetalPass& pass, const std::vector<float>& frequencies) {
  return *std::ranges::find(pass.ropes, frequencies, &MetalRope::frequencies);
}

// ---- one function a step kind

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const EmbeddingOp& op) {
  const MetalDense& table = pass.weights.dense[op.weight];
  encoder.run(kEmbedding.of(table.element), {parts_of(table.columns, kElementThreads), pass.rows.tokens},
              kElementThreads, table.data, pass.token_ids, pass.view(step.outputs[0]), u32(table.columns));
}

// A row of floats is copied as an embedding is looked up.
void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const SelectOutputsOp&) {
  const int64_t columns = width(pass, step.inputs[0]);
  encoder.run(kEmbedding.f32, {parts_of(columns, kElementThreads), pass.rows.outputs}, kElementThreads,
              pass.view(step.inputs[0]), pass.output_rows, pass.view(step.outputs[0]), u32(columns));
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const RmsNormOp& op) {
  const PlanValue& x = pass.plan.values[step.inputs[0]];
  encoder.run("rms_norm", {pass.count(step.inputs[0])}, row_threads(x.width), pass.view(step.inputs[0]),
              pass.weights.vectors[op.weight], pass.view(step.outputs[0]), row_arguments(x, op.eps));
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const LayerNormOp& op) {
  const PlanValue& x = pass.plan.values[step.inputs[0]];
  const MetalView bias = pass.weights.dense[op.weight].bias;
  encoder.run(MetalKernel("layer_norm").with(MetalConstant::kHasNormBias, bias.buffer != nullptr),
              {pass.count(step.inputs[0])}, row_threads(x.width), pass.view(step.inputs[0]),
              pass.weights.vectors[op.weight], bias, pass.view(step.outputs[0]), row_arguments(x, op.eps));
}

void encode_quantize(MetalEncoder& encoder, const MetalPass& pass, const Step& step, MetalView norm, float eps) {
  const PlanValue& x = pass.plan.values[step.inputs[0]];
  const QuantizedViews y = quantized(pass, step.outputs[0]);
  encoder.run(norm.buffer ? "norm_quantize" : "quantize", {pass.count(step.inputs[0])}, row_threads(x.width),
              pass.view(step.inputs[0]), norm, y.q, y.absmax, y.sum, row_arguments(x, eps));
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const QuantizeStep&) {
  encode_quantize(encoder, pass, step, {}, 0);
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const NormQuantizeStep& norm) {
  encode_quantize(encoder, pass, step, pass.weights.vectors[norm.weight], norm.eps);
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const TernaryMatmulStep& matmul) {
  const QuantizedViews x = quantized(pass, step.inputs[0]);
  const int64_t tokens = pass.count(step.inputs[0]);
  const MetalView residual = matmul.adds_residual ? pass.view(step.inputs[1]) : MetalView{};
  const ActivationFunction activation = matmul.activation ? function_of(*matmul.activation) : kIdentity;
  for (size_t i = 0; i < matmul.weights.size(); ++i) {
    const MetalTernary& matrix = pass.weights.ternary[matmul.weights[i]];
    const int64_t columns = parts_of(matrix.columns / matrix.groups, kStepColumns) * kStepColumns;
    const TernaryArguments arguments{.rows = u32(matrix.rows),
                                     .tokens = u32(tokens),
                                     .groups = u32(matrix.groups),
                                     .group_columns = u32(columns),
                                     .row_scales = matrix.row_scales,
                                     .divides = matrix.divides,
                                     .splits = ternary_splits(matrix.groups)};
    const TernaryDispatch dispatch = ternary_dispatch(arguments, pass.has_matrices);
    encoder.run(MetalKernel(dispatch.kernel)
                    .with(MetalConstant::kHasBias, matrix.bias.buffer != nullptr)
                    .with(MetalConstant::kHasResidual, matmul.adds_residual)
                    .with(MetalConstant::kActivation, activation),
                {dispatch.width, dispatch.height}, 32 * dispatch.simdgroups, matrix.panels, x.q, x.absmax,
                matrix.scales, matrix.bias, residual, pass.view(step.outputs[i]), arguments);
  }
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const DenseLinearOp& op) {
  const MetalDense& matrix = pass.weights.dense[op.weight];
  const int64_t tokens = pass.count(step.inputs[0]);
  const ElementKernels& kernels = tokens > 1 ? kDenseMatmul4 : kDenseMatmul;
  encoder.run(MetalKernel(kernels.of(matrix.element)).with(MetalConstant::kHasDenseBias, matrix.bias.buffer != nullptr),
              {parts_of(matrix.rows, 8 * kDenseSimdgroups), tokens > 1 ? parts_of(tokens, 4) : 1},
              32 * kDenseSimdgroups, matrix.data, pass.view(step.inputs[0]), matrix.bias, pass.view(step.outputs[0]),
              DenseArguments{u32(matrix.rows), u32(matrix.columns), u32(tokens)});
}

void rotate(MetalEncoder& encoder, const MetalPass& pass, const MetalRope& rope, MetalView x, int64_t heads,
            MetalView y) {
  const auto pairs = static_cast<int64_t>(rope.frequencies.size());
  const int64_t tokens = pass.rows.tokens;
  encoder.run("rope", {parts_of(tokens * heads * pairs, kElementThreads)}, kElementThreads, x, y, rope.cosines,
              rope.sines, pass.positions, RopeArguments{u32(tokens), u32(heads), u32(pairs)});
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const RopeOp& op) {
  rotate(encoder, pass, rope_of(pass, op.frequencies), pass.view(step.inputs[0]), op.heads, pass.view(step.outputs[0]));
}

int64_t parts_bytes_of_token(const AttentionOp& op, int64_t max_pages) {
  return op.heads * max_pages * (op.head_dim + 4) * static_cast<int64_t>(sizeof(float));
}

int64_t most_single_tokens(const PlanOptions& options) { return std::min(options.max_tokens, options.max_sequences); }

// How many single tokens attend at once.
int64_t tokens_at_once(const ExecutionPlan& plan, const AttentionOp& op, int64_t max_pages) {
  return std::clamp<int64_t>(kPartsBytes / parts_bytes_of_token(op, max_pages), 1, most_single_tokens(plan.options));
}

int64_t rotated_bytes(const AttentionOp& op, int64_t heads, int64_t tokens) {
  return aligned(tokens * heads * op.head_dim * static_cast<int64_t>(sizeof(float)));
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const AttentionStep& attention) {
  const AttentionOp& op = attention.attention;
  const int64_t tokens = pass.rows.tokens, group = op.heads / op.kv_heads;
  const bool wide = op.head_dim > 128;
  AttentionArguments arguments{.rows = u32(tokens),
                               .heads = u32(op.heads),
                               .kv_heads = u32(op.kv_heads),
                               .head_dim = u32(op.head_dim),
                               .layer = u32(op.layer),
                               .page_numbers = u32(pass.kv_page_bytes / 2),
                               .max_pages = u32(pass.max_pages),
                               .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim))};
  MetalView q = pass.view(step.inputs[0]), k = pass.view(step.inputs[1]);
  const MetalView v = pass.view(step.inputs[2]), y = pass.view(step.outputs[0]);
  MetalView parts = pass.scratch;
  if (attention.rotates) {
    const MetalRope& rope = rope_of(pass, attention.frequencies);
    const MetalView rotated_q = pass.scratch;
    const MetalView rotated_k = rotated_q.at(static_cast<size_t>(rotated_bytes(op, op.heads, tokens)));
    parts = rotated_k.at(static_cast<size_t>(rotated_bytes(op, op.kv_heads, tokens)));
    rotate(encoder, pass, rope, q, op.heads, rotated_q);
    rotate(encoder, pass, rope, k, op.kv_heads, rotated_k);
    encoder.barrier();
    q = rotated_q;
    k = rotated_k;
  }
  encoder.run("append_kv", {parts_of(tokens * op.kv_heads * op.head_dim, kElementThreads)}, kElementThreads, k, v,
              pass.kv_pages, pass.page_table, pass.sequences, pass.positions, arguments);
  encoder.barrier();
  if (pass.rows.tiles > 0) {
    encoder.run(wide ? "attend_tiles_256" : "attend_tiles_128", {pass.rows.tiles, op.kv_heads}, 32 * kTileSimdgroups, q,
                pass.kv_pages, pass.page_table, pass.tiles, y, arguments);
  }
  const int64_t at_once = tokens_at_once(pass.plan, op, pass.max_pages);
  for (int64_t first = 0; first < pass.rows.single; first += at_once) {
    const int64_t count = std::min(at_once, pass.rows.single - first);
    const auto row = static_cast<size_t>(first);
    const size_t floats = row * static_cast<size_t>(op.heads * op.head_dim) * sizeof(float);
    const MetalView positions = pass.positions.at(row * sizeof(uint32_t));
    arguments.rows = u32(count);
    if (first > 0) encoder.barrier();  // the parts are free again
    encoder.run(wide ? "attend_pages_256" : "attend_pages_128", {pass.rows.pages, op.kv_heads, count}, 32 * group,
                q.at(floats), pass.kv_pages, pass.page_table, pass.sequences.at(row * sizeof(uint32_t)), positions,
                parts, arguments);
    encoder.barrier();
    encoder.run(wide ? "merge_pages_256" : "merge_pages_128", {op.heads, count}, 32, parts, positions, y.at(floats),
                arguments);
  }
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const GateOp& op) {
  const int64_t count = pass.count(step.outputs[0]) * width(pass, step.outputs[0]);
  encoder.run("gate", {parts_of(count, kElementThreads)}, kElementThreads, pass.view(step.inputs[0]),
              pass.view(step.inputs[1]), pass.view(step.outputs[0]), u32(count), int32_t{function_of(op.activation)});
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const ActivationOp& op) {
  const int64_t count = pass.count(step.outputs[0]) * width(pass, step.outputs[0]);
  encoder.run("activate", {parts_of(count, kElementThreads)}, kElementThreads, pass.view(step.inputs[0]),
              pass.view(step.outputs[0]), u32(count), int32_t{function_of(op.activation)});
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const SoftmaxOp&) {
  const PlanValue& x = pass.plan.values[step.inputs[0]];
  encoder.run("softmax", {pass.count(step.inputs[0])}, row_threads(x.width), pass.view(step.inputs[0]),
              pass.view(step.outputs[0]), row_arguments(x, 0));
}

void encode(MetalEncoder& encoder, const MetalPass& pass, const Step& step, const AddOp&) {
  const int64_t count = pass.count(step.outputs[0]) * width(pass, step.outputs[0]);
  encoder.run("add", {parts_of(count, kElementThreads)}, kElementThreads, pass.view(step.inputs[0]),
              pass.view(step.inputs[1]), pass.view(step.outputs[0]), u32(count));
}

// check_metal_step refuses these.
void encode(MetalEncoder&, const MetalPass&, const Step&, const HeadStep&) {}
void encode(MetalEncoder&, const MetalPass&, const Step&, const CustomOp&) {}

// ---- refusals

void check_attention(const Step& step, const AttentionOp& op) {
  if (op.head_dim % 4 != 0 || op.head_dim > kMaxHeadDim) {
    throw OptimizationError(concat("[metal] '", step.name, "' has a head_dim of ", op.head_dim,
                                   "; Metal takes multiples of 4 up to ", kMaxHeadDim));
  }
  if (op.heads / op.kv_heads > kMaxGroup) {
    throw OptimizationError(concat("[metal] '", step.name, "' has ", op.heads / op.kv_heads,
                                   " query heads to a KV head; Metal takes at most ", kMaxGroup));
  }
}

}  // namespace

int64_t MetalPass::count(PlanValueId value) const {
  return plan.values[value].rows == RowKind::kTokens ? rows.tokens : rows.outputs;
}

MetalView MetalPass::view(PlanValueId value) const {
  if (value == plan.output) return output;
  if (value == plan.input) return input;
  return arena.at(static_cast<size_t>(plan.values[value].offset));
}

int64_t metal_tile_tokens(const AttentionOp& attention) {
  return std::max<int64_t>(kTileQueries / (attention.heads / attention.kv_heads), 1);
}

int64_t metal_scratch_bytes(const ExecutionPlan& plan) {
  const PlanOptions& options = plan.options;
  const int64_t max_pages = parts_of(options.context_size, kPageTokens);
  int64_t bytes = 0;
  for (const Step& step : plan.steps) {
    const auto* attention = std::get_if<AttentionStep>(&step.kind);
    if (!attention) continue;
    const AttentionOp& op = attention->attention;
    const int64_t rotated = attention->rotates ? rotated_bytes(op, op.heads, options.max_tokens) +
                                                     rotated_bytes(op, op.kv_heads, options.max_tokens)
                                               : 0;
    const int64_t parts = parts_bytes_of_token(op, max_pages);
    bytes = std::max(bytes, rotated + std::max(parts, std::min(most_single_tokens(options) * parts, kPartsBytes)));
  }
  return bytes;
}

void check_metal_step(const ExecutionPlan& plan, const Step& step) {
  if (const auto* attention = std::get_if<AttentionStep>(&step.kind)) check_attention(step, attention->attention);
  if (const auto* custom = std::get_if<CustomOp>(&step.kind)) {
    throw OptimizationError(
        concat("[metal] '", step.name, "' is the custom operator '", custom->name, "', which runs on the CPU alone"));
  }
  // Kernels count elements in 32 bits.
  for (const PlanValueId value : step.outputs) {
    const int64_t elements = plan.options.max_tokens * plan.values[value].width;
    if (elements > std::numeric_limits<uint32_t>::max()) {
      throw OptimizationError(concat("[metal] '", plan.values[value].name, "' has ", elements,
                                     " elements in a pass; Metal takes at most ",
                                     std::numeric_limits<uint32_t>::max()));
    }
  }
}

void encode_step(MetalEncoder& encoder, const MetalPass& pass, const Step& step) {
  if (pass.count(step.outputs[0]) == 0) return;
  std::visit([&](const auto& kind) { encode(encoder, pass, step, kind); }, step.kind);
  encoder.barrier();
}

int64_t metal_argmax_scratch_bytes(int64_t rows, int64_t columns) {
  return 2 * aligned(rows * parts_of(columns, kTopKChunk) * 4);
}

void encode_argmax(MetalEncoder& encoder, MetalView values, int64_t rows, int64_t columns, MetalView largest,
                   MetalView ids, MetalView scratch) {
  const int64_t chunks = parts_of(columns, kTopKChunk);
  const bool once = chunks == 1;
  const MetalView chunk_ids = scratch.at(static_cast<size_t>(aligned(rows * chunks * 4)));
  encoder.run("top_k", {chunks, rows}, kTopKThreads, values, MetalView{}, once ? largest : scratch,
              once ? ids : chunk_ids, TopKArguments{u32(columns), 1, 0});
  if (once) return;
  encoder.barrier();
  encoder.run("top_k", {parts_of(chunks, kTopKChunk), rows}, kTopKThreads, scratch, chunk_ids, largest, ids,
              TopKArguments{u32(chunks), 1, 1});
}

}  // namespace tritium
