#include "plan/plan_memory.h"

#include <algorithm>

namespace tritium {
namespace {

struct Interval {
  PlanValueId value;
  size_t first;  // step that makes it
  size_t last;   // last step that reads it
  int64_t bytes;
};

int64_t align(int64_t bytes) { return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment; }

std::vector<Interval> lifetimes(const ExecutionPlan& plan) {
  constexpr size_t kNever = static_cast<size_t>(-1);
  std::vector<Interval> all(plan.values.size());
  for (size_t v = 0; v < all.size(); ++v) {
    all[v] = {static_cast<PlanValueId>(v), kNever, 0, align(plan.values[v].bytes(plan.options.max_tokens))};
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    for (PlanValueId value : plan.steps[i].outputs) {
      all[value].first = std::min(all[value].first, i);
      all[value].last = std::max(all[value].last, i);
    }
    for (PlanValueId value : plan.steps[i].inputs) all[value].last = std::max(all[value].last, i);
  }
  std::vector<Interval> placed;
  for (const Interval& interval : all) {
    if (interval.first != kNever && interval.value != plan.output) placed.push_back(interval);
  }
  return placed;
}

}  // namespace

// Largest first, each at the lowest offset that is free for its whole life.
void plan_memory(ExecutionPlan& plan) {
  std::vector<Interval> order = lifetimes(plan);
  std::stable_sort(order.begin(), order.end(), [](const Interval& a, const Interval& b) { return a.bytes > b.bytes; });
  std::vector<Interval> done;
  plan.memory.arena = 0;
  for (const Interval& interval : order) {
    std::vector<std::pair<int64_t, int64_t>> taken;  // [begin, end) bytes of values alive at the same time
    for (const Interval& other : done) {
      if (other.first <= interval.last && interval.first <= other.last) {
        const int64_t begin = plan.values[other.value].offset;
        taken.emplace_back(begin, begin + other.bytes);
      }
    }
    std::sort(taken.begin(), taken.end());
    int64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + interval.bytes <= begin) break;
      offset = std::max(offset, end);
    }
    plan.values[interval.value].offset = offset;
    plan.memory.arena = std::max(plan.memory.arena, offset + interval.bytes);
    done.push_back(interval);
  }
}

}  // namespace tritium
