#include "engine/devices.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "engine/engine_builder.h"
#include "error_text.h"
#include "model/network_builder.h"

namespace tritium {
namespace {

// The CPU under the name of MLX; a call takes `slowness` times as long again, and there may be no softmax.
class OtherBackend final : public InferenceBackend {
 public:
  OtherBackend(std::shared_ptr<MemoryPool> pool, int slowness, bool refuses_softmax = false)
      : cpu_(1, select_kernel_set(), std::move(pool)), slowness_(slowness), refuses_softmax_(refuses_softmax) {}

  DeviceKind device() const override { return DeviceKind::kMlx; }
  int threads() const override { return cpu_.threads(); }
  std::string kernel_set() const override { return cpu_.kernel_set(); }
  ExecutionPlan plan(const Model& model, const PlanOptions& options) const override {
    ExecutionPlan plan = cpu_.plan(model, options);
    for (const Step& step : plan.steps) {
      if (refuses_softmax_ && std::holds_alternative<SoftmaxOp>(step.kind)) {
        throw OptimizationError(concat("[test] no softmax at '", step.name, "'"));
      }
    }
    return plan;
  }
  std::shared_ptr<PreparedModel> optimize_model(std::shared_ptr<const Model> model,
                                                const PlanOptions& options) override {
    plan(*model, options);
    return cpu_.optimize_model(std::move(model), options);
  }
  std::unique_ptr<KVCache> create_cache(const PreparedModel& prepared) override { return cpu_.create_cache(prepared); }
  BatchOutput execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) override {
    return cpu_.execute_batch(prepared, cache, batch);
  }
  void execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) override {
    const auto begin = std::chrono::steady_clock::now();
    cpu_.execute_samples(prepared, x, samples, y);
    std::this_thread::sleep_for(slowness_ * (std::chrono::steady_clock::now() - begin));
  }
  std::vector<ModelMemory> model_memory() const override { return cpu_.model_memory(); }
  void trim() override { cpu_.trim(); }
  DeviceLimits measure_limits(size_t bytes) override { return cpu_.measure_limits(bytes); }
  std::string fastest_ternary_format() override { return cpu_.fastest_ternary_format(); }

 private:
  CpuBackend cpu_;
  int slowness_;
  bool refuses_softmax_;
};

// Puts a provider in the place of MLX's, for the time of a test. There is no Metal here, on a Mac either.
class Devices : public testing::Test {
 protected:
  Devices() {
    unsetenv("TRITIUM_DEVICE");
    register_backend(DeviceKind::kMetal,
                     {[] { return DeviceCandidate{DeviceKind::kMetal, "not in this build", {}, {}}; }, {}});
  }
  ~Devices() override {
    give([] { return DeviceCandidate{DeviceKind::kMlx, "not in this build", {}, {}}; }, {});
    unsetenv("TRITIUM_DEVICE");
  }

  using Look = std::function<DeviceCandidate()>;
  using Create = std::function<std::unique_ptr<InferenceBackend>(std::shared_ptr<MemoryPool>)>;
  static void give(Look look, Create create) {
    register_backend(DeviceKind::kMlx,
                     {std::move(look), [create](const EngineOptions&, std::shared_ptr<MemoryPool> pool) {
                        return create(std::move(pool));
                      }});
  }
  static void give_other(int slowness, bool refuses_softmax = false) {
    give(available, [=](std::shared_ptr<MemoryPool> pool) {
      return std::make_unique<OtherBackend>(std::move(pool), slowness, refuses_softmax);
    });
  }
  static DeviceCandidate available() { return {DeviceKind::kMlx, {}, {}, "a test"}; }
};

std::string refused(std::string_view name, std::optional<bool> gpu = std::nullopt) {
  return error_text<DeviceError>([&] { choose_devices(name, gpu); });
}

DeviceKind device_of(const EngineOptions& options) { return build_engine(options)->device(); }

std::shared_ptr<const Model> softmax_of_four() {
  const TensorSource source;
  NetworkBuilder builder("four", {4}, source);
  return builder.build(builder.softmax(builder.input()));
}

TEST_F(Devices, CandidatesAreRankedAndEachSaysWhyItIsMissing) {
  const auto candidates = device_candidates();
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(candidates[0].kind, DeviceKind::kMlx);
  EXPECT_EQ(candidates[1].kind, DeviceKind::kMetal);
  EXPECT_EQ(candidates[2].kind, DeviceKind::kCpu);
  EXPECT_TRUE(candidates[2].is_automatic());
  for (const DeviceCandidate& candidate : candidates) EXPECT_EQ(candidate.is_available(), candidate.missing.empty());
}

TEST_F(Devices, AutoTakesAllThatAreAvailableBestFirst) {
  EXPECT_EQ(choose_devices("auto", false), std::vector{DeviceKind::kCpu});
  EXPECT_EQ(choose_devices("cpu"), std::vector{DeviceKind::kCpu});
  EXPECT_EQ(choose_devices("cpu", false), std::vector{DeviceKind::kCpu});
  give_other(0);
  EXPECT_EQ(choose_devices("auto").front(), DeviceKind::kMlx);
  EXPECT_EQ(choose_devices("auto").back(), DeviceKind::kCpu);
  EXPECT_EQ(choose_devices("auto", true).front(), DeviceKind::kMlx);
}

TEST_F(Devices, AnImpossibleRequestSaysWhyAndWhatThereIs) {
  EXPECT_EQ(refused("mlx", true), "[device] mlx is not in this build; available: cpu");
  EXPECT_EQ(refused("auto", true), "[device] mlx is not in this build, metal is not in this build; available: cpu");
  EXPECT_EQ(refused("cpu", true), "[device] cpu is no GPU, and one is asked for; available: cpu");
  EXPECT_EQ(refused("metal", false), "[device] metal is a GPU, and GPUs are disabled; available: cpu");
  EXPECT_EQ(refused("tpu"), "[device] unknown device 'tpu'; known are cpu, metal, mlx");
}

TEST_F(Devices, OneThatAutoLeavesAloneCanBeNamed) {
  give([] { return DeviceCandidate{DeviceKind::kMlx, {}, "without a GPU here", {}}; },
       [](std::shared_ptr<MemoryPool> pool) { return std::make_unique<OtherBackend>(std::move(pool), 0); });
  EXPECT_EQ(device_of({}), DeviceKind::kCpu);
  EXPECT_EQ(device_of({.device = "mlx"}), DeviceKind::kMlx);
  EXPECT_EQ(refused("auto", true),
            "[device] mlx is without a GPU here, metal is not in this build; available: mlx, cpu");
}

TEST_F(Devices, AutoDoesNotLookWhereAProviderSaysSo) {
  int looks = 0;
  register_backend(DeviceKind::kMlx, {[&] {
                                        ++looks;
                                        return DeviceCandidate{DeviceKind::kMlx, {}, "without a GPU here", {}};
                                      },
                                      {},
                                      false});
  EXPECT_EQ(choose_devices("auto", false), std::vector{DeviceKind::kCpu});
  EXPECT_EQ(choose_devices("auto").back(), DeviceKind::kCpu);
  EXPECT_EQ(looks, 0);
  EXPECT_EQ(choose_devices("mlx"), std::vector{DeviceKind::kMlx});
  EXPECT_EQ(looks, 1);
}

TEST_F(Devices, AutoPassesOverADeviceThatIsMeasuredToBeSlower) {
  give_other(4);
  EXPECT_EQ(device_of({}), DeviceKind::kCpu);
  EXPECT_EQ(device_of({.device = "mlx"}), DeviceKind::kMlx);
}

TEST_F(Devices, AutoPassesOverADeviceThatFails) {
  give(available, [](const std::shared_ptr<MemoryPool>&) -> std::unique_ptr<InferenceBackend> {
    throw DeviceError("[test] it is gone");
  });
  EXPECT_EQ(device_of({}), DeviceKind::kCpu);
  EXPECT_EQ(error_text<DeviceError>([] { build_engine({.device = "mlx"}); }), "[test] it is gone");
}

TEST_F(Devices, TheEnvironmentDecidesForAutoAlone) {
  give_other(0);
  setenv("TRITIUM_DEVICE", "mlx", 1);
  EXPECT_EQ(device_of({}), DeviceKind::kMlx);
  EXPECT_EQ(device_of({.device = "cpu"}), DeviceKind::kCpu);
  setenv("TRITIUM_DEVICE", "tpu", 1);
  EXPECT_EQ(error_text<DeviceError>([] { build_engine({}); }),
            "[device] unknown device 'tpu'; known are cpu, metal, mlx");
}

TEST_F(Devices, WithoutFallbackWhatADeviceCannotDoIsAnError) {
  give_other(0, true);
  const auto engine = build_engine({.device = "mlx"});
  const float x[] = {1, 2, 3, 4};
  EXPECT_EQ(error_text<OptimizationError>([&] { engine->infer(softmax_of_four(), x); }),
            "[test] no softmax at 'samples.softmax'");
}

TEST_F(Devices, FallbackRunsWhatADeviceCannotOnTheCpuAndSaysSoOnce) {
  give_other(0, true);
  std::vector<std::string> warnings;
  const auto engine = build_engine(
      {.device = "mlx", .fallback = true, .warn = [&](const std::string& message) { warnings.push_back(message); }});
  const float x[] = {1, 2, 3, 4};
  for (int i = 0; i < 2; ++i) {
    const FloatMatrix y = engine->infer(softmax_of_four(), x);
    EXPECT_LT(y.data[0], y.data[3]);
  }
  EXPECT_EQ(warnings,
            std::vector<std::string>{"'four' runs on the CPU, for mlx cannot: [test] no softmax at 'samples.softmax'"});
  EXPECT_EQ(engine->device(), DeviceKind::kMlx);
}

TEST_F(Devices, FallbackTakesTheCpuForADeviceThatIsNotHere) {
  std::vector<std::string> warnings;
  const EngineOptions options{
      .device = "metal", .fallback = true, .warn = [&](const std::string& message) { warnings.push_back(message); }};
  EXPECT_EQ(device_of(options), DeviceKind::kCpu);
  EXPECT_EQ(warnings,
            std::vector<std::string>{"models run on the CPU: [device] metal is not in this build; available: cpu"});
  EXPECT_EQ(error_text<DeviceError>([] { build_engine({.device = "tpu", .fallback = true}); }),
            "[device] unknown device 'tpu'; known are cpu, metal, mlx");
}

}  // namespace
}  // namespace tritium
