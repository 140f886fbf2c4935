#include "metal/metal_model.h"

#include <algorithm>

#include "base/error.h"
#include "plan/plan_memory.h"

namespace tritium {
namespace {

// Numbers of rows that take different kernels, up to the plan's.
constexpr int64_t kRowCounts[] = {1, 4, 17};

}  // namespace

MetalArena::MetalArena(const ExecutionPlan& plan) : scratch(metal_scratch_bytes(plan)) {
  for (const PlanValue& value : plan.values) {
    if (value.offset != kOutsideArena) values = std::max(values, value.offset + value.bytes(plan.options.max_tokens));
  }
  values = (values + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

MetalModel::MetalModel(std::shared_ptr<const Model> model, std::shared_ptr<const PlacedWeights> weights,
                       ExecutionPlan plan, const std::vector<MetalContext>& devices)
    : model_(std::move(model)),
      name_(model_->name()),
      weights_(std::move(weights)),
      plan_(std::move(plan)),
      arena_(plan_) {
  for (size_t i = 0; i < devices.size(); ++i) {
    has_matrices_.push_back(devices[i].device().has_matrices());
    ropes_.push_back(place_ropes(plan_, *devices[i].memory));
    make_pipelines(i, *devices[i].pipelines);
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    speeds_.push_back(devices.size() == 1 ? 1 : measure_speed(i, devices[i]));
  }
}

MetalPass MetalModel::pass(size_t device, const MetalRows& rows, MetalView arena) const {
  return {.plan = plan_,
          .weights = *weights_->devices[device],
          .ropes = ropes_[device].tables,
          .has_matrices = has_matrices_[device],
          .rows = rows,
          .arena = arena,
          .scratch = arena.at(static_cast<size_t>(arena_.values))};
}

void MetalModel::make_pipelines(size_t device, MetalPipelines& pipelines) const {
  MetalEncoder encoder(pipelines, nullptr);
  for (const int64_t count : kRowCounts) {
    const int64_t rows = std::min(count, plan_.options.max_tokens);
    MetalPass pass = this->pass(device, {.tokens = rows, .outputs = rows, .single = 1, .tiles = 1, .pages = 1}, {});
    pass.max_pages = 1;
    for (const Step& step : plan_.steps) encode_step(encoder, pass, step);
  }
  if (model_->is_language_model()) encode_argmax(encoder, {}, 1, model_->config().vocab_size, {}, {}, {});
}

// The products of ternary matrices with one row of the arena as it is.
double MetalModel::measure_speed(size_t device, const MetalContext& context) const {
  const AutoreleaseScope scope;
  const MemoryPool::Buffer arena = context.memory->allocate(arena_.bytes(), kArenaMemory);
  MemoryPool::Buffer output =
      context.memory->allocate(static_cast<size_t>(plan_.values[plan_.output].bytes(1)), kOutputMemory);
  double seconds = 0;
  for (int round = 0; round < 2; ++round) {  // the first one warms up
    MetalCommands commands(context.device(), concat("a measurement of '", name_, "'"));
    MetalEncoder encoder(*context.pipelines, commands.kernels());
    MetalPass pass = this->pass(device, {.tokens = 1, .outputs = 1}, MetalMemory::view(arena));
    pass.output = MetalMemory::view(output);
    for (const Step& step : plan_.steps) {
      if (std::holds_alternative<TernaryMatmulStep>(step.kind)) encode_step(encoder, pass, step);
    }
    commands.commit();
    commands.wait();
    seconds = commands.seconds();
  }
  return seconds > 0 ? 1 / seconds : 1;
}

}  // namespace tritium
