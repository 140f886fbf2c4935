// Models from files compute what the models that were saved compute, and no file breaks the program.
#include <gtest/gtest.h>

#include <random>

#include "engine/engine_builder.h"
#include "error_text.h"
#include "gguf_bytes.h"
#include "model/model_file.h"
#include "temporary_folder.h"
#include "tiny_model.h"
#include "tiny_network.h"
#include "tiny_operators.h"

namespace tritium {
namespace {

std::shared_ptr<InferenceEngine> engine() {
  EngineOptions options;
  options.threads = 1;
  options.memory_limit = size_t{64} << 20;
  options.cache.reset();
  return build_engine(options);
}

std::vector<float> values(const FloatMatrix& matrix) {
  return {matrix.data.get(), matrix.data.get() + matrix.rows * matrix.columns};
}

TEST(SavedModel, ANetworkGivesTheSameBits) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  const auto saved = tiny_network(tensors);
  save_model(*saved, folder / "x.gguf");
  const auto x = random_samples(9, 20);
  for (FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
    const auto loaded = load_model(folder / "x.gguf", access);
    EXPECT_EQ(values(engine()->infer(loaded, x)), values(engine()->infer(saved, x)));
  }
}

TEST(SavedModel, NamesItsCustomOperators) {
  const TemporaryFolder folder;
  const TensorSource source;
  NetworkBuilder builder("outer", {2, 3}, source);
  const NetworkValue x = builder.custom({builder.input()}, squash_operator(), "0");
  const NetworkValue flat = builder.flatten(x);
  const NetworkValue y = builder.custom({flat, builder.flatten(builder.input())}, outer_operator(), "1");
  const auto saved = builder.build(builder.custom({y}, squash_operator(), "2"));
  save_model(*saved, folder / "x.gguf");
  const auto loaded = load_model(folder / "x.gguf");
  EXPECT_EQ(loaded->graph().describe(), saved->graph().describe());
  EXPECT_EQ(loaded->output_shape(), (Shape{6, 6}));
  EngineOptions options;
  options.custom_operators = {squash_operator(), outer_operator()};
  const auto samples = random_samples(9, 6);
  const auto engine = build_engine(options);
  EXPECT_EQ(values(engine->infer(loaded, samples)), values(engine->infer(saved, samples)));
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { tritium::engine()->infer(loaded, samples); }),
                       "the model uses 'squash', which is not registered with this engine; nothing is"));
}

TEST(SavedModel, ALanguageModelGivesTheSameBits) {
  const TemporaryFolder folder;
  for (WeightForm form : {WeightForm::kPacked, WeightForm::kMasters}) {
    for (ScaleDirection direction : {ScaleDirection::kMultiply, ScaleDirection::kDivide}) {
      ModelConfig config = tiny_config();
      config.attention_bias = true;
      config.scale_direction = direction;
      const auto saved = Model::create(config, tiny_source(config, form));
      save_model(*saved, folder / "x.gguf");
      const auto ids = random_tokens(20);
      EXPECT_EQ(values(engine()->infer(load_model(folder / "x.gguf"), ids)), values(engine()->infer(saved, ids)));
    }
  }
}

// Every file is a model that can be run, or a ModelLoadError.
TEST(SavedModel, ChangedBytesAreAnErrorOrAnotherModel) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  save_model(*tiny_network(tensors), folder / "network.gguf");
  save_model(*tiny_model(), folder / "language.gguf", {.files = {{"tokenizer.json", "{}"}}});
  const auto engine = tritium::engine();
  std::mt19937 random(2024);
  int refused = 0, ran = 0;
  for (const char* name : {"network.gguf", "language.gguf"}) {
    const std::string whole = read_bytes(folder / name);
    const size_t header = open_model_file(lend(whole)).model->tensors()[0].offset;
    for (int round = 0; round < 1500; ++round) {
      std::string bytes = whole;
      for (int changes = static_cast<int>(random() % 3); changes >= 0; --changes) {
        const size_t place = random() % (random() % 8 ? header : bytes.size());
        const uint32_t kind = random() % 4;
        if (kind == 0) {
          bytes[place] = static_cast<char>(random());
        } else if (kind == 1) {
          bytes[place] = static_cast<char>(bytes[place] ^ (1 << random() % 8));
        } else {  // a number of 8 bytes that is at an edge
          const uint64_t edges[] = {0, 1, 2, 7, 255, UINT32_MAX, uint64_t{1} << 62, UINT64_MAX};
          std::memcpy(bytes.data() + std::min(place, bytes.size() - 8), &edges[random() % 8], 8);
        }
      }
      try {
        const auto model = open_model_file(lend(bytes)).model;
        if (model->is_language_model()) {
          engine->infer(model, std::vector<int32_t>{0});
        } else if (element_count(model->input_shape()) < 100'000) {
          engine->infer(model, std::vector<float>(static_cast<size_t>(element_count(model->input_shape())), 1));
        }
        ++ran;
      } catch (const TritiumError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(ran, 50);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace tritium
