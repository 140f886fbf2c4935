// Execution plans as data: what a plan does, and all that a backend written in Python needs to walk it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "bindings.h"
#include "plan/execution_plan.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

// A value of a plan as Python sees it: with its bytes, and by itself.
struct PlannedValue {
  PlanValueId id;
  std::string name;
  std::string storage;
  std::string rows;
  int64_t width;
  std::optional<int64_t> offset;
  int64_t nbytes;
};

struct PlannedStep {
  std::string name;
  StepKind kind;
  std::vector<PlannedValue> inputs;
  std::vector<PlannedValue> outputs;
};

PlannedValue planned_value(const ExecutionPlan& plan, PlanValueId id) {
  const PlanValue& value = plan.values[static_cast<size_t>(id)];
  return {id,
          value.name,
          std::string(storage_name(value.storage)),
          value.rows == RowKind::kTokens ? "tokens" : "outputs",
          value.width,
          value.offset == kOutsideArena ? std::nullopt : std::optional(value.offset),
          value.bytes(plan.options.max_tokens)};
}

std::vector<PlannedValue> planned_values(const ExecutionPlan& plan, const std::vector<PlanValueId>& ids) {
  std::vector<PlannedValue> values;
  for (PlanValueId id : ids) values.push_back(planned_value(plan, id));
  return values;
}

std::vector<PlannedStep> planned_steps(const ExecutionPlan& plan) {
  std::vector<PlannedStep> steps;
  for (const Step& step : plan.steps) {
    steps.push_back({step.name, step.kind, planned_values(plan, step.inputs), planned_values(plan, step.outputs)});
  }
  return steps;
}

const char* operator_of(const StepKind& kind) {
  return std::visit(Overloaded{
                        [](const EmbeddingOp&) { return "embedding"; },
                        [](const RmsNormOp&) { return "rms_norm"; },
                        [](const LayerNormOp&) { return "layer_norm"; },
                        [](const QuantizeStep&) { return "quantize"; },
                        [](const NormQuantizeStep&) { return "rms_norm_quantize"; },
                        [](const TernaryMatmulStep&) { return "ternary_matmul"; },
                        [](const DenseLinearOp&) { return "dense_matmul"; },
                        [](const HeadStep&) { return "head"; },
                        [](const RopeOp&) { return "rope"; },
                        [](const AttentionStep&) { return "attention"; },
                        [](const GateOp&) { return "gate"; },
                        [](const ActivationOp&) { return "activation"; },
                        [](const SoftmaxOp&) { return "softmax"; },
                        [](const AddOp&) { return "add"; },
                        [](const CustomOp&) { return "custom"; },
                        [](const SelectOutputsOp&) { return "select_outputs"; },
                    },
                    kind);
}

py::dict attributes_of(const StepKind& kind) {
  using namespace py::literals;
  const auto norm = [](const auto& op) { return py::dict("weight"_a = op.weight, "eps"_a = op.eps); };
  const auto weight = [](const auto& op) { return py::dict("weight"_a = op.weight); };
  const auto activation = [](const auto& op) { return py::dict("activation"_a = activation_name(op.activation)); };
  return std::visit(
      Overloaded{
          [&](const EmbeddingOp& op) { return weight(op); },
          [&](const RmsNormOp& op) { return norm(op); },
          [&](const LayerNormOp& op) { return norm(op); },
          [&](const NormQuantizeStep& op) { return norm(op); },
          [&](const DenseLinearOp& op) { return weight(op); },
          [&](const GateOp& op) { return activation(op); },
          [&](const ActivationOp& op) { return activation(op); },
          [](const TernaryMatmulStep& op) {
            return py::dict("weights"_a = op.weights, "adds_residual"_a = op.adds_residual,
                            "activation"_a = op.activation ? py::cast(activation_name(*op.activation)) : py::none());
          },
          [](const HeadStep& op) { return py::dict("weight"_a = op.weight, "format"_a = head_format_name(op.format)); },
          [](const RopeOp& op) {
            return py::dict("heads"_a = op.heads, "head_dim"_a = op.head_dim, "frequencies"_a = op.frequencies);
          },
          [](const AttentionStep& op) {
            return py::dict("layer"_a = op.attention.layer, "heads"_a = op.attention.heads,
                            "kv_heads"_a = op.attention.kv_heads, "head_dim"_a = op.attention.head_dim,
                            "rotates"_a = op.rotates, "frequencies"_a = op.frequencies);
          },
          [](const CustomOp& op) {
            return py::dict("name"_a = op.name, "input_shapes"_a = op.input_shapes, "output_shape"_a = op.output_shape);
          },
          [](const auto&) { return py::dict(); },
      },
      kind);
}

}  // namespace

void bind_plan(py::module_& module) {
  py::class_<PlannedValue>(module, "PlanValue")
      .def_readonly("id", &PlannedValue::id)
      .def_readonly("name", &PlannedValue::name)
      .def_readonly("storage", &PlannedValue::storage)
      .def_readonly("rows", &PlannedValue::rows)
      .def_readonly("width", &PlannedValue::width)
      .def_readonly("offset", &PlannedValue::offset)
      .def_readonly("nbytes", &PlannedValue::nbytes)
      .def("__repr__", [](const PlannedValue& value) {
        return concat("PlanValue('", value.name, "', ", value.storage, ", width=", value.width,
                      ", offset=", value.offset ? std::to_string(*value.offset) : "None", ", nbytes=", value.nbytes,
                      ")");
      });
  py::class_<PlannedStep>(module, "PlanStep")
      .def_readonly("name", &PlannedStep::name)
      .def_property_readonly("kind", [](const PlannedStep& step) { return step_name(step.kind); })
      .def_property_readonly("operator", [](const PlannedStep& step) { return operator_of(step.kind); })
      .def_property_readonly("attributes", [](const PlannedStep& step) { return attributes_of(step.kind); })
      .def_readonly("inputs", &PlannedStep::inputs)
      .def_readonly("outputs", &PlannedStep::outputs)
      .def("__repr__", [](const PlannedStep& step) {
        return concat("PlanStep('", step.name, "', ", step_name(step.kind), ", ", step.inputs.size(), " inputs, ",
                      step.outputs.size(), " outputs)");
      });
  py::class_<ExecutionPlan>(module, "ExecutionPlan")
      .def_property_readonly("steps",
                             [](const ExecutionPlan& plan) {
                               std::vector<std::string> names;
                               for (const Step& step : plan.steps) names.emplace_back(step_name(step.kind));
                               return names;
                             })
      .def_property_readonly("layers", &planned_steps)
      .def_property_readonly("input", [](const ExecutionPlan& plan) { return planned_value(plan, plan.input); })
      .def_property_readonly("output", [](const ExecutionPlan& plan) { return planned_value(plan, plan.output); })
      .def_property_readonly("optimization_level",
                             [](const ExecutionPlan& plan) { return optimization_level_name(plan.options.level); })
      .def_property_readonly("rows_per_pass", [](const ExecutionPlan& plan) { return plan.options.max_tokens; })
      .def_property_readonly("context_size", [](const ExecutionPlan& plan) { return plan.options.context_size; })
      .def_readonly("fusions", &ExecutionPlan::fusions)
      .def_property_readonly("arena_bytes", [](const ExecutionPlan& plan) { return plan.memory.arena; })
      .def_property_readonly("weight_bytes", [](const ExecutionPlan& plan) { return plan.memory.weights; })
      .def_property_readonly("kv_bytes", [](const ExecutionPlan& plan) { return plan.memory.kv_cache; })
      .def_property_readonly("output_bytes", [](const ExecutionPlan& plan) { return plan.memory.outputs; })
      .def_property_readonly("estimated_memory", &ExecutionPlan::estimated_memory)
      .def_readonly("weight_bytes_per_token", &ExecutionPlan::weight_bytes_per_token)
      .def_property_readonly("ternary_format", [](const ExecutionPlan& plan) { return plan.options.ternary_format; })
      .def("describe", &ExecutionPlan::describe)
      .def("__str__", &ExecutionPlan::describe);
}

}  // namespace tritium::python
