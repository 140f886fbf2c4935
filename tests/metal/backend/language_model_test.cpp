// Language models on the Metal backend, against the CPU backend: the same bits.
#include "language_models.h"

namespace tritium {
namespace {

class MetalLanguageModel : public OnFakeMetal {};

TEST_F(MetalLanguageModel, OneTokenGivesTheBitsOfTheCpu) {
  const auto model = metal_model();
  Runner cpu(cpu_backend(), model), metal(metal_backend(), model);
  EXPECT_TRUE(same_bits(metal.logits(metal.cache->create(), {5}), cpu.logits(cpu.cache->create(), {5})));
}

TEST_F(MetalLanguageModel, APromptAndItsAnswerGiveTheBitsOfTheCpuAtEveryLevel) {
  const auto model = metal_model();
  for (const OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
    Runner cpu(cpu_backend(), model, level), metal(metal_backend(), model, level);
    const SequenceId a = cpu.cache->create(), b = metal.cache->create();
    const auto prompt = random_tokens(150);
    EXPECT_TRUE(same_bits(metal.logits(b, prompt), cpu.logits(a, prompt)));
    for (const int32_t token : random_tokens(3, 9)) {
      EXPECT_TRUE(same_bits(metal.logits(b, {token}), cpu.logits(a, {token})));
    }
  }
}

void expect_same_conversation(const ModelConfig& config) {
  const auto model = metal_model(config);
  Runner cpu(cpu_backend(), model), metal(metal_backend(), model);
  EXPECT_EQ(conversation(metal), conversation(cpu));
}

TEST_F(MetalLanguageModel, BatchesChunksForksAndTruncationsGiveTheBitsOfTheCpu) {
  expect_same_conversation(metal_config());
}

TEST_F(MetalLanguageModel, EveryShapeOfHeadsGivesTheBitsOfTheCpu) {
  for (const auto& [heads, kv_heads, head_dim] : {std::tuple(4, 4, 8), std::tuple(32, 1, 4), std::tuple(2, 1, 132)}) {
    SCOPED_TRACE(std::to_string(heads) + " heads of " + std::to_string(head_dim));
    ModelConfig config = metal_config();
    config.heads = heads;
    config.kv_heads = kv_heads;
    config.head_dim = head_dim;
    config.layers = 1;
    expect_same_conversation(config);
  }
}

TEST_F(MetalLanguageModel, BiasesNormsInLayersAndAHeadOfItsOwnGiveTheBitsOfTheCpu) {
  ModelConfig config = metal_config();
  config.attention_bias = config.mlp_bias = true;
  config.tied_head = false;
  expect_same_conversation(config);
  config.architecture = "llama";
  config.linear_norm_eps = 1e-6;
  config.activation = ActivationKind::kSilu;
  expect_same_conversation(config);
}

TEST_F(MetalLanguageModel, ADeviceWithMemoryOfItsOwnGivesTheBitsOfTheCpu) {
  use(one_device(false));
  expect_same_conversation(metal_config());
}

TEST_F(MetalLanguageModel, SequencesOnTwoDevicesGiveTheBitsOfTheCpu) {
  use(two_devices());
  expect_same_conversation(metal_config());
}

}  // namespace
}  // namespace tritium
