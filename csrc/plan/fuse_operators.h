// Fusions: rewrites of a plan that save passes over memory and keep every bit of the result.
#pragma once

#include "plan/execution_plan.h"

namespace tritium {

// Applies all fusions and notes them in plan.fusions. Before the arena is laid out.
void fuse_operators(ExecutionPlan& plan);

}  // namespace tritium
