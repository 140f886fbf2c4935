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
  EXPECT_EQ(model->dense_weights().back().tensor.name, "lm_head.weight");
}

TEST(Model, NamesAMissingTensor) {
  for (const char* name : {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.ffn_sub_norm.weight",
                           "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.up_proj.weight_scale"}) {
    EXPECT_TRUE(contains(load_error(tiny_config(), tiny_source(tiny_config(), WeightForm::kPacked, 1, {name})),
                         std::string("1 tensors that the model asks for are missing: ") + name));
  }
}

TEST(Model, CountsAndNamesWhatIsMissing) {
  const std::string first = "model.layers.0.input_layernorm.weight";
  const std::string second = "model.layers.0.self_attn.k_proj.weight";
  const std::vector<std::string> names = {first, second, "model.layers.1.mlp.up_proj.weight", "model.norm.weight"};
  EXPECT_TRUE(contains(load_error(tiny_config(), tiny_source(tiny_config(), WeightForm::kMasters, 1, names)),
                       "4 tensors that the model asks for are missing: " + first + ", " + second +
                           ", model.layers.1.mlp.up_proj.weight and 1 more"));
}

TEST(Model, RefusesTensorsThatItHasNoPlaceFor) {
  ModelConfig config = tiny_config();
  const TensorSource source = tiny_source(config, WeightForm::kPacked);
  config.architecture = "llama";
  EXPECT_TRUE(contains(load_error(config, source), "4 of 38 tensors have no place in the model"));
}

TEST(Model, TakesItsBiasesAndItsInnerNorms) {
  ModelConfig config = tiny_config();
  config.architecture = "llama";
  config.attention_bias = config.mlp_bias = true;
  config.linear_norm_eps = 1e-6;
  const auto model = Model::create(config, tiny_source(config, WeightForm::kMasters));
  for (const TernaryWeight& weight : model->ternary_weights()) EXPECT_TRUE(weight.bias.has_value());
  EXPECT_TRUE(contains(model->graph().describe(),
                       "model.layers.0.mlp.up_proj: ternary_linear(model.layers.0.mlp.up_proj.rms_norm)"));
  const auto plain = Model::create(tiny_config(), tiny_source(tiny_config(), WeightForm::kMasters));
  const int64_t biases = 2 * (60 + 20 + 20 + 48 + 84 + 84 + 48);
  const int64_t inner_norms = 2 * (3 * 48 + 60 + 2 * 48 + 84);
  EXPECT_EQ(model->parameter_count(), plain->parameter_count() + biases + inner_norms - 2 * (60 + 84));
}

TEST(Model, KeepsPlainFloatsAsTheyAre) {
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  TensorSource source = tiny_source(tiny_config(), WeightForm::kMasters, 1, {name});
  TensorWriter writer;
  writer.add_floats(name, {60, 48}, std::vector<float>(60 * 48, 0.3f));
  source.add(writer.source().get(name));
  const auto model = Model::create(tiny_config(), source);
  EXPECT_EQ(model->ternary_weights().size(), 13u);
  EXPECT_TRUE(contains(model->graph().describe(), "model.layers.0.self_attn.q_proj: dense_linear("));
}

TEST(RopeConfig, StretchesItsFrequenciesAsLlama3Does) {
  RopeConfig rope;
  rope.theta = 10000;
  const auto plain = rope.frequencies(64);
  EXPECT_EQ(plain[0], 1.0f);
  EXPECT_NEAR(plain[16], 0.01, 1e-9);
  rope.scaling = RopeConfig::Scaling::kLinear;
  rope.factor = 4;
  const auto linear = rope.frequencies(64);
  for (size_t j = 0; j < plain.size(); ++j) EXPECT_EQ(linear[j], plain[j] / 4);
  rope.scaling = RopeConfig::Scaling::kLlama3;
  rope.original_context = 1024;
  const auto llama3 = rope.frequencies(64);
  for (size_t j = 0; j < plain.size(); ++j) {
    const double wavelength = 2 * 3.14159265358979323846 / plain[j];
    if (wavelength < 1024 / 4.0) {
      EXPECT_EQ(llama3[j], plain[j]);
    } else if (wavelength > 1024) {
      EXPECT_EQ(llama3[j], plain[j] / 4);
    } else {
      const double smooth = (1024 / wavelength - 1) / 3;
      EXPECT_NEAR(llama3[j], (1 - smooth) * plain[j] / 4 + smooth * plain[j], 1e-6 * plain[j]);
    }
  }
}

TEST(Model, RefusesShapesThatDoNotFitTheConfiguration) {
  const TensorSource source = tiny_source(tiny_config(), WeightForm::kPacked);
  ModelConfig config = tiny_config();
  config.vocab_size = 102;
  EXPECT_TRUE(contains(load_error(config, source), "has shape [101, 48], the model needs [102, 48]"));
  config = tiny_config();
  config.intermediate_size = 85;
  EXPECT_TRUE(contains(load_error(config, source),
                       "has shape [21, 48], the model needs [22, 48]: 4 rows a byte of the matrix [85, 48]"));
  config = tiny_config();
  config.heads = 4;
  EXPECT_TRUE(contains(load_error(config, source), "has shape [15, 48], the model needs [10, 48]: 4 rows a byte"));
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
  EXPECT_TRUE(contains(load_error(tiny_config(), source), "has shape [2], the model needs [1]"));
}

TEST(Model, RefusesAnUnknownFamily) {
  ModelConfig config = tiny_config();
  config.architecture = "gpt2";
  EXPECT_TRUE(contains(load_error(config, TensorSource()), "unknown architecture 'gpt2'; known are bitnet, llama"));
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
      {"rope_theta", [](ModelConfig& c) { c.rope.theta = -1; }},
      {"rope factor",
       [](ModelConfig& c) {
         c.rope.scaling = RopeConfig::Scaling::kLinear;
         c.rope.factor = 0;
       }},
      {"high_freq_factor must be greater",
       [](ModelConfig& c) {
         c.rope.scaling = RopeConfig::Scaling::kLlama3;
         c.rope.low_freq_factor = 4;
       }},
      {"linear_norm_eps", [](ModelConfig& c) { c.linear_norm_eps = 2; }},
      {"rope_theta", [](ModelConfig& c) { c.rope.theta = INFINITY; }},
  };
  for (const BadField& field : fields) {
    ModelConfig config = tiny_config();
    field.spoil(config);
    EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { config.validate(); }), field.name));
  }
}

TEST(ModelConfig, ListsTheNamesItKnows) {
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { parse_activation("tanh"); }),
                       "'tanh'; known are relu, relu2, silu, gelu"));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { parse_scale_direction("x"); }), "known are multiply, divide"));
}

}  // namespace
}  // namespace tritium
