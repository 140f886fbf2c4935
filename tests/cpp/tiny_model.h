// Small random models on disk, for tests of everything that needs a whole model.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "model/model.h"

namespace tritium {

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.architecture = "bitnet";
  config.vocab_size = 101;
  config.hidden_size = 48;
  config.intermediate_size = 84;
  config.layers = 2;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 10;  // not hidden_size / heads
  config.context_length = 300;
  config.rms_norm_eps = 1e-5;
  config.rope.theta = 10000;
  return config;
}

// Writes named tensors one after the other into a file of their own and adds them to a source.
class TensorWriter {
 public:
  TensorWriter() {
    static std::atomic<int> count{0};
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + "." + test->name();
    for (char& letter : name) letter = letter == '/' ? '_' : letter;
    path_ = std::filesystem::temp_directory_path() /
            ("tritium_" + name + "_" + std::to_string(std::random_device{}()) + "_" + std::to_string(count++));
  }
  ~TensorWriter() { std::filesystem::remove(path_); }
  TensorWriter(const TensorWriter&) = delete;
  TensorWriter& operator=(const TensorWriter&) = delete;

  void add(const std::string& name, DType dtype, Encoding encoding, Shape shape, const void* data, size_t bytes) {
    tensors_.push_back({name, dtype, encoding, std::move(shape), nullptr, bytes_.size(), bytes});
    const auto* first = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), first, first + bytes);
  }
  void add_floats(const std::string& name, Shape shape, const std::vector<float>& values,
                  Encoding encoding = Encoding::kPlain) {
    add(name, DType::kF32, encoding, std::move(shape), values.data(), values.size() * 4);
  }

  // The file may be removed while it is mapped, but on Windows.
  TensorSource source(FileAccess access = FileAccess::kRead) {
    std::ofstream(path_, std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    const auto file = MappedFile::open(path_, access);
    TensorSource source;
    for (StoredTensor tensor : tensors_) {
      tensor.file = file;
      source.add(std::move(tensor));
    }
    return source;
  }

 private:
  std::filesystem::path path_;
  std::vector<char> bytes_;
  std::vector<StoredTensor> tensors_;
};

// Packs trits (rows, columns) as Hugging Face does.
inline std::vector<uint8_t> pack_stripes(const std::vector<int8_t>& trits, int64_t rows, int64_t columns) {
  const int64_t stripe = (rows + 3) / 4;
  std::vector<uint8_t> packed(static_cast<size_t>(stripe * columns), 0);
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < columns; ++k) {
      const int code = trits[static_cast<size_t>(n * columns + k)] + 1;
      packed[static_cast<size_t>(n % stripe * columns + k)] |= static_cast<uint8_t>(code << (2 * (n / stripe)));
    }
  }
  return packed;
}

enum class WeightForm { kPacked, kMasters };

// Every tensor of a bitnet model with random contents, but those named in `left_out`.
inline TensorSource tiny_source(const ModelConfig& config, WeightForm form, uint32_t seed = 1,
                                const std::vector<std::string>& left_out = {}) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  TensorWriter writer;
  const auto missing = [&](const std::string& name) {
    return std::find(left_out.begin(), left_out.end(), name) != left_out.end();
  };
  const auto floats = [&](const std::string& name, Shape shape, float mean, float deviation,
                          Encoding encoding = Encoding::kPlain) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (float& value : values) value = mean + deviation * normal(random);
    if (!missing(name)) writer.add_floats(name, std::move(shape), values, encoding);
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns, bool bias) {
    if (config.linear_norm_eps) floats(name + ".rms_norm.weight", {columns}, 1, 0.1f);
    if (bias) floats(name + ".bias", {rows}, 0, 1);
    if (form == WeightForm::kMasters) {
      return floats(name + ".weight", {rows, columns}, 0, 1, Encoding::kTernaryMasters);
    }
    std::vector<int8_t> trits(static_cast<size_t>(rows * columns));
    for (int8_t& trit : trits) trit = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
    const std::vector<uint8_t> packed = pack_stripes(trits, rows, columns);
    if (!missing(name + ".weight")) {
      writer.add(name + ".weight", DType::kU8, Encoding::kTernaryStripes, {(rows + 3) / 4, columns}, packed.data(),
                 packed.size());
    }
    floats(name + ".weight_scale", {1}, 0.8f, 0.05f);
  };
  const int64_t q = config.heads * config.head_dim;
  const int64_t kv = config.kv_heads * config.head_dim;
  floats("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}, 0, 1);
  floats("model.norm.weight", {config.hidden_size}, 1, 0.1f);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    floats(prefix + "input_layernorm.weight", {config.hidden_size}, 1, 0.1f);
    floats(prefix + "post_attention_layernorm.weight", {config.hidden_size}, 1, 0.1f);
    if (config.architecture == "bitnet") {
      floats(prefix + "self_attn.attn_sub_norm.weight", {q}, 1, 0.1f);
      floats(prefix + "mlp.ffn_sub_norm.weight", {config.intermediate_size}, 1, 0.1f);
    }
    linear(prefix + "self_attn.q_proj", q, config.hidden_size, config.attention_bias);
    linear(prefix + "self_attn.k_proj", kv, config.hidden_size, config.attention_bias);
    linear(prefix + "self_attn.v_proj", kv, config.hidden_size, config.attention_bias);
    linear(prefix + "self_attn.o_proj", config.hidden_size, q, config.attention_bias);
    linear(prefix + "mlp.gate_proj", config.intermediate_size, config.hidden_size, config.mlp_bias);
    linear(prefix + "mlp.up_proj", config.intermediate_size, config.hidden_size, config.mlp_bias);
    linear(prefix + "mlp.down_proj", config.hidden_size, config.intermediate_size, config.mlp_bias);
  }
  if (!config.tied_head) floats("lm_head.weight", {config.vocab_size, config.hidden_size}, 0, 1);
  return writer.source();
}

inline std::shared_ptr<const Model> tiny_model(WeightForm form = WeightForm::kPacked, uint32_t seed = 1) {
  return Model::create(tiny_config(), tiny_source(tiny_config(), form, seed));
}

inline std::vector<int32_t> random_tokens(size_t count, uint32_t seed = 7) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 101);
  return ids;
}

}  // namespace tritium
