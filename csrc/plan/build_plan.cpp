#include "plan/build_plan.h"

#include <algorithm>

#include "base/error.h"
#include "plan/fuse_operators.h"
#include "plan/plan_memory.h"

namespace tritium {
namespace {

// BitLinear becomes two steps, quantise and multiply; every other operator is one step.
void lower(const Operator& op, ExecutionPlan& plan) {
  const auto same = [&](StepKind kind) { plan.steps.push_back({op.name, std::move(kind), op.inputs, {op.output}}); };
  std::visit(Overloaded{
                 [&](const TernaryLinearOp& linear) {
                   const PlanValue& x = plan.values[op.inputs[0]];
                   plan.values.push_back({x.name + ".int8", Storage::kQuantized, x.rows, x.width, kOutsideArena});
                   const PlanValueId quantized = static_cast<PlanValueId>(plan.values.size()) - 1;
                   plan.steps.push_back({op.name, QuantizeStep{}, {op.inputs[0]}, {quantized}});
                   plan.steps.push_back({op.name, TernaryMatmulStep{{linear.weight}}, {quantized}, {op.output}});
                 },
                 [&](const AttentionOp& attention) { same(AttentionStep{attention, false, {}}); },
                 [&](const auto& kind) { same(kind); },
             },
             op.kind);
}

// A head of this many weights is read faster through a small copy, and the copy pays for its memory.
constexpr int64_t kLargeHead = int64_t{1} << 23;

// The head becomes a step of its own where it has a small copy.
void choose_head(ExecutionPlan& plan) {
  PlanOptions& options = plan.options;
  const auto last = std::find_if(plan.steps.rbegin(), plan.steps.rend(),
                                 [&](const Step& step) { return step.outputs[0] == plan.output; });
  const bool has_head = last != plan.steps.rend() && plan.values[plan.input].storage == Storage::kTokenIds;
  const DenseLinearOp* head = has_head ? std::get_if<DenseLinearOp>(&last->kind) : nullptr;
  if (options.head == HeadFormat::kAuto) {
    const bool large = head && plan.values[plan.output].width * plan.values[last->inputs[0]].width >= kLargeHead;
    options.head = large && options.level != OptimizationLevel::kNone ? HeadFormat::kScreened : HeadFormat::kFull;
  }
  if (options.head == HeadFormat::kFull) return;
  if (options.level == OptimizationLevel::kNone) {
    throw OptimizationError(concat("[plan] level none runs the graph as it is; head '", head_format_name(options.head),
                                   "' needs level basic, or head 'full'"));
  }
  if (!head) {
    throw OptimizationError(concat("[plan] head '", head_format_name(options.head),
                                   "' needs a language model with a dense linear layer at the end"));
  }
  last->kind = HeadStep{head->weight, options.head};
}

}  // namespace

ExecutionPlan build_plan(const Graph& graph, const PlanOptions& options) {
  if (options.max_tokens < 1 || options.context_size < 1 || options.max_sequences < 1) {
    throw OptimizationError(concat("[plan] tokens a pass, context and sequences must be at least 1, got ",
                                   options.max_tokens, ", ", options.context_size, ", ", options.max_sequences));
  }
  if (graph.input < 0 || graph.output < 0) throw OptimizationError("[plan] the graph has no input or no output");
  ExecutionPlan plan;
  plan.options = options;
  plan.input = graph.input;
  plan.output = graph.output;
  for (const Value& value : graph.values) {
    const Storage storage = value.type == ValueType::kTokenIds ? Storage::kTokenIds : Storage::kFloat;
    plan.values.push_back({value.name, storage, value.rows, value.width, kOutsideArena});
  }
  for (const Operator& op : graph.operators) lower(op, plan);
  if (options.level != OptimizationLevel::kNone) fuse_operators(plan);
  choose_head(plan);
  plan_memory(plan);
  return plan;
}

}  // namespace tritium
