#include "backend/cpu_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "error_text.h"
#include "kernels/dispatch.h"
#include "tiny_model.h"

namespace tritium {
namespace {

constexpr int64_t kVocab = 101;
constexpr KVDType kKVDTypes[] = {KVDType::kF16, KVDType::kInt8};

// A backend with one model and its cache.
struct Runner {
  std::shared_ptr<MemoryPool> pool;
  CpuBackend backend;
  std::shared_ptr<PreparedModel> prepared;
  std::unique_ptr<KVCache> cache;

  explicit Runner(std::shared_ptr<const Model> model, int threads = 1,
                  const kernels::KernelSet& kernels = kernels::best_kernel_set(),
                  OptimizationLevel level = OptimizationLevel::kBasic, size_t limit = SIZE_MAX,
                  KVDType kv_dtype = KVDType::kF16, const std::string& ternary_format = "2bit")
      : pool(std::make_shared<MemoryPool>(limit)), backend(threads, kernels, pool) {
    prepared = backend.optimize_model(std::move(model), {.level = level,
                                                         .max_tokens = 256,
                                                         .context_size = 300,
                                                         .max_sequences = 4,
                                                         .kv_dtype = kv_dtype,
                                                         .ternary_format = ternary_format});
    cache = backend.create_cache(*prepared);
  }

  BatchOutput run(std::vector<SequenceInput> sequences) {
    return backend.execute_batch(*prepared, *cache, Batch{std::move(sequences)});
  }

  Runner(KVDType kv_dtype, int threads, const kernels::KernelSet& kernels = kernels::best_kernel_set(),
         OptimizationLevel level = OptimizationLevel::kBasic)
      : Runner(tiny_model(), threads, kernels, level, SIZE_MAX, kv_dtype) {}

  std::vector<float> logits(SequenceId sequence, const std::vector<int32_t>& token_ids, Want want = Want::kAll) {
    const BatchOutput output = run({{sequence, token_ids, want}});
    const SequenceOutput& result = output.sequences[0];
    return {result.logits, result.logits + result.rows * kVocab};
  }
};

std::vector<std::string> formats_of(const kernels::KernelSet& set) {
  std::vector<std::string> names;
  for (const kernels::TernaryFormat& format : set.ternary) {
    if (format.layout.name) names.emplace_back(format.layout.name);
  }
  return names;
}

TEST(CpuBackend, GivesTheSameBitsForEveryKernelSetAndTernaryFormat) {
  const auto tokens = random_tokens(150);
  for (WeightForm form : {WeightForm::kPacked, WeightForm::kMasters}) {
    Runner scalar(tiny_model(form), 1, *kernels::find_kernel_set("scalar"));
    const auto expected = scalar.logits(scalar.cache->create(), tokens);
    for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
      if (!kernels::is_supported(**set)) continue;
      for (const std::string& format : formats_of(**set)) {
        Runner runner(tiny_model(form), 1, **set, OptimizationLevel::kBasic, SIZE_MAX, KVDType::kF16, format);
        EXPECT_EQ(runner.logits(runner.cache->create(), tokens), expected) << (*set)->name << ", " << format;
      }
    }
  }
}

TEST(CpuBackend, GivesTheSameBitsForEveryKernelSetAndKVDType) {
  const auto tokens = random_tokens(150);
  for (KVDType dtype : kKVDTypes) {
    Runner scalar(dtype, 1, *kernels::find_kernel_set("scalar"));
    const auto expected = scalar.logits(scalar.cache->create(), tokens);
    for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
      if (!kernels::is_supported(**set)) continue;
      Runner runner(dtype, 1, **set);
      EXPECT_EQ(runner.logits(runner.cache->create(), tokens), expected) << (*set)->name;
    }
  }
}

TEST(CpuBackend, CountsTheSmallCopyOfAHeadAndPacksItOnce) {
  const auto model = tiny_model();
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  CpuBackend backend(1, kernels::best_kernel_set(), pool);
  const PlanOptions full{.max_tokens = 16, .context_size = 300, .head = HeadFormat::kFull};
  PlanOptions screened = full;
  screened.head = HeadFormat::kScreened;
  const int64_t copy = 7 * (64 + 16 * 64 + 16 * 4);  // panels of 16 rows, one group of columns
  const ExecutionPlan plan = backend.plan(*model, screened);
  EXPECT_EQ(plan.memory.weights, backend.plan(*model, full).memory.weights + copy);
  EXPECT_EQ(plan.weight_bytes_per_token, backend.plan(*model, full).weight_bytes_per_token + copy - 101 * 48 * 4);
  const auto first = backend.optimize_model(model, full);
  const size_t before = pool->stats().active;
  const auto second = backend.optimize_model(model, screened);
  EXPECT_EQ(pool->stats().active, before + static_cast<size_t>(copy));
  const auto third = backend.optimize_model(model, screened);
  EXPECT_EQ(pool->stats().active, before + static_cast<size_t>(copy));
}

TEST(CpuBackend, GivesTheSameBitsForEveryThreadCount) {
  const auto tokens = random_tokens(150);
  for (KVDType dtype : kKVDTypes) {
    Runner one(dtype, 1);
    const auto expected = one.logits(one.cache->create(), tokens);
    for (int threads : {2, 3, 7}) {
      Runner runner(dtype, threads);
      EXPECT_EQ(runner.logits(runner.cache->create(), tokens), expected) << threads << " threads";
    }
  }
}

// Threads share out the pages of a single token, the two heads of the tiny model among them, at every point.
TEST(CpuBackend, DecodesTheSameBitsForEveryThreadCount) {
  const auto tokens = random_tokens(300);
  for (KVDType dtype : kKVDTypes) {
    std::vector<float> expected;
    for (int threads : {1, 2, 3, 4, 5, 9, 16}) {
      Runner runner(dtype, threads);
      const SequenceId a = runner.cache->create(), b = runner.cache->create();
      runner.logits(a, {tokens.begin(), tokens.begin() + 250});
      runner.logits(b, {tokens.begin(), tokens.begin() + 60});
      std::vector<float> all;
      for (size_t i = 250; i < 300; ++i) {
        const BatchOutput output = runner.run({{a, {tokens[i]}, Want::kLast}, {b, {tokens[i - 190]}, Want::kLast}});
        all.insert(all.end(), output.sequences[0].logits, output.sequences[0].logits + 2 * kVocab);
      }
      if (threads == 1) expected = all;
      EXPECT_EQ(all, expected) << threads << " threads";
    }
  }
}

TEST(CpuBackend, KVDTypesDifferALittle) {
  const auto tokens = random_tokens(150);
  Runner f16(KVDType::kF16, 1), int8(KVDType::kInt8, 1);
  const auto a = f16.logits(f16.cache->create(), tokens), b = int8.logits(int8.cache->create(), tokens);
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += a[i] * a[i];
  }
  EXPECT_GT(difference, 0);
  EXPECT_LT(std::sqrt(difference / size), 0.2);  // a code that falls to the other side changes all that follow
}

TEST(CpuBackend, RefusesHeadsThatInt8CannotHold) {
  ModelConfig config = tiny_config();
  config.heads = config.kv_heads = 1;
  config.head_dim = 514;
  const auto model = Model::create(config, tiny_source(config, WeightForm::kPacked));
  CpuBackend backend(1, kernels::best_kernel_set(), std::make_shared<MemoryPool>(SIZE_MAX));
  PlanOptions options{OptimizationLevel::kBasic, 1, 1, 1, KVDType::kInt8};
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { backend.plan(*model, options); }),
                       "kv_dtype int8 takes a head_dim of at most 512, the model has 514"));
  options.kv_dtype = KVDType::kF16;
  backend.plan(*model, options);
}

TEST(CpuBackend, GivesTheSameBitsForEveryOptimizationLevelWhateverTheFormat) {
  const auto tokens = random_tokens(70);
  const kernels::KernelSet& set = kernels::best_kernel_set();
  Runner none(tiny_model(), 1, set, OptimizationLevel::kNone);
  const auto expected = none.logits(none.cache->create(), tokens);
  for (OptimizationLevel level : {OptimizationLevel::kBasic, OptimizationLevel::kAggressive}) {
    for (const std::string& format : formats_of(set)) {
      for (int threads : {1, 3}) {
        Runner runner(tiny_model(), threads, set, level, SIZE_MAX, KVDType::kF16, format);
        EXPECT_EQ(runner.logits(runner.cache->create(), tokens), expected)
            << optimization_level_name(level) << ", " << format << ", " << threads << " threads";
      }
    }
  }
}

TEST(CpuBackend, CountsTheBytesOfTheTernaryFormat) {
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  CpuBackend backend(1, *kernels::find_kernel_set("scalar"), pool);
  const auto model = tiny_model();
  const ExecutionPlan two = backend.plan(*model, {.max_tokens = 16, .context_size = 300});
  const ExecutionPlan less = backend.plan(*model, {.max_tokens = 16, .context_size = 300, .ternary_format = "1.6bit"});
  EXPECT_LT(less.memory.weights, two.memory.weights);
  EXPECT_EQ(two.memory.weights - less.memory.weights, two.weight_bytes_per_token - less.weight_bytes_per_token);
  EXPECT_TRUE(contains(less.describe(), "ternary weights: 1.6bit\n"));
  auto prepared = backend.optimize_model(model, two.options);
  const size_t bytes = pool->active(kWeightsMemory);
  auto other = backend.optimize_model(model, less.options);
  EXPECT_EQ(2 * bytes - pool->active(kWeightsMemory), static_cast<size_t>(two.memory.weights - less.memory.weights));
}

TEST(CpuBackend, RefusesATernaryFormatThatTheKernelSetLacks) {
  CpuBackend backend(1, kernels::best_kernel_set(), std::make_shared<MemoryPool>(SIZE_MAX));
  const std::string text = error_text<OptimizationError>(
      [&] { backend.plan(*tiny_model(), {.max_tokens = 16, .context_size = 300, .ternary_format = "3bit"}); });
  EXPECT_TRUE(contains(text, std::string(backend.kernel_set()) + " has no ternary format '3bit'; it has 2bit")) << text;
}

TEST(CpuBackend, FindsTheFastestFormatAmongThoseOfItsKernelSet) {
  for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
    if (!kernels::is_supported(**set)) continue;
    const auto formats = formats_of(**set);
    auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
    const std::string fastest = CpuBackend(2, **set, pool).fastest_ternary_format();
    EXPECT_NE(std::find(formats.begin(), formats.end(), fastest), formats.end()) << (*set)->name << ", " << fastest;
    EXPECT_EQ(pool->stats().active, 0u);
    EXPECT_EQ(CpuBackend(1, **set, std::make_shared<MemoryPool>(1000)).fastest_ternary_format(), formats.back());
  }
}

TEST(CpuBackend, GivesTheSameBitsForEveryChunkingOfThePrompt) {
  for (KVDType dtype : kKVDTypes) {
    const auto tokens = random_tokens(200);
    Runner runner(dtype, 2);
    const auto expected = runner.logits(runner.cache->create(), tokens);
    for (size_t chunk : {1, 2, 3, 17, 64, 65, 128}) {
      const SequenceId id = runner.cache->create();
      std::vector<float> all;
      for (size_t first = 0; first < tokens.size(); first += chunk) {
        const size_t last = std::min(first + chunk, tokens.size());
        const auto part = runner.logits(id, {tokens.begin() + static_cast<std::ptrdiff_t>(first),
                                             tokens.begin() + static_cast<std::ptrdiff_t>(last)});
        all.insert(all.end(), part.begin(), part.end());
      }
      EXPECT_EQ(all, expected) << "chunks of " << chunk;
      runner.cache->free(id);
    }
  }
}

TEST(CpuBackend, GivesTheSameBitsAloneAndInABatch) {
  for (KVDType dtype : kKVDTypes) {
    Runner runner(dtype, 2);
    const std::vector<std::vector<int32_t>> prompts = {random_tokens(1, 1), random_tokens(70, 2), random_tokens(33, 3)};
    std::vector<SequenceInput> together;
    for (const auto& prompt : prompts) together.push_back({runner.cache->create(), prompt, Want::kLast});
    const BatchOutput output = runner.run(together);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto alone = runner.logits(runner.cache->create(), prompts[i], Want::kLast);
      const SequenceOutput& batched = output.sequences[i];
      EXPECT_EQ(std::vector<float>(batched.logits, batched.logits + kVocab), alone);
    }
  }
}

TEST(CpuBackend, GivesEachSequenceWhatItWants) {
  Runner runner(tiny_model());
  const auto tokens = random_tokens(9);
  const auto all = runner.logits(runner.cache->create(), tokens);
  const std::vector<float> last(all.end() - kVocab, all.end());
  const BatchOutput output = runner.run({{runner.cache->create(), tokens, Want::kNothing},
                                         {runner.cache->create(), tokens, Want::kArgmax},
                                         {runner.cache->create(), tokens, Want::kLast},
                                         {runner.cache->create(), tokens, Want::kAll}});
  EXPECT_EQ(output.sequences[0].logits, nullptr);
  EXPECT_EQ(output.sequences[0].argmax, -1);
  EXPECT_EQ(output.sequences[1].argmax, std::max_element(last.begin(), last.end()) - last.begin());
  EXPECT_EQ(output.sequences[1].argmax_logit, *std::max_element(last.begin(), last.end()));
  EXPECT_EQ(std::vector<float>(output.sequences[2].logits, output.sequences[2].logits + kVocab), last);
  EXPECT_EQ(output.sequences[3].rows, 9);
  EXPECT_EQ(std::vector<float>(output.sequences[3].logits, output.sequences[3].logits + 9 * kVocab), all);
}

TEST(CpuBackend, AForkedSequenceGoesOnAsIfItHadBeenFedItself) {
  for (KVDType dtype : kKVDTypes) {
    Runner runner(dtype, 1);
    const auto tokens = random_tokens(100);
    const std::vector<int32_t> head(tokens.begin(), tokens.begin() + 70);
    const std::vector<int32_t> tail(tokens.begin() + 70, tokens.end());
    const SequenceId a = runner.cache->create();
    runner.logits(a, head);
    const SequenceId b = runner.cache->fork(a);
    const auto other = runner.logits(a, random_tokens(20, 99));
    const auto expected = runner.logits(runner.cache->create(), tokens);
    EXPECT_EQ(runner.logits(b, tail), std::vector<float>(expected.begin() + 70 * kVocab, expected.end()));
  }
}

TEST(CpuBackend, ATruncatedSequenceGoesOnAsIfTheRestHadNeverBeenFed) {
  for (KVDType dtype : kKVDTypes) {
    Runner runner(dtype, 1);
    const auto tokens = random_tokens(100);
    const auto expected = runner.logits(runner.cache->create(), tokens);
    const SequenceId id = runner.cache->create();
    runner.logits(id, std::vector<int32_t>(tokens.begin(), tokens.begin() + 66));
    runner.logits(id, random_tokens(64, 99));
    runner.cache->truncate(id, 66);
    EXPECT_EQ(runner.logits(id, {tokens.begin() + 66, tokens.end()}),
              std::vector<float>(expected.begin() + 66 * kVocab, expected.end()));
  }
}

TEST(CpuBackend, ScaleDirectionsAgreeWhereTheScaleIsAPowerOfTwo) {
  std::vector<std::string> scales;
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      scales.push_back("model.layers." + std::to_string(layer) + "." + name + ".weight_scale");
    }
  }
  const auto model = [&](ScaleDirection direction, float scale) {
    ModelConfig config = tiny_config();
    config.scale_direction = direction;
    TensorSource source = tiny_source(config, WeightForm::kPacked, 1, scales);
    TensorWriter writer;
    for (const std::string& name : scales) writer.add_floats(name, {1}, {scale});
    const TensorSource written = writer.source();
    for (const std::string& name : scales) source.add(written.get(name));
    return Model::create(config, source);
  };
  const auto tokens = random_tokens(20);
  Runner multiply(model(ScaleDirection::kMultiply, 0.5f));
  Runner divide(model(ScaleDirection::kDivide, 2.0f));
  Runner wrong(model(ScaleDirection::kDivide, 0.5f));
  const auto expected = multiply.logits(multiply.cache->create(), tokens);
  // Halving is exact, so even the bits agree.
  EXPECT_EQ(divide.logits(divide.cache->create(), tokens), expected);
  EXPECT_NE(wrong.logits(wrong.cache->create(), tokens), expected);
}

TEST(CpuBackend, GivesTheSameBitsWithBiasesAndInnerNormsAtEveryLevelAndThreadCount) {
  ModelConfig config = tiny_config();
  config.architecture = "llama";
  config.activation = ActivationKind::kSilu;
  config.attention_bias = config.mlp_bias = true;
  config.linear_norm_eps = 1e-6;
  config.tied_head = false;
  const auto tokens = random_tokens(70);
  for (WeightForm form : {WeightForm::kPacked, WeightForm::kMasters}) {
    const auto model = Model::create(config, tiny_source(config, form));
    Runner none(model, 1, kernels::best_kernel_set(), OptimizationLevel::kNone);
    Runner basic(model, 3, kernels::best_kernel_set(), OptimizationLevel::kBasic);
    Runner scalar(model, 1, *kernels::find_kernel_set("scalar"));
    const auto expected = none.logits(none.cache->create(), tokens);
    EXPECT_EQ(basic.logits(basic.cache->create(), tokens), expected);
    EXPECT_EQ(scalar.logits(scalar.cache->create(), tokens), expected);
  }
}

TEST(CpuBackend, RefusesWhatDoesNotFitAndChangesNothing) {
  Runner runner(tiny_model());
  const SequenceId id = runner.cache->create();
  const SequenceId other = runner.cache->create();
  const auto refused = [&](std::vector<SequenceInput> sequences) {
    const std::string text = error_text<BatchProcessingError>([&] { runner.run(std::move(sequences)); });
    EXPECT_EQ(runner.cache->length(id), 0);
    EXPECT_EQ(runner.cache->length(other), 0);
    return text;
  };
  EXPECT_TRUE(contains(refused({{other, {1}}, {id, {1, 101}}}), "token id 101 at place 1 lies outside [0, 101)"));
  EXPECT_TRUE(contains(refused({{other, {1}}, {id, {-1}}}), "token id -1"));
  EXPECT_TRUE(contains(refused({{other, {1}}, {id, {}}}), "has 0 tokens"));
  EXPECT_TRUE(contains(refused({{id, {1}}, {id, {2}}}), "appears twice"));
  EXPECT_TRUE(contains(refused({{other, {1}}, {99, {2}}}), "sequence 99 is not open"));
  EXPECT_TRUE(contains(refused({{id, std::vector<int32_t>(301, 1)}}), "would have 301 tokens, the context holds 300"));
  EXPECT_TRUE(contains(refused({{id, std::vector<int32_t>(200, 1)}, {other, std::vector<int32_t>(100, 1)}}),
                       "300 tokens in one pass, the plan holds 256"));
}

TEST(CpuBackend, ChecksTheMemoryEstimateBeforeItAllocates) {
  auto pool = std::make_shared<MemoryPool>(100000);
  CpuBackend backend(1, kernels::best_kernel_set(), pool);
  const auto model = tiny_model();
  const ExecutionPlan plan = backend.plan(*model, {OptimizationLevel::kBasic, 256, 300, 4});
  const std::string text = error_text<MemoryLimitError>([&] { backend.optimize_model(model, plan.options); });
  EXPECT_TRUE(contains(text, "'bitnet' needs " + std::to_string(plan.estimated_memory()) + " bytes"));
  EXPECT_TRUE(contains(text, "100000 of 100000 are free"));
  EXPECT_EQ(pool->stats().peak, 0u);
}

TEST(CpuBackend, StaysWithinTheEstimate) {
  Runner probe(tiny_model(), 2);
  const size_t estimate = static_cast<size_t>(probe.prepared->plan().estimated_memory());
  // Buffers are cache lines; four sequences fill their contexts within the estimate and a line for each buffer.
  Runner runner(tiny_model(), 2, kernels::best_kernel_set(), OptimizationLevel::kBasic, estimate + 100 * 64);
  std::vector<SequenceId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(runner.cache->create());
  for (int i = 0; i < 5; ++i) {
    for (SequenceId id : ids) runner.run({{id, random_tokens(60), Want::kLast}});
  }
  EXPECT_LE(runner.pool->stats().peak, estimate + 100 * 64);
}

TEST(CpuBackend, PacksAModelOnceAndForgetsItAfterItsLastUse) {
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  CpuBackend backend(1, kernels::best_kernel_set(), pool);
  const auto model = tiny_model();
  auto first = backend.optimize_model(model, {OptimizationLevel::kBasic, 16, 300, 1});
  const size_t bytes = pool->active(kWeightsMemory);
  EXPECT_GT(bytes, 0u);
  auto second = backend.optimize_model(model, {OptimizationLevel::kBasic, 32, 200, 2});
  EXPECT_EQ(pool->active(kWeightsMemory), bytes);
  first.reset();
  EXPECT_EQ(pool->active(kWeightsMemory), bytes);
  second.reset();
  EXPECT_EQ(pool->active(kWeightsMemory), 0u);
}

TEST(CpuBackend, RefusesInvalidCodesAndKeepsNothing) {
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  TensorSource source = tiny_source(tiny_config(), WeightForm::kPacked, 1, {name});
  TensorWriter writer;
  std::vector<uint8_t> codes(12 * 84, 0x55);
  codes[100] = 0xff;
  writer.add(name, DType::kU8, Encoding::kTernaryStripes, {12, 84}, codes.data(), codes.size());
  source.add(writer.source().get(name));
  auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  CpuBackend backend(2, kernels::best_kernel_set(), pool);
  const auto model = Model::create(tiny_config(), source);
  EXPECT_TRUE(
      contains(error_text<ModelLoadError>([&] { backend.optimize_model(model, {OptimizationLevel::kBasic, 1, 1, 1}); }),
               "): code 3 at row "));
  EXPECT_EQ(pool->stats().active, 0u);
}

}  // namespace
}  // namespace tritium
