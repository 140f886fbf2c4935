// From a graph to an execution plan.
#pragma once

#include "plan/execution_plan.h"

namespace tritium {

// Lowers every operator, fuses as options.level says, and lays out the arena. memory.weights, memory.kv_cache and
// memory.outputs are for the backend to fill in. OptimizationError if the graph cannot be lowered.
ExecutionPlan build_plan(const Graph& graph, const PlanOptions& options);

}  // namespace tritium
