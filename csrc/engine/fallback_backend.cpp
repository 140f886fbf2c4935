#include "engine/fallback_backend.h"

#include <utility>

#include "base/error.h"

namespace tritium {
namespace {

// A prepared model, and the backend that prepared it.
class PlacedModel final : public PreparedModel {
 public:
  PlacedModel(InferenceBackend& backend, std::shared_ptr<PreparedModel> prepared)
      : backend_(backend), prepared_(std::move(prepared)) {}

  const Model& model() const override { return prepared_->model(); }
  const ExecutionPlan& plan() const override { return prepared_->plan(); }
  HeadStatistics head_statistics() const override { return prepared_->head_statistics(); }
  InferenceBackend& backend() const { return backend_; }
  PreparedModel& prepared() const { return *prepared_; }

 private:
  InferenceBackend& backend_;
  std::shared_ptr<PreparedModel> prepared_;
};

const PlacedModel& placed(const PreparedModel& prepared) { return static_cast<const PlacedModel&>(prepared); }

// What a device cannot do and the CPU perhaps can.
template <class OnDevice, class OnCpu>
auto first_that_can(const OnDevice& on_device, const OnCpu& on_cpu) {
  std::string refusal;
  try {
    return on_device();
  } catch (const DeviceError& error) {
    refusal = error.what();
  } catch (const OptimizationError& error) {
    refusal = error.what();
  } catch (const MemoryLimitError& error) {
    refusal = error.what();
  }
  return on_cpu(refusal);
}

}  // namespace

FallbackBackend::FallbackBackend(std::unique_ptr<InferenceBackend> device,
                                 std::function<std::unique_ptr<InferenceBackend>()> make_cpu,
                                 std::function<void(const std::string&)> warn)
    : device_(std::move(device)), make_cpu_(std::move(make_cpu)), warn_(std::move(warn)) {}

InferenceBackend& FallbackBackend::cpu() const {
  std::lock_guard lock(in_use_);
  if (!cpu_) cpu_ = make_cpu_();
  return *cpu_;
}

InferenceBackend* FallbackBackend::cpu_if_made() const {
  std::lock_guard lock(in_use_);
  return cpu_.get();
}

ExecutionPlan FallbackBackend::plan(const Model& model, const PlanOptions& options) const {
  return first_that_can([&] { return device_->plan(model, options); },
                        [&](const std::string&) { return cpu().plan(model, options); });
}

std::shared_ptr<PreparedModel> FallbackBackend::optimize_model(std::shared_ptr<const Model> model,
                                                               const PlanOptions& options) {
  return first_that_can(
      [&] { return std::make_shared<PlacedModel>(*device_, device_->optimize_model(model, options)); },
      [&](const std::string& refusal) {
        auto prepared = std::make_shared<PlacedModel>(cpu(), cpu().optimize_model(model, options));
        if (!std::exchange(warned_, true)) {
          warn_(concat("'", model->name(), "' runs on the CPU, for ", device_name(device()), " cannot: ", refusal));
        }
        return prepared;
      });
}

std::unique_ptr<KVCache> FallbackBackend::create_cache(const PreparedModel& prepared) {
  return placed(prepared).backend().create_cache(placed(prepared).prepared());
}

BatchOutput FallbackBackend::execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) {
  return placed(prepared).backend().execute_batch(placed(prepared).prepared(), cache, batch);
}

void FallbackBackend::execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) {
  placed(prepared).backend().execute_samples(placed(prepared).prepared(), x, samples, y);
}

std::vector<ModelMemory> FallbackBackend::model_memory() const {
  std::vector<ModelMemory> models = device_->model_memory();
  if (const InferenceBackend* cpu = cpu_if_made()) {
    for (ModelMemory& model : cpu->model_memory()) models.push_back(std::move(model));
  }
  return models;
}

void FallbackBackend::trim() {
  device_->trim();
  if (InferenceBackend* cpu = cpu_if_made()) cpu->trim();
}

}  // namespace tritium
