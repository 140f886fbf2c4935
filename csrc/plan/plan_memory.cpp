#include "plan/plan_memory.h"

#include <algorithm>

namespace tritium {
namespace {

struct Life {
  size_t first = static_cast<size_t>(-1);  // step that makes the value
  size_t last = 0;                         // last step that reads it

  bool overlaps(const Life& other) const { return first <= other.last && other.first <= last; }
};

std::vector<Life> lives_of_values(const ExecutionPlan& plan) {
  std::vector<Life> lives(plan.values.size());
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    for (PlanValueId value : plan.steps[i].outputs) {
      lives[value].first = std::min(lives[value].first, i);
      lives[value].last = std::max(lives[value].last, i);
    }
    for (PlanValueId value : plan.steps[i].inputs) lives[value].last = std::max(lives[value].last, i);
  }
  return lives;
}

// The input whose bytes a step may overwrite with its output, element by element, or -1.
PlanValueId overwritable_input(const Step& step) {
  return std::visit(Overloaded{
                        [&](const RmsNormOp&) { return step.inputs[0]; },
                        [&](const LayerNormOp&) { return step.inputs[0]; },
                        [&](const GateOp&) { return step.inputs[0]; },
                        [&](const ActivationOp&) { return step.inputs[0]; },
                        [&](const SoftmaxOp&) { return step.inputs[0]; },
                        [&](const AddOp&) { return step.inputs[0]; },
                        [&](const TernaryMatmulStep& matmul) { return matmul.adds_residual ? step.inputs[1] : -1; },
                        [](const auto&) { return -1; },
                    },
                    step.kind);
}

int64_t aligned_bytes(const ExecutionPlan& plan, PlanValueId value) {
  const int64_t bytes = plan.values[value].bytes(plan.options.max_tokens);
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

// Lets an output take over the bytes of an input that is read for the last time, and the owner of the bytes live on
// for it. The owner of each value's bytes: itself, or the first of a chain.
std::vector<PlanValueId> share_bytes(const ExecutionPlan& plan, std::vector<Life>& lives) {
  std::vector<PlanValueId> owners(plan.values.size());
  for (size_t v = 0; v < owners.size(); ++v) owners[v] = static_cast<PlanValueId>(v);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanValueId input = overwritable_input(plan.steps[i]);
    const PlanValueId output = plan.steps[i].outputs[0];
    if (input < 0 || lives[input].last != i) continue;
    if (input == plan.input || input == plan.output || output == plan.output) continue;
    if (aligned_bytes(plan, input) != aligned_bytes(plan, output)) continue;
    owners[output] = owners[input];
    lives[owners[input]].last = lives[output].last;
  }
  return owners;
}

struct Place {
  PlanValueId value;
  int64_t begin;  // bytes
  int64_t end;
};

}  // namespace

// Largest first, each at the lowest offset that is free for its whole life.
void plan_memory(ExecutionPlan& plan) {
  std::vector<Life> lives = lives_of_values(plan);
  const std::vector<PlanValueId> owners = share_bytes(plan, lives);
  std::vector<PlanValueId> order;
  for (PlanValueId value = 0; value < static_cast<PlanValueId>(plan.values.size()); ++value) {
    const bool made = lives[value].first != Life().first;
    if (made && value != plan.output && owners[value] == value) order.push_back(value);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](PlanValueId a, PlanValueId b) { return aligned_bytes(plan, a) > aligned_bytes(plan, b); });

  std::vector<Place> places;
  plan.memory.arena = 0;
  for (PlanValueId value : order) {
    std::vector<Place> taken;
    for (const Place& place : places) {
      if (lives[place.value].overlaps(lives[value])) taken.push_back(place);
    }
    std::sort(taken.begin(), taken.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
    const int64_t bytes = aligned_bytes(plan, value);
    int64_t offset = 0;
    for (const Place& place : taken) {
      if (offset + bytes <= place.begin) break;
      offset = std::max(offset, place.end);
    }
    plan.values[value].offset = offset;
    plan.memory.arena = std::max(plan.memory.arena, offset + bytes);
    places.push_back({value, offset, offset + bytes});
  }
  for (size_t v = 0; v < owners.size(); ++v) plan.values[v].offset = plan.values[owners[v]].offset;
}

}  // namespace tritium
