#include "model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "error_text.h"
#include "tiny_model.h"

namespace tritium {
namespace {

std::string load_error(const ModelConfig& config, const TensorSource& source) {
  return error_text<ModelLoadError>([&] { Model::create(config, source); });
}

TEST(Model, CountsItsParameters) {
  const auto model = tiny_model();
  const int64_t linears = 60 * 48 + 2 * 20 * 48 + 48 * 60 + 2 * 84 * 48 + 48 * 84;
  EXPECT_EQ(model->ternary_parameter_count(), 2 * linears);
  EXPECT_EQ(model->parameter_count(), 2 * (linears + 48 + 48 + 60 + 84) + 101 * 48 + 48);
  EXPECT_FALSE(model->has_masters());
  EXPECT_TRUE(tiny_model(WeightForm::kMasters)->has_masters());
}

TEST(Model, DescribesItsGraph) {
  const std::string text = tiny_model()->graph().describe();
  EXPECT_TRUE(contains(text, "model.embed_tokens: embedding(token_ids) -> model.embed_tokens [tokens, 48]\n"));
  EXPECT_TRUE(contains(text,
                       "model.layers.1.mlp.down_proj: ternary_linear(model.layers.1.mlp.ffn_sub_norm) -> "
                       "model.layers.1.mlp.down_proj [tokens, 48]\n"));
  EXPECT_TRUE(contains(text, "dense_linear(model.norm) -> model.embed_tokens.output [outputs, 101]\n"));
}

TEST(Model, UsesItsOwnHeadIfItIsNotTied) {
  ModelConfig config = tiny_config();
  config.tied_head = false;
  const auto model = Model::create(config, tiny_source(config, WeightForm::kPacked));
  EXPECT_EQ(model->dense_weights().back().name, "lm_head.weight");
}

TEST(Model, NamesAMissingTensor) {
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.ffn_sub_norm.weight",
                           "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight_scale"}) {
    EXPECT_TRUE(contains(load_error(tiny_config(), tiny_source(tiny_config(), WeightForm::kPacked, 1, {name})),
                         std::string(name) + " is missing"));
  }
}

TEST(Model, RefusesShapesThatDoNotFitTheConfiguration) {
  const TensorSource source = tiny_source(tiny_config(), WeightForm::kPacked);
  ModelConfig config = tiny_config();
  config.vocab_size = 102;
  EXPECT_TRUE(contains(load_error(config, source), "has shape [101, 48], the configuration needs [102, 48]"));
  config = tiny_config();
  config.intermediate_size = 85;
  EXPECT_TRUE(
      contains(load_error(config, source), "gate_proj.weight has shape [84, 48], the configuration needs [85, 48]"));
  config = tiny_config();
  config.heads = 4;
  EXPECT_TRUE(
      contains(load_error(config, source), "q_proj.weight has shape [60, 48], the configuration needs [40, 48]"));
}

TEST(Model, RefusesAScaleThatIsNotAPositiveNumber) {
  for (float scale : {0.0f, -1.0f, NAN, INFINITY}) {
    const std::string name = "model.layers.0.self_attn.q_proj.weight_scale";
    TensorSource source = tiny_source(tiny_config(), WeightForm::kPacked, 1, {name});
    TensorWriter writer;
    writer.add_floats(name, {1}, {scale});
    source.add(writer.source().get(name));
    EXPECT_TRUE(contains(load_error(tiny_config(), source), "must be a finite scale > 0"));
  }
}

TEST(Model, RefusesMoreThanOneScale) {
  const std::string name = "model.layers.0.self_attn.q_proj.weight_scale";
  TensorSource source = tiny_source(tiny_config(), WeightForm::kPacked, 1, {name});
  TensorWriter writer;
  writer.add_floats(name, {2}, {1, 1});
  source.add(writer.source().get(name));
  EXPECT_TRUE(contains(load_error(tiny_config(), source), "must hold 1 scale, got shape [2]"));
}

TEST(Model, RefusesAnUnknownFamily) {
  ModelConfig config = tiny_config();
  config.architecture = "gpt2";
  EXPECT_TRUE(contains(load_error(config, TensorSource()), "unknown architecture 'gpt2'; known are bitnet"));
}

struct BadField {
  std::string name;
  std::function<void(ModelConfig&)> spoil;
};

TEST(ModelConfig, RefusesNonsenseAndNamesTheField) {
  const std::vector<BadField> fields = {
      {"vocab_size", [](ModelConfig& c) { c.vocab_size = 0; }},
      {"hidden_size", [](ModelConfig& c) { c.hidden_size = -1; }},
      {"intermediate_size", [](ModelConfig& c) { c.intermediate_size = int64_t{1} << 40; }},
      {"layers", [](ModelConfig& c) { c.layers = 0; }},
      {"heads", [](ModelConfig& c) { c.heads = 0; }},
      {"kv_heads", [](ModelConfig& c) { c.kv_heads = 0; }},
      {"6 heads cannot share 4 kv_heads", [](ModelConfig& c) { c.kv_heads = 4; }},
      {"head_dim", [](ModelConfig& c) { c.head_dim = 7; }},
      {"heads * head_dim", [](ModelConfig& c) { c.heads = c.kv_heads = c.head_dim = 1 << 15; }},
      {"context_length", [](ModelConfig& c) { c.context_length = 0; }},
      {"rms_norm_eps", [](ModelConfig& c) { c.rms_norm_eps = 0; }},
      {"rms_norm_eps", [](ModelConfig& c) { c.rms_norm_eps = NAN; }},
      {"rope_theta", [](ModelConfig& c) { c.rope_theta = -1; }},
      {"rope_theta", [](ModelConfig& c) { c.rope_theta = INFINITY; }},
  };
  for (const BadField& field : fields) {
    ModelConfig config = tiny_config();
    field.spoil(config);
    EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { config.validate(); }), field.name));
  }
}

TEST(ModelConfig, ListsTheNamesItKnows) {
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { parse_activation("gelu"); }), "'gelu'; known are relu2, silu"));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { parse_scale_direction("x"); }), "known are multiply, divide"));
}

}  // namespace
}  // namespace tritium
