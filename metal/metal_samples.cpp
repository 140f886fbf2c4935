#include "metal/metal_samples.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace tritium {
namespace {

size_t bytes_of(int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); }

}  // namespace

MetalSamples::MetalSamples(const MetalModel& model, const MetalContext& context, size_t device, const float* x,
                           int64_t samples, float* y)
    : model_(model),
      context_(context),
      device_(device),
      x_(x),
      samples_(samples),
      y_(y),
      inputs_(model.plan().values[model.plan().input].width),
      outputs_(model.plan().values[model.plan().output].width) {
  if (samples > 0) arena_ = context.memory->allocate(model.arena().bytes(), kArenaMemory);
}

bool MetalSamples::advance() {
  if (done_ == samples_) return false;
  Slot& slot = slots_[turn_++ % slots_.size()];
  collect(slot);
  const int64_t most = std::min(model_.plan().options.max_tokens, samples_);
  if (!slot.input) {
    slot.input.emplace(*context_.memory, bytes_of(most * inputs_), kArenaMemory);
    slot.output.emplace(*context_.memory, bytes_of(most * outputs_), kArenaMemory);
  }
  slot.first = done_;
  slot.count = std::min(most, samples_ - done_);
  std::memcpy(slot.input->host(), x_ + slot.first * inputs_, bytes_of(slot.count * inputs_));

  slot.commands.emplace(context_.device(), concat("a pass of '", model_.name(), "'"));
  slot.input->to_device(*slot.commands, bytes_of(slot.count * inputs_));
  MetalEncoder encoder(*context_.pipelines, slot.commands->kernels());
  MetalPass pass = model_.pass(device_, {.tokens = slot.count, .outputs = slot.count}, MetalMemory::view(arena_));
  pass.input = slot.input->view();
  pass.output = slot.output->view();
  for (const Step& step : model_.plan().steps) encode_step(encoder, pass, step);
  slot.output->to_host(*slot.commands, bytes_of(slot.count * outputs_));
  slot.commands->commit();
  done_ += slot.count;
  return true;
}

void MetalSamples::collect(Slot& slot) {
  if (slot.count == 0) return;
  slot.commands->wait();
  std::memcpy(y_ + slot.first * outputs_, slot.output->host(), bytes_of(slot.count * outputs_));
  slot.count = 0;
}

void MetalSamples::finish() {
  for (Slot& slot : slots_) collect(slot);
}

int64_t metal_transfer_bytes(const ExecutionPlan& plan, bool unified_memory) {
  const int64_t one =
      plan.values[plan.input].bytes(plan.options.max_tokens) + plan.values[plan.output].bytes(plan.options.max_tokens);
  return 2 * one * (unified_memory ? 1 : 2);
}

}  // namespace tritium
