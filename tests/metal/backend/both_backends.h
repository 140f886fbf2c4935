// What the tests of the Metal backend share: models on the CPU and on fake devices, with the same bits on both.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend/cpu_backend.h"
#include "backend/select_kernels.h"
#include "error_text.h"
#include "fake_metal.h"
#include "metal/metal_backend.h"
#include "tiny_model.h"
#include "tiny_network.h"

namespace tritium {

inline testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " and " << b.size() << " floats";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) == 0) continue;
    return testing::AssertionFailure() << a[i] << " and " << b[i] << " at " << i;
  }
  return testing::AssertionSuccess();
}

// Every test ends with no object left and no fault that it has not taken.
class OnFakeMetal : public testing::Test {
 protected:
  void SetUp() override { use({}); }
  void TearDown() override {
    EXPECT_EQ(fake_metal::take_faults(), std::vector<std::string>());
    EXPECT_EQ(fake_metal::live_objects(), 0u);
  }
  static void use(fake_metal::Settings settings) { fake_metal::configure(std::move(settings)); }
  // Devices one of which has memory of its own.
  static fake_metal::Settings two_devices() {
    fake_metal::Settings settings;
    settings.devices.resize(2);
    settings.devices[1].name = "Fake Radeon";
    settings.devices[1].is_apple = false;
    return settings;
  }
  static fake_metal::Settings one_device(bool is_apple) {
    fake_metal::Settings settings = two_devices();
    settings.devices.erase(settings.devices.begin() + (is_apple ? 1 : 0));
    return settings;
  }
};

inline std::shared_ptr<MemoryPool> unlimited_pool() { return std::make_shared<MemoryPool>(SIZE_MAX); }

inline std::unique_ptr<InferenceBackend> cpu_backend() {
  return std::make_unique<CpuBackend>(1, select_kernel_set(), unlimited_pool());
}
inline std::unique_ptr<InferenceBackend> metal_backend(std::shared_ptr<MemoryPool> pool = unlimited_pool()) {
  return make_metal_backend({}, std::move(pool), {});
}

inline std::vector<float> run_network(InferenceBackend& backend, PreparedModel& network, const std::vector<float>& x) {
  const ExecutionPlan& plan = network.plan();
  const auto samples = static_cast<int64_t>(x.size()) / plan.values[plan.input].width;
  std::vector<float> y(static_cast<size_t>(samples * plan.values[plan.output].width), -77.0f);
  backend.execute_samples(network, x.data(), samples, y.data());
  return y;
}

// The network of a backend for samples of `x`.
inline std::vector<float> run_network(InferenceBackend& backend, const std::shared_ptr<const Model>& model,
                                      const std::vector<float>& x, int64_t max_samples,
                                      OptimizationLevel level = OptimizationLevel::kBasic) {
  const auto prepared = backend.optimize_model(model, {.level = level, .max_tokens = max_samples, .context_size = 1});
  return run_network(backend, *prepared, x);
}

}  // namespace tritium
