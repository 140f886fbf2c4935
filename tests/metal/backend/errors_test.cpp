// What goes wrong on Metal is a typed error that says where, and leaves caches as they were.
#include <optional>

#include "language_models.h"
#include "metal/metal_pipelines.h"
#include "tiny_operators.h"

namespace tritium {
namespace {

class MetalErrors : public OnFakeMetal {
 protected:
  // A first device that fails from its n-th command buffer on.
  static fake_metal::Settings failing(int from, int count, MTL::CommandBufferError error) {
    fake_metal::Settings settings;
    settings.devices[0].failing_command_buffer = from;
    settings.devices[0].failing_command_buffers = count;
    settings.devices[0].command_buffer_error = error;
    return settings;
  }
  template <class Error = DeviceError>
  static std::string error_of(Runner& runner, std::vector<SequenceInput> inputs) {
    return error_text<Error>([&] { runner.run(std::move(inputs)); });
  }
};

TEST_F(MetalErrors, WithoutADeviceThereIsNoBackend) {
  fake_metal::Settings settings;
  settings.devices.clear();
  use(settings);
  EXPECT_EQ(metal_missing(), "without a device here");
  EXPECT_TRUE(contains(error_text<DeviceError>([] { metal_backend(); }), "metal is without a device here"));
}

TEST_F(MetalErrors, AFailedPassNamesTheDeviceAndItsKernelAndLeavesTheCacheAsItWas) {
  const auto model = metal_model();
  Runner cpu(cpu_backend(), model);
  use(failing(2, 1, MTL::CommandBufferErrorPageFault));
  Runner metal(metal_backend(), model);
  const SequenceId a = cpu.cache->create(), b = metal.cache->create();
  const auto prompt = random_tokens(40);
  EXPECT_TRUE(same_bits(metal.logits(b, prompt), cpu.logits(a, prompt)));
  const std::string error = error_of(metal, {{b, random_tokens(50), Want::kLast}});
  EXPECT_TRUE(contains(error, "[metal] Fake M1: a pass of 'bitnet', kernel "));
  EXPECT_TRUE(contains(error, "does not run command buffers"));
  EXPECT_EQ(metal.cache->length(b), 40);
  EXPECT_TRUE(same_bits(metal.logits(b, {5, 6}), cpu.logits(a, {5, 6})));
}

TEST_F(MetalErrors, APageThatWasToBeCopiedByAFailedPassIsCopiedByTheNext) {
  const auto model = metal_model();
  Runner cpu(cpu_backend(), model);
  use(failing(2, 1, MTL::CommandBufferErrorTimeout));
  Runner metal(metal_backend(), model);
  std::vector<std::string> outputs[2];
  for (Runner* runner : {&cpu, &metal}) {
    const bool fails = runner == &metal;
    const SequenceId a = runner->cache->create();
    runner->run({{a, random_tokens(40), Want::kNothing}});
    const SequenceId b = runner->cache->fork(a);
    if (fails) {
      EXPECT_TRUE(contains(error_of(metal, {{a, {1}, Want::kLast}}), "a pass of"));
      EXPECT_EQ(metal.cache->length(a), 40);
    }
    runner->cache->free(b);
    const SequenceId c = runner->cache->create();
    outputs[fails].push_back(described(runner->run({{c, random_tokens(60, 3), Want::kLast}})));
    outputs[fails].push_back(described(runner->run({{a, {1}, Want::kLast}, {c, {2}, Want::kLast}})));
  }
  EXPECT_EQ(outputs[1], outputs[0]);
}

TEST_F(MetalErrors, ALostDeviceIsADeviceErrorOfThisAndAllLaterCalls) {
  use(failing(2, INT_MAX, MTL::CommandBufferErrorDeviceRemoved));
  const auto model = metal_model();
  Runner metal(metal_backend(), model);
  const SequenceId a = metal.cache->create();
  metal.run({{a, {1, 2, 3}, Want::kNothing}});
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(contains(error_of(metal, {{a, {4}, Want::kLast}}), "[metal] Fake M1 is lost: a pass of 'bitnet'"));
    EXPECT_EQ(metal.cache->length(a), 3);
  }
  EXPECT_TRUE(
      contains(error_text<DeviceError>([&] { metal.backend->optimize_model(model, {.context_size = 8}); }), "is lost"));
}

TEST_F(MetalErrors, ALostDeviceAmongTwoIsNamedAndTheOtherGoesOn) {
  const auto model = metal_model();
  Runner cpu(cpu_backend(), model);
  fake_metal::Settings settings = two_devices();
  // Uploads and the measurement of speeds come before the passes.
  for (int first_pass = 1;; ++first_pass) {
    settings.devices[1].failing_command_buffer = first_pass + 1;
    use(settings);
    std::optional<Runner> metal;
    if (error_text<DeviceError>([&] { metal.emplace(metal_backend(), model); }) != "no error") continue;
    const SequenceId a = metal->cache->create(), b = metal->cache->create();
    const std::vector<SequenceInput> both = {{a, random_tokens(10), Want::kNothing},
                                             {b, random_tokens(20), Want::kNothing}};
    if (error_of(*metal, both) != "no error") continue;
    EXPECT_TRUE(contains(error_of(*metal, both), "[metal] Fake Radeon is lost: a pass of 'bitnet'"));
    EXPECT_EQ(metal->cache->length(a), 10);
    EXPECT_EQ(metal->cache->length(b), 20);
    const SequenceId c = cpu.cache->create();
    cpu.run({{c, random_tokens(10), Want::kNothing}});
    EXPECT_TRUE(same_bits(metal->logits(a, {1}), cpu.logits(c, {1})));
    return;
  }
}

TEST_F(MetalErrors, ADeviceWithoutMemoryIsAMemoryLimitErrorWithTheLimit) {
  use(failing(1, 1, MTL::CommandBufferErrorOutOfMemory));
  Runner metal(metal_backend(), metal_model());
  const SequenceId a = metal.cache->create();
  const std::string error = error_of<MemoryLimitError>(metal, {{a, {1}, Want::kLast}});
  EXPECT_TRUE(contains(error, "[metal] Fake M1: a pass of 'bitnet'"));
  EXPECT_TRUE(contains(error, " bytes of 4294967296"));
  EXPECT_EQ(metal.cache->length(a), 0);
}

TEST_F(MetalErrors, AModelThatADeviceCannotHoldIsRefusedWithBothNumbers) {
  fake_metal::Settings settings;
  settings.devices[0].memory = 100'000;
  use(settings);
  const std::string error = error_text<MemoryLimitError>([] { Runner(metal_backend(), metal_model()); });
  EXPECT_TRUE(contains(error, "bytes on Fake M1, which holds 100000"));
}

TEST_F(MetalErrors, ABufferThatMayNotBeSoLongIsRefusedWithBothNumbers) {
  fake_metal::Settings settings;
  settings.devices[0].max_buffer_length = 60'000;
  use(settings);
  const std::string error = error_text<MemoryLimitError>([] {
    Runner runner(metal_backend(), metal_model());
    runner.run({{runner.cache->create(), random_tokens(200), Want::kAll}});
  });
  EXPECT_TRUE(contains(error, "a buffer of Fake M1 has at most 60000"));
}

TEST_F(MetalErrors, APoolThatIsTooSmallLeavesTheCacheAsItWas) {
  const auto model = metal_model();
  Runner cpu(cpu_backend(), model);
  const MemoryEstimate estimate = Runner(metal_backend(), model).prepared->plan().memory;
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX, static_cast<size_t>(estimate.arena + estimate.outputs) + 20'000);
  Runner metal(metal_backend(pool), model);
  const SequenceId a = cpu.cache->create(), b = metal.cache->create();
  EXPECT_TRUE(same_bits(metal.logits(b, {1, 2}), cpu.logits(a, {1, 2})));
  EXPECT_TRUE(
      contains(error_of<MemoryLimitError>(metal, {{b, random_tokens(250), Want::kAll}}), "[memory] the outputs"));
  EXPECT_EQ(metal.cache->length(b), 2);
  EXPECT_TRUE(same_bits(metal.logits(b, {3}), cpu.logits(a, {3})));
}

TEST_F(MetalErrors, KernelsThatCannotBeHadAreNamed) {
  const auto optimize = [] { return error_text<DeviceError>([] { Runner(metal_backend(), metal_model()); }); };
  fake_metal::Settings settings;
  settings.compile_error = "program_source:1: error: unknown type name";
  use(settings);
  EXPECT_TRUE(
      contains(optimize(), "kernel embedding_f32 of embedding.metal does not compile on Fake M1: program_source"));
  settings.compile_error = "";
  settings.pipeline_errors["norm_quantize"] = "too many registers";
  use(settings);
  EXPECT_EQ(optimize(), "[metal] kernel norm_quantize on Fake M1: too many registers");
  settings.pipeline_errors.clear();
  settings.max_threads["attend_pages_128"] = 64;
  use(settings);
  EXPECT_EQ(optimize(),
            "[metal] kernel attend_pages_128 on Fake M1: a threadgroup has at most 64 threads, 96 are needed");
}

TEST_F(MetalErrors, AnUnknownKernelIsNamed) {
  MetalPipelines pipelines(metal_devices().at(0));
  EXPECT_EQ(error_text<DeviceError>([&] { pipelines.get("frobnicate", 32); }), "[metal] there is no kernel frobnicate");
}

TEST_F(MetalErrors, ALanguageModelThatTheKernelsDoNotTakeIsRefusedWithBothNumbers) {
  const auto backend = metal_backend();
  const auto refusal = [&](const ModelConfig& config, PlanOptions options = {}) {
    options.context_size = 64;
    return error_text<OptimizationError>([&] { backend->plan(*metal_model(config), options); });
  };
  ModelConfig config = metal_config();
  EXPECT_EQ(refusal(config), "no error");
  EXPECT_TRUE(contains(refusal(config, {.kv_dtype = KVDType::kInt8}), "no kv_dtype 'int8'; there is f16"));
  EXPECT_TRUE(contains(refusal(config, {.head = HeadFormat::kScreened}), "no head 'screened'; there is full"));
  EXPECT_TRUE(contains(refusal(config, {.ternary_format = "1.6bit"}), "no ternary format '1.6bit'; there is 2bit"));
  config.head_dim = 10;
  EXPECT_TRUE(contains(refusal(config), "a head_dim of 10; Metal takes multiples of 4 up to 256"));
  config.head_dim = 260;
  EXPECT_TRUE(contains(refusal(config), "a head_dim of 260; Metal takes multiples of 4 up to 256"));
  config.head_dim = 4;
  config.heads = 33;
  config.kv_heads = 1;
  EXPECT_TRUE(contains(refusal(config), "33 query heads to a KV head; Metal takes at most 32"));
}

TEST_F(MetalErrors, ANetworkThatTheKernelsDoNotTakeIsRefusedWithBothNumbers) {
  MemoryTensors groups, plain;
  groups.trits("a.weight", 30, 20);
  groups.floats("a.weight_scale", {30, 4}, 10);
  NetworkBuilder builder("groups", {20}, groups.source);
  const auto grouped = builder.build(builder.ternary_linear(builder.input(), "a", 30));
  const auto backend = metal_backend();
  const auto refusal = [&](const Model& model, int64_t samples = 4) {
    const PlanOptions options{.max_tokens = samples, .context_size = 1};
    return error_text<OptimizationError>([&] { backend->plan(model, options); });
  };
  EXPECT_TRUE(contains(refusal(*grouped), "groups of 5 columns; Metal takes multiples of 16"));

  plain.bit_linear("a", 1 << 16, 16);
  NetworkBuilder wide("wide", {16}, plain.source);
  const auto many = wide.build(wide.ternary_linear(wide.input(), "a", 1 << 16));
  EXPECT_EQ(refusal(*many, (1 << 16) - 1), "no error");
  EXPECT_TRUE(contains(refusal(*many, 1 << 16), "has 4294967296 elements in a pass; Metal takes at most 4294967295"));
}

TEST_F(MetalErrors, CustomOperatorsRunOnTheCpuAlone) {
  MemoryTensors tensors;
  tensors.bit_linear("a", 16, 16);
  NetworkBuilder builder("custom", {16}, tensors.source);
  const auto model =
      builder.build(builder.custom({builder.ternary_linear(builder.input(), "a", 16)}, squash_operator(), "squashed"));
  const PlanOptions options{.max_tokens = 4, .context_size = 1};
  const auto knows = make_metal_backend({}, unlimited_pool(), CustomOperators({squash_operator()}));
  EXPECT_EQ(error_text<OptimizationError>([&] { knows->plan(*model, options); }),
            "[metal] 'squashed' is the custom operator 'squash', which runs on the CPU alone");
  EXPECT_FALSE(contains(error_text<OptimizationError>([&] { metal_backend()->plan(*model, options); }), "CPU alone"));
}

}  // namespace
}  // namespace tritium
