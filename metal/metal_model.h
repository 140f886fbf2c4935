// A model made ready for the Metal devices.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/inference_backend.h"
#include "metal/metal_operators.h"
#include "metal/metal_weights.h"

namespace tritium {

// A device with what all models on it share.
struct MetalContext {
  std::shared_ptr<MetalMemory> memory;
  std::unique_ptr<MetalPipelines> pipelines;

  MetalDevice& device() const { return memory->device(); }
};

// A model's weights on every device.
struct PlacedWeights {
  std::vector<std::shared_ptr<const MetalWeights>> devices;
  size_t panels_bytes = 0;  // of ternary matrices
  bool is_mapped = false;   // whether they are an entry of the packed cache
};

// What a pass works in, in bytes: the plan's values, and attention's scratch behind them.
struct MetalArena {
  int64_t values = 0;
  int64_t scratch = 0;

  explicit MetalArena(const ExecutionPlan& plan);
  size_t bytes() const { return static_cast<size_t>(values + scratch); }
};

class MetalModel final : public PreparedModel {
 public:
  // Makes the pipelines of all kernels that the plan can need.
  MetalModel(std::shared_ptr<const Model> model, std::shared_ptr<const PlacedWeights> weights, ExecutionPlan plan,
             const std::vector<MetalContext>& devices);

  const Model& model() const override { return *model_; }
  const ExecutionPlan& plan() const override { return plan_; }
  HeadStatistics head_statistics() const override { return {}; }

  const MetalArena& arena() const { return arena_; }
  const std::string& name() const { return name_; }
  const Model* address() const { return model_.get(); }
  const std::shared_ptr<const PlacedWeights>& weights() const { return weights_; }
  // Steps a second of the devices, relative to each other; all 1 if there is one.
  const std::vector<double>& speeds() const { return speeds_; }

  // A pass that works in `arena`, without what it reads and writes beside.
  MetalPass pass(size_t device, const MetalRows& rows, MetalView arena) const;

 private:
  void make_pipelines(size_t device, MetalPipelines& pipelines) const;
  double measure_speed(size_t device, const MetalContext& context) const;

  std::shared_ptr<const Model> model_;
  std::string name_;  // of the model, whether it is still there or not
  std::shared_ptr<const PlacedWeights> weights_;
  ExecutionPlan plan_;
  MetalArena arena_;
  // By device.
  std::vector<bool> has_matrices_;
  std::vector<MetalRopes> ropes_;
  std::vector<double> speeds_;
};

}  // namespace tritium
