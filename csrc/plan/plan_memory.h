// The arena: values that never live at the same time share bytes, and a step that works element by element writes over
// an input that nobody reads again.
#pragma once

#include "plan/execution_plan.h"

namespace tritium {

inline constexpr int64_t kArenaAlignment = 64;  // bytes

// Sets the offset of every value between the input and the output, and memory.arena.
void plan_memory(ExecutionPlan& plan);

}  // namespace tritium
