#include "model/model_file.h"

#include <gtest/gtest.h>
#ifndef _WIN32
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#endif

#include "error_text.h"
#include "gguf_bytes.h"
#include "temporary_folder.h"
#include "tiny_model.h"
#include "tiny_network.h"

namespace tritium {
namespace {

std::string content(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), static_cast<size_t>(tensor.bytes)};
}

void expect_same_model(const Model& saved, const Model& loaded) {
  EXPECT_EQ(loaded.name(), saved.name());
  EXPECT_EQ(loaded.input_shape(), saved.input_shape());
  EXPECT_EQ(loaded.output_shape(), saved.output_shape());
  EXPECT_EQ(loaded.graph().describe(), saved.graph().describe());
  EXPECT_EQ(loaded.parameter_count(), saved.parameter_count());
  const auto expected = saved.tensors(), tensors = loaded.tensors();
  ASSERT_EQ(tensors.size(), expected.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(tensors[i].name, expected[i].name);
    EXPECT_EQ(tensors[i].dtype, expected[i].dtype) << tensors[i].name;
    EXPECT_EQ(tensors[i].encoding, expected[i].encoding) << tensors[i].name;
    EXPECT_EQ(tensors[i].shape, expected[i].shape) << tensors[i].name;
    EXPECT_EQ(content(tensors[i]), content(expected[i])) << tensors[i].name;
  }
  ASSERT_EQ(loaded.ternary_weights().size(), saved.ternary_weights().size());
  for (size_t i = 0; i < saved.ternary_weights().size(); ++i) {
    const TernaryWeight& a = saved.ternary_weights()[i];
    const TernaryWeight& b = loaded.ternary_weights()[i];
    EXPECT_EQ(b.stored_scale, a.stored_scale);
    EXPECT_EQ(b.row_scales, a.row_scales);
    EXPECT_EQ(b.groups, a.groups);
    EXPECT_EQ(b.direction, a.direction);
    EXPECT_EQ(b.bias_before_scale, a.bias_before_scale);
    EXPECT_EQ(b.bias.has_value(), a.bias.has_value());
  }
}

// A file of the tiny network whose metadata were changed.
class ChangedFile {
 public:
  ChangedFile() {
    MemoryTensors tensors;
    save_model(*tiny_network(tensors), folder_ / "x.gguf");
    file_ = read_gguf(MappedFile::open(folder_ / "x.gguf", FileAccess::kRead));
    metadata = file_.metadata;
    this->tensors = file_.tensors;
  }
  std::string load_error() const {
    write_gguf(folder_ / "y.gguf", metadata, tensors);
    const std::string text = error_text<ModelLoadError>([&] { load_model(folder_ / "y.gguf"); });
    EXPECT_TRUE(contains(text, path_text(folder_ / "y.gguf")));
    return text;
  }
  StoredTensor& tensor(const std::string& name) {
    for (StoredTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    throw std::out_of_range(name);
  }

  GgufMetadata metadata;
  std::vector<StoredTensor> tensors;

 private:
  TemporaryFolder folder_;
  GgufFile file_;
};

TEST(ModelFile, GivesTheSameNetwork) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  const auto saved = tiny_network(tensors);
  for (FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
    save_model(*saved, folder / "x.gguf");
    expect_same_model(*saved, *load_model(folder / "x.gguf", access));
  }
}

TEST(ModelFile, KeepsEveryEncodingAndDtype) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  tensors.add("stripes.weight", DType::kU8, Encoding::kTernaryStripes, {2, 6}, std::vector<std::byte>(12));
  tensors.add_floats("stripes.weight_scale", {1}, {0.3f});
  tensors.floats("stripes.bias", {6});
  tensors.add("half.weight", DType::kF16, Encoding::kTernaryMasters, {5, 6}, std::vector<std::byte>(60));
  tensors.add("brain.weight", DType::kBF16, Encoding::kPlain, {4, 5}, std::vector<std::byte>(40));
  tensors.trits("groups.weight", 6, 6);
  tensors.add_floats("groups.weight_scale", {6, 3}, std::vector<float>(18, 0.5f));
  tensors.add("brain.bias", DType::kF16, Encoding::kPlain, {4}, std::vector<std::byte>(8));
  NetworkBuilder builder("encodings", {2, 3}, tensors.source);
  auto x = builder.activation(builder.input(), ActivationKind::kSilu);
  x = builder.ternary_linear(builder.flatten(x), "stripes", 6, ScaleDirection::kMultiply, true);
  x = builder.ternary_linear(x, "groups", 6);
  x = builder.dense_linear(builder.ternary_linear(x, "half", 5), "brain", 4);
  const auto saved = builder.build(x);
  EXPECT_TRUE(saved->ternary_weights()[0].bias_before_scale);
  save_model(*saved, folder / "x.gguf");
  expect_same_model(*saved, *load_model(folder / "x.gguf"));
}

TEST(ModelFile, KeepsShapesOfSeveralDimensions) {
  const TemporaryFolder folder;
  const TensorSource none;
  NetworkBuilder builder("shapes", {2, 3, 4}, none);
  const auto x = builder.activation(builder.input(), ActivationKind::kRelu);
  const auto saved = builder.build(builder.add(x, builder.input(), "sum"));
  save_model(*saved, folder / "x.gguf");
  const auto loaded = load_model(folder / "x.gguf");
  expect_same_model(*saved, *loaded);
  EXPECT_EQ(loaded->output_shape(), (Shape{2, 3, 4}));
}

TEST(ModelFile, KeepsCustomOperatorsByName) {
  const TemporaryFolder folder;
  const TensorSource none;
  NetworkBuilder builder("custom", {2, 6}, none);
  const auto x = builder.activation(builder.input(), ActivationKind::kRelu);
  const auto y = builder.custom({x, builder.flatten(builder.input())}, "outer", {3, 4}, "product");
  const auto saved = builder.build(builder.custom({y}, "halve", {6}));
  save_model(*saved, folder / "x.gguf");
  const auto loaded = load_model(folder / "x.gguf");
  expect_same_model(*saved, *loaded);
  const auto& op = std::get<CustomOp>(loaded->graph().operators[1].kind);
  EXPECT_EQ(op.name, "outer");
  EXPECT_EQ(op.input_shapes, (std::vector<Shape>{{2, 6}, {12}}));
  EXPECT_EQ(op.output_shape, (Shape{3, 4}));

  const GgufFile file = read_gguf(MappedFile::open(folder / "x.gguf"));
  const auto load_error = [&](const std::string& key, const GgufValue& value) {
    GgufMetadata metadata = file.metadata;
    metadata["tritium.operator.1." + key] = value;
    write_gguf(folder / "y.gguf", metadata, file.tensors);
    return error_text<ModelLoadError>([&] { load_model(folder / "y.gguf"); });
  };
  EXPECT_TRUE(contains(load_error("input_shape.0", std::vector<uint64_t>{2, 7}),
                       "tritium.operator.1.input_shape.0 is [2, 7], the network has 12 numbers there"));
  EXPECT_TRUE(contains(load_error("output_shape", std::vector<uint64_t>{3, 0}), "none less than 1"));
  EXPECT_TRUE(contains(load_error("inputs", std::vector<uint64_t>{}), "outer has 0 inputs; it needs at least 1"));
  EXPECT_TRUE(contains(load_error("inputs", std::vector<uint64_t>{1, 2}), "inputs names value 2"));
}

TEST(ModelFile, SharedWeightsAreStoredOnce) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  tensors.bit_linear("a", 6, 6);
  NetworkBuilder builder("twice", {6}, tensors.source);
  const auto saved = builder.build(builder.ternary_linear(builder.ternary_linear(builder.input(), "a", 6), "a", 6));
  EXPECT_EQ(saved->tensors().size(), 2u);
  save_model(*saved, folder / "x.gguf");
  expect_same_model(*saved, *load_model(folder / "x.gguf"));
}

TEST(ModelFile, GivesTheSameLanguageModel) {
  const TemporaryFolder folder;
  for (WeightForm form : {WeightForm::kPacked, WeightForm::kMasters}) {
    ModelConfig config = tiny_config();
    config.attention_bias = true;
    config.tied_head = false;
    config.linear_norm_eps = 1e-6;
    config.scale_direction = ScaleDirection::kDivide;
    config.rope.scaling = RopeConfig::Scaling::kLlama3;
    config.rope.factor = 32;
    const auto saved = Model::create(config, tiny_source(config, form));
    save_model(*saved, folder / "x.gguf");
    const auto loaded = load_model(folder / "x.gguf");
    expect_same_model(*saved, *loaded);
    EXPECT_EQ(loaded->config().rope, config.rope);
    EXPECT_EQ(loaded->config().linear_norm_eps, config.linear_norm_eps);
    EXPECT_EQ(loaded->config().context_length, config.context_length);
  }
}

TEST(ModelFile, CarriesAnyFilesThatGoWithTheModel) {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> files = {
      {"tokenizer.json", "{}"}, {"tokenizer.model", std::string("\0\xff\x80", 3)}, {"empty", ""}};
  save_model(*tiny_model(), folder / "x.gguf", {.name = "tiny", .version = "1.2", .files = files});
  const ModelFile file = open_model_file(MappedFile::open(folder / "x.gguf"));
  EXPECT_EQ(file.files, files);
  EXPECT_EQ(file.metadata, (ModelMetadata{.name = "tiny",
                                          .version = "1.2",
                                          .architecture = "bitnet",
                                          .parameter_count = file.model->parameter_count(),
                                          .quantization_bits = 2,
                                          .input_shape = {},
                                          .output_shape = {101}}));
  EXPECT_EQ(read_model_metadata(MappedFile::open(folder / "x.gguf")), file.metadata);
}

TEST(ModelFile, UsesTensorsWhereTheyLieInTheFile) {
  const TemporaryFolder folder;
  save_model(*tiny_model(), folder / "x.gguf");
  const auto mapped = MappedFile::open(folder / "x.gguf");
  const ModelFile file = open_model_file(mapped);
  for (const DenseWeight& weight : file.model->dense_weights()) {
    EXPECT_EQ(weight.tensor.file, mapped);
    EXPECT_EQ(weight.tensor.offset % 64, 0u);
  }
}

TEST(ModelFile, ANewerVersionIsAnErrorWithBothNumbers) {
  ChangedFile file;
  file.metadata["tritium.format_version"] = uint32_t{2};
  file.metadata["tritium.unheard_of"] = true;
  EXPECT_TRUE(
      contains(file.load_error(),
               "tritium.format_version is 2; this version of Tritium reads 1 to 1, a newer one wrote the file"));
  file.metadata["tritium.format_version"] = uint32_t{0};
  EXPECT_TRUE(contains(file.load_error(), "tritium.format_version is 0; this version of Tritium reads 1 to 1"));
}

TEST(ModelFile, FilesOfOtherProgramsAreRefused) {
  ChangedFile file;
  file.metadata["general.architecture"] = std::string("llama");
  EXPECT_TRUE(contains(file.load_error(), "general.architecture is 'llama'; only files that Tritium saved"));
  file.metadata.erase("general.architecture");
  EXPECT_TRUE(contains(file.load_error(), "the key general.architecture is missing"));
}

TEST(ModelFile, AGraphWithACycleOrAnUnknownValueIsRefused) {
  ChangedFile file;
  file.metadata["tritium.operator.0.inputs"] = std::vector<uint64_t>{1};
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.0.inputs names value 1; the values before it are 0 to 0"));
  file.metadata["tritium.operator.0.inputs"] = std::vector<uint64_t>{9};
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.0.inputs names value 9"));
  file.metadata["tritium.operator.0.inputs"] = std::vector<uint64_t>{UINT64_MAX};
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.0.inputs holds 18446744073709551615"));
  file.metadata["tritium.operator.0.inputs"] = std::vector<uint64_t>{0, 0};
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.0.inputs has 2 elements, the operator takes 1"));
  file.metadata["tritium.operator.0.inputs"] = std::vector<uint64_t>{0};
  file.metadata["tritium.output"] = uint64_t{99};
  EXPECT_TRUE(contains(file.load_error(), "tritium.output names value 99; the values before it are 0 to 10"));
  file.metadata["tritium.output"] = uint64_t{0};
  file.metadata["tritium.output_shape"] = std::vector<uint64_t>{20};
  EXPECT_TRUE(contains(file.load_error(), "'tiny' has 0 layers"));
}

TEST(ModelFile, AnOperatorThatIsUnknownMissingOrIncompleteIsRefused) {
  ChangedFile file;
  const GgufMetadata whole = file.metadata;
  file.metadata["tritium.operator.1.kind"] = std::string("tanh");
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.1.kind is 'tanh'; known are ternary_linear, dense_linear"));
  file.metadata["tritium.operator.1.kind"] = true;
  EXPECT_TRUE(contains(file.load_error(), "tritium.operator.1.kind is a value of type bool, string is needed"));
  file.metadata = whole;
  file.metadata["tritium.operators"] = uint64_t{9};
  file.metadata["tritium.output"] = uint64_t{9};
  EXPECT_TRUE(contains(file.load_error(), "the key tritium.operator.9.inputs has no meaning in this file"));
  file.metadata["tritium.operators"] = UINT64_MAX;
  EXPECT_TRUE(contains(file.load_error(), "tritium.operators is 18446744073709551615; at most 9223372036854775807"));
  file.metadata["tritium.operators"] = uint64_t{INT64_MAX};
  EXPECT_TRUE(contains(file.load_error(), "the key tritium.operator.10.kind is missing"));
  file.metadata = whole;
  file.metadata.erase("tritium.operator.0.bias_before_scale");
  EXPECT_TRUE(contains(file.load_error(), "the key tritium.operator.0.bias_before_scale is missing"));
  file.metadata = whole;
  file.metadata["tritium.operator.0.scale_direction"] = std::string("up");
  EXPECT_TRUE(contains(file.load_error(), "unknown scale direction 'up'; known are multiply, divide"));
  file.metadata = whole;
  file.metadata["tritium.operator.0.groups"] = uint64_t{2};
  EXPECT_TRUE(contains(file.load_error(), "the key tritium.operator.0.groups has no meaning in this file"));
}

TEST(ModelFile, ShapesThatDisagreeAreRefused) {
  ChangedFile file;
  const GgufMetadata whole = file.metadata;
  file.metadata["tritium.operator.0.outputs"] = uint64_t{41};
  EXPECT_TRUE(contains(file.load_error(), "has shape [40, 20], the model needs [41, 20]"));
  file.metadata["tritium.operator.0.outputs"] = uint64_t{1} << 40;
  EXPECT_TRUE(contains(file.load_error(), "up: outputs must lie in [1, 4194304], got 1099511627776"));
  file.metadata = whole;
  file.metadata["tritium.input_shape"] = std::vector<uint64_t>{21};
  EXPECT_TRUE(contains(file.load_error(), "has shape [40, 20], the model needs [40, 21]"));
  file.metadata["tritium.input_shape"] = std::vector<uint64_t>{uint64_t{1} << 32, uint64_t{1} << 32};
  EXPECT_TRUE(contains(file.load_error(), "has more than 2^63 elements"));
  file.metadata["tritium.input_shape"] = std::vector<uint64_t>{};
  EXPECT_TRUE(contains(file.load_error(), "the input shape must have at least 1 dimension"));
  file.metadata = whole;
  file.metadata["tritium.output_shape"] = std::vector<uint64_t>{8};
  EXPECT_TRUE(contains(file.load_error(), "tritium.output_shape is [8], the network has 7 numbers there"));
  file.metadata = whole;
  file.metadata["tritium.operator.4.inputs"] = std::vector<uint64_t>{0, 1};  // 20 and 40 wide
  EXPECT_TRUE(contains(file.load_error(), "samples.add adds samples of shape [20] and [40]"));
  file.metadata = whole;
  file.metadata["tritium.parameter_count"] = uint64_t{1};
  EXPECT_TRUE(contains(file.load_error(), "tritium.parameter_count is 1, the model has 2537"));
  file.metadata = whole;
  file.metadata["tritium.operator.2.eps"] = 2.0;
  EXPECT_TRUE(contains(file.load_error(), "eps must lie in (0, 1), got 2"));
}

TEST(ModelFile, TensorsThatAreMissingLeftOverOrOfAnotherEncodingAreRefused) {
  ChangedFile file;
  const auto tensors = file.tensors;
  const GgufMetadata whole = file.metadata;
  file.tensor("scores.bias").name = "bias.of.nobody";
  EXPECT_TRUE(contains(file.load_error(), "1 of 11 tensors have no place in the model: bias.of.nobody"));
  file.tensors = tensors;
  file.tensor("norm.weight").name = "norm.bias2";
  EXPECT_TRUE(contains(file.load_error(), "1 tensors that the model asks for are missing: norm.weight"));
  file.tensors = tensors;
  file.metadata["tritium.ternary_trits"] = std::vector<std::string>{"up.weight"};
  EXPECT_TRUE(contains(file.load_error(), "must be ternary, got plain int8"));
  file.metadata["tritium.ternary_trits"] = std::vector<std::string>{"up.weight", "last.weight", "none"};
  EXPECT_TRUE(contains(file.load_error(), "the tensor 'none' has an encoding and is not in the file"));
  file.metadata["tritium.ternary_trits"] = std::vector<std::string>{"up.weight", "up.weight"};
  EXPECT_TRUE(contains(file.load_error(), "names the tensor 'up.weight', which has an encoding already"));
  file.metadata["tritium.ternary_trits"] = std::vector<std::string>{"up.weight", "last.weight", "scores.weight"};
  EXPECT_TRUE(contains(file.load_error(), "trits must be int8 with 2 dimensions, got float32 [7, 30]"));
  file.metadata = whole;
  file.metadata["tritium.ternary_stripes"] = std::vector<std::string>{"scores.weight"};
  EXPECT_TRUE(contains(file.load_error(), "must be uint8 with 2 dimensions, got float32 [7, 30]"));
}

TEST(ModelFile, ConfigurationsThatCannotBeAreRefused) {
  const TemporaryFolder folder;
  save_model(*tiny_model(), folder / "x.gguf");
  const GgufFile file = read_gguf(MappedFile::open(folder / "x.gguf"));
  const auto load_error = [&](const std::string& key, const GgufValue& value) {
    GgufMetadata metadata = file.metadata;
    metadata[key] = value;
    write_gguf(folder / "y.gguf", metadata, file.tensors);
    return error_text<ModelLoadError>([&] { load_model(folder / "y.gguf"); });
  };
  EXPECT_TRUE(contains(load_error("tritium.architecture", std::string("gpt")), "unknown architecture 'gpt'"));
  EXPECT_TRUE(contains(load_error("tritium.architecture", std::string("network")), "at least 1 dimension"));
  EXPECT_TRUE(
      contains(load_error("tritium.config.layers", uint64_t{3}), "tensors that the model asks for are missing"));
  EXPECT_TRUE(
      contains(load_error("tritium.config.layers", uint64_t{60000}), "layers is 60000, the file has 38 tensors"));
  EXPECT_TRUE(contains(load_error("tritium.config.heads", uint64_t{0}), "heads must lie in [1, 65536], got 0"));
  EXPECT_TRUE(contains(load_error("tritium.config.rope.scaling", std::string("yarn")), "unknown rope scaling 'yarn'"));
  EXPECT_TRUE(
      contains(load_error("tritium.config.tied_head", uint32_t{1}), "is a value of type uint32, bool is needed"));
  EXPECT_TRUE(contains(load_error("tritium.input_shape", std::vector<uint64_t>{1}), "is [1], the model has []"));
  EXPECT_TRUE(contains(load_error("tritium.quantization_bits", uint64_t{4}), "is 4, the model has 2"));
  EXPECT_TRUE(contains(load_error("tritium.quantization_bits", uint64_t{64}), "is 64; it must be 1 to 32"));
}

TEST(ModelFile, OperatorsOfLanguageModelsCannotBeSavedInANetwork) {
  const TemporaryFolder folder;
  const TensorSource none;
  GraphBuilder builder(none);
  const ValueId x = builder.samples(4);
  builder.set_output(builder.gate(x, x, "gate", ActivationKind::kSilu));
  const auto model = Model::create("gated", {4}, {4}, std::move(builder));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { save_model(*model, folder / "x.gguf"); }),
                       "gate: the operator gate belongs to language models"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

#ifndef _WIN32
TEST(ModelFile, IsReadableByWhomTheSystemAllows) {
  const TemporaryFolder folder;
  const mode_t before = umask(0022);
  save_model(*tiny_model(), folder / "x.gguf");
  umask(before);
  struct stat status = {};
  ASSERT_EQ(stat((folder / "x.gguf").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST(ModelFile, AFullDiskLeavesTheOldFileAndNoOther) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  save_model(*tiny_network(tensors), folder / "x.gguf");
  const std::string before = read_bytes(folder / "x.gguf");
  const auto larger = tiny_model();
  // A limit of the size of files stands for the full disk.
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small = {4096, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text = error_text<ModelLoadError>([&] { save_model(*larger, folder / "x.gguf"); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(contains(text, "cannot write"));
  EXPECT_EQ(read_bytes(folder / "x.gguf"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}
#endif

}  // namespace
}  // namespace tritium
