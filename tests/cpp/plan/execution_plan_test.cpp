#include "plan/execution_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "error_text.h"
#include "plan/build_plan.h"
#include "plan/plan_memory.h"
#include "tiny_model.h"

namespace tritium {
namespace {

ExecutionPlan tiny_plan(OptimizationLevel level, int64_t max_tokens = 8) {
  return build_plan(tiny_model()->graph(), {level, max_tokens, 300, 1});
}

std::map<std::string, int> count_steps(const ExecutionPlan& plan) {
  std::map<std::string, int> counts;
  for (const Step& step : plan.steps) ++counts[std::string(step_name(step.kind))];
  return counts;
}

TEST(ExecutionPlan, WithoutOptimizationEveryOperatorIsAStepOfItsOwn) {
  const ExecutionPlan plan = tiny_plan(OptimizationLevel::kNone);
  EXPECT_EQ(count_steps(plan), (std::map<std::string, int>{{"embedding", 1},
                                                           {"rms_norm", 2 * 4 + 1},
                                                           {"quantize", 2 * 7},
                                                           {"ternary_matmul", 2 * 7},
                                                           {"rope", 2 * 2},
                                                           {"attention", 2},
                                                           {"gate", 2},
                                                           {"add", 2 * 2},
                                                           {"select_outputs", 1},
                                                           {"dense_matmul", 1}}));
  EXPECT_TRUE(plan.fusions.empty());
}

TEST(ExecutionPlan, BasicOptimizationFuses) {
  const ExecutionPlan plan = tiny_plan(OptimizationLevel::kBasic);
  EXPECT_EQ(count_steps(plan), (std::map<std::string, int>{{"embedding", 1},
                                                           {"rms_norm", 1},
                                                           {"rms_norm_quantize", 2 * 4},
                                                           {"ternary_matmul", 2 * 2},
                                                           {"ternary_matmul_add", 2 * 2},
                                                           {"rope_attention", 2},
                                                           {"gate", 2},
                                                           {"select_outputs", 1},
                                                           {"dense_matmul", 1}}));
  EXPECT_EQ(plan.fusions,
            (std::vector<std::string>{"share_quantization x6", "norm_into_quantization x8", "group_projections x6",
                                      "residual_into_matmul x4", "rope_into_attention x2"}));
}

TEST(ExecutionPlan, FusionTakesNoMoreArena) {
  EXPECT_LE(tiny_plan(OptimizationLevel::kBasic, 64).memory.arena,
            tiny_plan(OptimizationLevel::kNone, 64).memory.arena);
}

TEST(ExecutionPlan, EveryValueIsMadeBeforeItIsRead) {
  for (OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
    const ExecutionPlan plan = tiny_plan(level);
    std::vector<bool> made(plan.values.size(), false);
    made[plan.input] = true;
    for (const Step& step : plan.steps) {
      for (PlanValueId value : step.inputs) EXPECT_TRUE(made[value]) << plan.values[value].name;
      for (PlanValueId value : step.outputs) made[value] = true;
    }
    EXPECT_TRUE(made[plan.output]);
  }
}

TEST(ExecutionPlan, ValuesThatLiveAtTheSameTimeShareNoBytes) {
  for (OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
    const ExecutionPlan plan = tiny_plan(level);
    std::map<PlanValueId, std::pair<size_t, size_t>> lives;  // first and last step
    for (size_t i = 0; i < plan.steps.size(); ++i) {
      for (PlanValueId value : plan.steps[i].outputs) lives[value] = {i, i};
      for (PlanValueId value : plan.steps[i].inputs) {
        if (value != plan.input) lives[value].second = i;
      }
    }
    lives.erase(plan.output);
    for (const auto& [a, life_a] : lives) {
      const PlanValue& value_a = plan.values[a];
      ASSERT_GE(value_a.offset, 0) << value_a.name;
      EXPECT_EQ(value_a.offset % kArenaAlignment, 0);
      EXPECT_LE(value_a.offset + value_a.bytes(8), plan.memory.arena);
      for (const auto& [b, life_b] : lives) {
        // The step that reads a value for the last time may write over it.
        if (a == b || life_a.second <= life_b.first || life_b.second <= life_a.first) continue;
        const PlanValue& value_b = plan.values[b];
        EXPECT_TRUE(value_a.offset + value_a.bytes(8) <= value_b.offset ||
                    value_b.offset + value_b.bytes(8) <= value_a.offset)
            << value_a.name << " and " << value_b.name;
      }
    }
  }
}

TEST(ExecutionPlan, OnlyStepsThatWorkElementByElementWriteOverAnInput) {
  for (OptimizationLevel level : {OptimizationLevel::kNone, OptimizationLevel::kBasic}) {
    const ExecutionPlan plan = tiny_plan(level);
    std::map<std::string, int> in_place;
    for (const Step& step : plan.steps) {
      for (PlanValueId out : step.outputs) {
        if (out == plan.output) continue;
        const PlanValue& written = plan.values[out];
        for (size_t i = 0; i < step.inputs.size(); ++i) {
          const PlanValue& read = plan.values[step.inputs[i]];
          if (step.inputs[i] == plan.input || written.offset >= read.offset + read.bytes(8) ||
              read.offset >= written.offset + written.bytes(8)) {
            continue;
          }
          EXPECT_EQ(read.offset, written.offset) << step.name;
          ++in_place[std::string(step_name(step.kind)) + " input " + std::to_string(i)];
        }
      }
    }
    const std::map<std::string, int> none = {{"add input 0", 4}, {"gate input 0", 2}, {"rms_norm input 0", 5}};
    const std::map<std::string, int> basic = {
        {"gate input 0", 2}, {"rms_norm input 0", 1}, {"ternary_matmul_add input 1", 4}};
    EXPECT_EQ(in_place, level == OptimizationLevel::kNone ? none : basic);
  }
}

TEST(ExecutionPlan, InputAndOutputLieOutsideTheArena) {
  const ExecutionPlan plan = tiny_plan(OptimizationLevel::kBasic);
  EXPECT_EQ(plan.values[plan.input].offset, kOutsideArena);
  EXPECT_EQ(plan.values[plan.output].offset, kOutsideArena);
}

TEST(ExecutionPlan, ReadsTheNamesOfKVDTypes) {
  for (KVDType dtype : {KVDType::kF16, KVDType::kInt8}) EXPECT_EQ(parse_kv_dtype(kv_dtype_name(dtype)), dtype);
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { parse_kv_dtype("float32"); }),
                       "unknown kv_dtype 'float32'; known are f16, int8"));
}

TEST(ExecutionPlan, DescribesItself) {
  ExecutionPlan plan = tiny_plan(OptimizationLevel::kBasic, 1);
  const std::string text = plan.describe();
  EXPECT_TRUE(contains(
      text, "plan: level basic, 24 steps, up to 1 tokens a pass, context 300, sequences 1, kv f16, head full\n"));
  EXPECT_TRUE(contains(text, "ternary weights: 2bit\n"));
  EXPECT_TRUE(contains(text, "fusion: residual_into_matmul x4\n"));
  EXPECT_TRUE(contains(text, "   0  embedding            (token_ids) -> (model.embed_tokens@"));
}

TEST(ExecutionPlan, ChoosesTheHead) {
  const auto head_of = [](OptimizationLevel level, HeadFormat head) {
    return build_plan(tiny_model()->graph(), {.level = level, .max_tokens = 1, .context_size = 300, .head = head});
  };
  const ExecutionPlan small = head_of(OptimizationLevel::kBasic, HeadFormat::kAuto);
  EXPECT_EQ(small.options.head, HeadFormat::kFull);
  EXPECT_EQ(small.head(), nullptr);
  EXPECT_EQ(step_name(small.steps.back().kind), "dense_matmul");
  for (const auto& [format, name] : {std::pair{HeadFormat::kScreened, "screened_head"},
                                     {HeadFormat::kScreened8, "screened8_head"},
                                     {HeadFormat::kInt8, "int8_head"},
                                     {HeadFormat::kInt4, "int4_head"}}) {
    const ExecutionPlan plan = head_of(OptimizationLevel::kBasic, format);
    EXPECT_EQ(step_name(plan.steps.back().kind), name);
    EXPECT_TRUE(contains(plan.describe(), std::string("head ") + std::string(head_format_name(format)) + "\n"));
    EXPECT_EQ(parse_head_format(head_format_name(format)), format);
    EXPECT_TRUE(contains(error_text<OptimizationError>([&] { head_of(OptimizationLevel::kNone, format); }),
                         "level none runs the graph as it is"));
  }
  EXPECT_EQ(head_of(OptimizationLevel::kNone, HeadFormat::kAuto).options.head, HeadFormat::kFull);
  EXPECT_TRUE(contains(error_text<OptimizationError>([] { parse_head_format("int6"); }), "unknown head 'int6'"));

  ModelConfig large = tiny_config();
  large.vocab_size = (int64_t{1} << 23) / large.hidden_size + 1;
  const auto model = Model::create(large, tiny_source(large, WeightForm::kPacked));
  EXPECT_EQ(build_plan(model->graph(), {OptimizationLevel::kBasic, 1, 300, 1}).options.head, HeadFormat::kScreened);
  EXPECT_EQ(build_plan(model->graph(), {OptimizationLevel::kNone, 1, 300, 1}).options.head, HeadFormat::kFull);
}

TEST(ExecutionPlan, RefusesImpossibleOptions) {
  const auto model = tiny_model();
  EXPECT_TRUE(
      contains(error_text<OptimizationError>([&] { build_plan(model->graph(), {OptimizationLevel::kBasic, 0, 1, 1}); }),
               "must be at least 1, got 0, 1, 1"));
  EXPECT_TRUE(
      contains(error_text<OptimizationError>([&] { build_plan(Graph(), {OptimizationLevel::kBasic, 1, 1, 1}); }),
               "no input or no output"));
  EXPECT_TRUE(contains(error_text<OptimizationError>([] { parse_optimization_level("fast"); }),
                       "'fast'; known are none, basic, aggressive"));
}

Graph network_graph(int values, std::vector<Operator> operators) {
  Graph graph;
  for (int i = 0; i < values; ++i) {
    graph.values.push_back({std::to_string(i), ValueType::kFloat, RowKind::kTokens, 48});
  }
  graph.input = 0;
  graph.output = values - 1;
  graph.operators = std::move(operators);
  return graph;
}

const PlanOptions kNetworkOptions = {.max_tokens = 8, .context_size = 1};

TEST(ExecutionPlan, ANetworkHasNoHeadWithASmallCopy) {
  Graph graph = network_graph(2, {{"scores", DenseLinearOp{0}, {0}, 1}});
  graph.values[0].width = graph.values[1].width = 4096;
  EXPECT_EQ(build_plan(graph, kNetworkOptions).options.head, HeadFormat::kFull);
  PlanOptions options = kNetworkOptions;
  options.head = HeadFormat::kInt8;
  EXPECT_TRUE(contains(error_text<OptimizationError>([&] { build_plan(graph, options); }),
                       "head 'int8' needs a language model"));
}

TEST(FuseOperators, AppliesAnActivationWithTheProductThatItAloneReads) {
  const ActivationOp relu{ActivationKind::kRelu};
  const ExecutionPlan plan = build_plan(
      network_graph(4, {{"a", TernaryLinearOp{0}, {0}, 1}, {"b", relu, {1}, 2}, {"c", TernaryLinearOp{1}, {2}, 3}}),
      kNetworkOptions);
  EXPECT_EQ(plan.fusions, std::vector<std::string>{"activation_into_matmul x1"});
  EXPECT_EQ(count_steps(plan),
            (std::map<std::string, int>{{"quantize", 2}, {"ternary_matmul_act", 1}, {"ternary_matmul", 1}}));
  EXPECT_TRUE(contains(plan.describe(), "up to 8 samples a pass\n"));
}

TEST(FuseOperators, AppliesAnActivationAfterTheResidualAndNotBeforeIt) {
  const ActivationOp relu{ActivationKind::kRelu};
  const ExecutionPlan after = build_plan(
      network_graph(4, {{"a", TernaryLinearOp{0}, {0}, 1}, {"add", AddOp{}, {0, 1}, 2}, {"b", relu, {2}, 3}}),
      kNetworkOptions);
  EXPECT_EQ(count_steps(after), (std::map<std::string, int>{{"quantize", 1}, {"ternary_matmul_add_act", 1}}));
  const ExecutionPlan before = build_plan(
      network_graph(4, {{"a", TernaryLinearOp{0}, {0}, 1}, {"b", relu, {1}, 2}, {"add", AddOp{}, {0, 2}, 3}}),
      kNetworkOptions);
  EXPECT_EQ(count_steps(before), (std::map<std::string, int>{{"quantize", 1}, {"ternary_matmul_act", 1}, {"add", 1}}));
}

TEST(FuseOperators, KeepsAnActivationWhoseInputIsReadTwice) {
  const ExecutionPlan plan = build_plan(network_graph(4, {{"a", TernaryLinearOp{0}, {0}, 1},
                                                          {"b", ActivationOp{ActivationKind::kSilu}, {1}, 2},
                                                          {"add", AddOp{}, {1, 2}, 3}}),
                                        kNetworkOptions);
  EXPECT_EQ(count_steps(plan),
            (std::map<std::string, int>{{"quantize", 1}, {"ternary_matmul", 1}, {"silu", 1}, {"add", 1}}));
}

TEST(PlanMemory, ActivationSoftmaxAndLayerNormWriteOverTheirInput) {
  const ExecutionPlan plan = build_plan(network_graph(6, {{"a", DenseLinearOp{0}, {0}, 1},
                                                          {"b", ActivationOp{ActivationKind::kRelu}, {1}, 2},
                                                          {"c", SoftmaxOp{}, {2}, 3},
                                                          {"d", LayerNormOp{1, 1e-5f}, {3}, 4},
                                                          {"e", DenseLinearOp{2}, {4}, 5}}),
                                        kNetworkOptions);
  for (PlanValueId value : {1, 2, 3, 4}) EXPECT_EQ(plan.values[value].offset, 0);
  EXPECT_EQ(plan.memory.arena, 8 * 48 * 4);
}

// A residual that is made after the product must not be fused into it.
TEST(FuseOperators, KeepsAnAddWhoseOtherSideComesLater) {
  Graph graph;
  graph.values = {{"x", ValueType::kFloat, RowKind::kTokens, 48},
                  {"product", ValueType::kFloat, RowKind::kTokens, 48},
                  {"later", ValueType::kFloat, RowKind::kTokens, 48},
                  {"sum", ValueType::kFloat, RowKind::kTokens, 48}};
  graph.input = 0;
  graph.output = 3;
  graph.operators = {
      {"linear", TernaryLinearOp{0}, {0}, 1}, {"norm", RmsNormOp{0, 1e-5f}, {0}, 2}, {"add", AddOp{}, {1, 2}, 3}};
  const ExecutionPlan plan = build_plan(graph, {OptimizationLevel::kBasic, 1, 1, 1});
  EXPECT_EQ(count_steps(plan).at("add"), 1);
}

// A norm that someone else reads too must be stored.
TEST(FuseOperators, KeepsANormThatIsReadTwice) {
  Graph graph;
  graph.values = {{"x", ValueType::kFloat, RowKind::kTokens, 48},
                  {"norm", ValueType::kFloat, RowKind::kTokens, 48},
                  {"product", ValueType::kFloat, RowKind::kTokens, 48},
                  {"sum", ValueType::kFloat, RowKind::kTokens, 48}};
  graph.input = 0;
  graph.output = 3;
  graph.operators = {
      {"norm", RmsNormOp{0, 1e-5f}, {0}, 1}, {"linear", TernaryLinearOp{0}, {1}, 2}, {"add", AddOp{}, {1, 2}, 3}};
  const ExecutionPlan plan = build_plan(graph, {OptimizationLevel::kBasic, 1, 1, 1});
  EXPECT_EQ(count_steps(plan),
            (std::map<std::string, int>{{"rms_norm", 1}, {"quantize", 1}, {"ternary_matmul_add", 1}}));
}

}  // namespace
}  // namespace tritium
