// Networks on the Metal backend, against the CPU backend: the same bits.
#include "both_backends.h"

namespace tritium {
namespace {

class MetalNetwork : public OnFakeMetal {};

std::shared_ptr<const Model> one_layer(MemoryTensors& tensors, int64_t inputs, int64_t outputs,
                                       ScaleDirection direction = ScaleDirection::kMultiply) {
  NetworkBuilder builder("layer", {inputs}, tensors.source);
  return builder.build(builder.ternary_linear(builder.input(), "a", outputs, direction));
}

void expect_same_as_cpu(const std::shared_ptr<const Model>& model, const std::vector<int64_t>& sample_counts,
                        int64_t max_samples = 64) {
  const auto cpu = cpu_backend(), metal = metal_backend();
  for (const OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
    const PlanOptions options{.level = level, .max_tokens = max_samples, .context_size = 1};
    const auto on_cpu = cpu->optimize_model(model, options), on_metal = metal->optimize_model(model, options);
    for (const int64_t samples : sample_counts) {
      SCOPED_TRACE(std::to_string(samples) + " samples, level " + std::string(optimization_level_name(level)));
      const auto x = random_samples(samples, element_count(model->input_shape()));
      EXPECT_TRUE(same_bits(run_network(*metal, *on_metal, x), run_network(*cpu, *on_cpu, x)));
    }
  }
}

TEST_F(MetalNetwork, ATernaryLayerGivesTheBitsOfTheCpuForEveryNumberOfSamples) {
  for (const auto& [inputs, outputs] : {std::pair(100, 70), std::pair(16, 16), std::pair(1, 1), std::pair(130, 65)}) {
    SCOPED_TRACE(std::to_string(outputs) + "x" + std::to_string(inputs));
    MemoryTensors tensors;
    tensors.bit_linear("a", outputs, inputs);
    expect_same_as_cpu(one_layer(tensors, inputs, outputs), {1, 2, 3, 4, 16, 17, 40});
  }
}

TEST_F(MetalNetwork, ScalesOfRowsAndGroupsGiveTheBitsOfTheCpuInBothDirections) {
  for (const int64_t groups : {0, 1, 2, 3, 6}) {
    for (const ScaleDirection direction : {ScaleDirection::kMultiply, ScaleDirection::kDivide}) {
      for (const bool has_bias : {false, true}) {
        SCOPED_TRACE(std::to_string(groups) + " groups, " + std::to_string(static_cast<int>(direction)));
        MemoryTensors tensors;
        tensors.trits("a.weight", 21, 96);
        tensors.floats("a.weight_scale", groups > 0 ? Shape{21, groups} : Shape{1}, 10);
        if (has_bias) tensors.floats("a.bias", {21});
        expect_same_as_cpu(one_layer(tensors, 96, 21, direction), {1, 5, 20});
      }
    }
  }
}

TEST_F(MetalNetwork, ActivationsGiveTheBitsOfTheCpuAloneAndInAProduct) {
  for (const ActivationKind kind :
       {ActivationKind::kRelu, ActivationKind::kRelu2, ActivationKind::kSilu, ActivationKind::kGelu}) {
    SCOPED_TRACE(activation_name(kind));
    MemoryTensors tensors;
    tensors.bit_linear("a", 30, 40);
    tensors.bit_linear("b", 40, 30);
    NetworkBuilder builder("activations", {40}, tensors.source);
    NetworkValue y = builder.activation(builder.ternary_linear(builder.input(), "a", 30), kind);
    y = builder.activation(builder.add(builder.ternary_linear(y, "b", 40), builder.input()), kind, "second");
    expect_same_as_cpu(builder.build(builder.activation(y, kind, "third")), {1, 6});
  }
}

// Metal takes groups of 16 columns.
std::shared_ptr<const Model> many_layers(MemoryTensors& tensors) { return tiny_network(tensors, {8, 8}, 48); }

TEST_F(MetalNetwork, EveryKindOfLayerGivesTheBitsOfTheCpu) {
  MemoryTensors tensors;
  const auto model = many_layers(tensors);
  for (const int64_t max_samples : {1, 7, 64}) expect_same_as_cpu(model, {1, 2, 7, 8, 40}, max_samples);
}

TEST_F(MetalNetwork, NormsAndSoftmaxThatAreNotFusedGiveTheBitsOfTheCpu) {
  MemoryTensors tensors;
  tensors.floats("rms.weight", {300}, 1);
  tensors.floats("plain.weight", {300}, 1);
  tensors.floats("dense.weight", {5, 300});
  NetworkBuilder builder("norms", {300}, tensors.source);
  const NetworkValue y =
      builder.softmax(builder.layer_norm(builder.rms_norm(builder.input(), "rms", 1e-6), "plain", 1e-5));
  expect_same_as_cpu(builder.build(builder.dense_linear(y, "dense", 5)), {1, 2, 9});
}

TEST_F(MetalNetwork, TheLastValuesOfAPlanMayBeWrittenByAnyStep) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 20, 20);
  NetworkBuilder builder("sum", {20}, tensors.source);
  expect_same_as_cpu(builder.build(builder.add(builder.ternary_linear(builder.input(), "a", 20), builder.input())),
                     {1, 30});
}

TEST_F(MetalNetwork, ManyPassesOverlapAndGiveTheBitsOfTheCpuOnEveryKindOfDevice) {
  MemoryTensors tensors;
  const auto model = many_layers(tensors);
  const auto x = random_samples(61, 64);
  const auto expected = run_network(*cpu_backend(), model, x, 64);
  for (const bool is_apple : {true, false}) {
    use(one_device(is_apple));
    EXPECT_TRUE(same_bits(run_network(*metal_backend(), model, x, 5), expected)) << is_apple;
  }
}

TEST_F(MetalNetwork, SeveralDevicesShareTheSamplesAndGiveTheBitsOfTheCpu) {
  MemoryTensors tensors;
  const auto model = many_layers(tensors);
  fake_metal::Settings settings = two_devices();
  settings.devices[1].threads_per_second = settings.devices[0].threads_per_second / 3;
  use(settings);
  expect_same_as_cpu(model, {1, 2, 3, 40}, 8);
}

}  // namespace
}  // namespace tritium
