#include "plan/fuse_operators.h"

#include <algorithm>

namespace tritium {
namespace {

template <class Kind>
Kind* as(Step& step) {
  return std::get_if<Kind>(&step.kind);
}

// Steps that read `value`.
std::vector<size_t> readers(const ExecutionPlan& plan, PlanValueId value) {
  std::vector<size_t> found;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const auto& inputs = plan.steps[i].inputs;
    if (std::find(inputs.begin(), inputs.end(), value) != inputs.end()) found.push_back(i);
  }
  return found;
}

// The step that makes `value`, or -1 for the plan's input.
int producer(const ExecutionPlan& plan, PlanValueId value) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const auto& outputs = plan.steps[i].outputs;
    if (std::find(outputs.begin(), outputs.end(), value) != outputs.end()) return static_cast<int>(i);
  }
  return -1;
}

bool read_only_by(const ExecutionPlan& plan, PlanValueId value, size_t step) {
  const std::vector<size_t> found = readers(plan, value);
  return value != plan.output && found.size() == 1 && found[0] == step;
}

void erase_step(ExecutionPlan& plan, size_t index) {
  plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(index));
}

// Linears that read the same value quantise it once.
int share_quantization(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (!as<QuantizeStep>(plan.steps[i])) continue;
    const PlanValueId kept = plan.steps[i].outputs[0];
    for (size_t j = i + 1; j < plan.steps.size();) {
      if (as<QuantizeStep>(plan.steps[j]) && plan.steps[j].inputs == plan.steps[i].inputs) {
        const PlanValueId dropped = plan.steps[j].outputs[0];
        erase_step(plan, j);
        for (Step& step : plan.steps) std::replace(step.inputs.begin(), step.inputs.end(), dropped, kept);
        ++count;
      } else {
        ++j;
      }
    }
  }
  return count;
}

// A norm that only a quantisation reads is never stored.
int norm_into_quantization(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (!as<QuantizeStep>(plan.steps[i])) continue;
    const PlanValueId x = plan.steps[i].inputs[0];
    const int source = producer(plan, x);
    if (source < 0 || !read_only_by(plan, x, i)) continue;
    const RmsNormOp* norm = as<RmsNormOp>(plan.steps[source]);
    if (!norm) continue;
    plan.steps[i].name = plan.steps[source].name;
    plan.steps[i].kind = NormQuantizeStep{norm->weight, norm->eps};
    plan.steps[i].inputs = plan.steps[source].inputs;
    erase_step(plan, static_cast<size_t>(source));
    --i;
    ++count;
  }
  return count;
}

// Matrices that multiply the same rows run as one step: one fork and join of the threads.
int group_projections(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    TernaryMatmulStep* first = as<TernaryMatmulStep>(plan.steps[i]);
    if (!first) continue;
    for (size_t j = i + 1; j < plan.steps.size();) {
      TernaryMatmulStep* other = as<TernaryMatmulStep>(plan.steps[j]);
      if (other && plan.steps[j].inputs == plan.steps[i].inputs) {
        first->weights.insert(first->weights.end(), other->weights.begin(), other->weights.end());
        plan.steps[i].outputs.insert(plan.steps[i].outputs.end(), plan.steps[j].outputs.begin(),
                                     plan.steps[j].outputs.end());
        erase_step(plan, j);
        first = as<TernaryMatmulStep>(plan.steps[i]);
        ++count;
      } else {
        ++j;
      }
    }
  }
  return count;
}

// The sum with the residual stream happens while the product is scaled.
int residual_into_matmul(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (!as<AddOp>(plan.steps[i]) || plan.steps[i].inputs[0] == plan.steps[i].inputs[1]) continue;
    for (int side = 0; side < 2; ++side) {
      const PlanValueId product = plan.steps[i].inputs[side];
      const PlanValueId residual = plan.steps[i].inputs[1 - side];
      const int source = producer(plan, product);
      if (source < 0 || !read_only_by(plan, product, i) || producer(plan, residual) > source) continue;
      TernaryMatmulStep* matmul = as<TernaryMatmulStep>(plan.steps[source]);
      if (!matmul || matmul->weights.size() != 1 || matmul->adds_residual) continue;
      matmul->adds_residual = true;
      plan.steps[source].inputs.push_back(residual);
      plan.steps[source].outputs = plan.steps[i].outputs;
      erase_step(plan, i);
      --i;
      ++count;
      break;
    }
  }
  return count;
}

// An activation that alone reads a product is applied while the product is scaled.
int activation_into_matmul(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const ActivationOp* activation = as<ActivationOp>(plan.steps[i]);
    if (!activation) continue;
    const PlanValueId product = plan.steps[i].inputs[0];
    const int source = producer(plan, product);
    if (source < 0 || !read_only_by(plan, product, i)) continue;
    TernaryMatmulStep* matmul = as<TernaryMatmulStep>(plan.steps[source]);
    if (!matmul || matmul->weights.size() != 1 || matmul->activation) continue;
    matmul->activation = activation->activation;
    plan.steps[source].outputs = plan.steps[i].outputs;
    erase_step(plan, i);
    --i;
    ++count;
  }
  return count;
}

// Attention rotates q and k as it reads them.
int rope_into_attention(ExecutionPlan& plan) {
  int count = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    AttentionStep* attention = as<AttentionStep>(plan.steps[i]);
    if (!attention || attention->rotates) continue;
    const int q = producer(plan, plan.steps[i].inputs[0]);
    const int k = producer(plan, plan.steps[i].inputs[1]);
    if (q < 0 || k < 0 || q == k) continue;
    const RopeOp* q_rope = as<RopeOp>(plan.steps[q]);
    const RopeOp* k_rope = as<RopeOp>(plan.steps[k]);
    if (!q_rope || !k_rope || q_rope->frequencies != k_rope->frequencies) continue;
    if (!read_only_by(plan, plan.steps[i].inputs[0], i) || !read_only_by(plan, plan.steps[i].inputs[1], i)) continue;
    attention->rotates = true;
    attention->frequencies = q_rope->frequencies;
    plan.steps[i].inputs[0] = plan.steps[q].inputs[0];
    plan.steps[i].inputs[1] = plan.steps[k].inputs[0];
    erase_step(plan, static_cast<size_t>(std::max(q, k)));
    erase_step(plan, static_cast<size_t>(std::min(q, k)));
    i -= 2;
    ++count;
  }
  return count;
}

}  // namespace

void fuse_operators(ExecutionPlan& plan) {
  const auto apply = [&](const char* name, int (*fusion)(ExecutionPlan&)) {
    const int count = fusion(plan);
    if (count > 0) plan.fusions.push_back(std::string(name) + " x" + std::to_string(count));
  };
  apply("share_quantization", share_quantization);
  apply("norm_into_quantization", norm_into_quantization);
  apply("group_projections", group_projections);
  apply("residual_into_matmul", residual_into_matmul);
  apply("activation_into_matmul", activation_into_matmul);
  apply("rope_into_attention", rope_into_attention);
}

}  // namespace tritium
