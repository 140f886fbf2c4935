// Small language models on either backend, and a conversation that has everything in it.
#pragma once

#include "both_backends.h"

namespace tritium {

inline constexpr int64_t kVocab = 101;

// As tiny_config, with heads that Metal takes.
inline ModelConfig metal_config() {
  ModelConfig config = tiny_config();
  config.head_dim = 12;
  return config;
}

inline std::shared_ptr<const Model> metal_model(const ModelConfig& config = metal_config()) {
  return Model::create(config, tiny_source(config, WeightForm::kPacked));
}

struct Runner {
  std::unique_ptr<InferenceBackend> backend;
  std::shared_ptr<PreparedModel> prepared;
  std::unique_ptr<KVCache> cache;

  Runner(std::unique_ptr<InferenceBackend> given, std::shared_ptr<const Model> model,
         OptimizationLevel level = OptimizationLevel::kBasic)
      : backend(std::move(given)) {
    prepared = backend->optimize_model(
        std::move(model),
        {.level = level, .max_tokens = 256, .context_size = 300, .max_sequences = 4, .head = HeadFormat::kFull});
    cache = backend->create_cache(*prepared);
  }

  BatchOutput run(std::vector<SequenceInput> sequences) {
    return backend->execute_batch(*prepared, *cache, Batch{std::move(sequences)});
  }
  std::vector<float> logits(SequenceId sequence, const std::vector<int32_t>& token_ids, Want want = Want::kAll) {
    const BatchOutput output = run({{sequence, token_ids, want}});
    const SequenceOutput& result = output.sequences[0];
    return {result.logits, result.logits + result.rows * kVocab};
  }
};

// What a batch gives, as text.
inline std::string described(const BatchOutput& output) {
  std::string text;
  for (const SequenceOutput& each : output.sequences) {
    uint32_t bits = 0;
    std::memcpy(&bits, &each.argmax_logit, sizeof bits);
    text += std::to_string(each.argmax) + " " + std::to_string(bits) + " " + std::to_string(each.rows) + ":";
    for (int64_t i = 0; i < each.rows * kVocab; ++i) {
      std::memcpy(&bits, each.logits + i, sizeof bits);
      text += " " + std::to_string(bits);
    }
    text += "\n";
  }
  return text;
}

// Batches of prompts, chunks and single tokens in every order, forks and truncations, over several pages.
inline std::vector<std::string> conversation(Runner& runner) {
  std::vector<std::string> outputs;
  const auto run = [&](std::vector<SequenceInput> inputs) {
    outputs.push_back(described(runner.run(std::move(inputs))));
  };
  const SequenceId a = runner.cache->create(), b = runner.cache->create(), c = runner.cache->create();
  run({{a, random_tokens(70, 1), Want::kArgmax}, {b, {3}, Want::kLast}, {c, random_tokens(20, 2), Want::kNothing}});
  run({{c, {7}, Want::kArgmax}, {a, random_tokens(100, 3), Want::kAll}, {b, {9}, Want::kArgmax}});
  run({{a, {1}, Want::kLast}, {b, {2}, Want::kNothing}, {c, {4}, Want::kArgmax}});
  const SequenceId d = runner.cache->fork(a);
  run({{d, {8}, Want::kLast}, {a, {8}, Want::kLast}, {b, random_tokens(5, 4), Want::kLast}});
  run({{a, {11}, Want::kArgmax}, {d, {12}, Want::kArgmax}});
  runner.cache->truncate(a, 130);
  run({{a, random_tokens(3, 5), Want::kAll}, {d, {1}, Want::kAll}});
  runner.cache->free(d);
  run({{a, random_tokens(100, 6), Want::kLast}, {b, random_tokens(80, 7), Want::kLast}});
  run({{a, {1}, Want::kArgmax}, {b, {1}, Want::kArgmax}, {c, {1}, Want::kArgmax}});
  return outputs;
}

}  // namespace tritium
