// Libraries, functions and pipelines.
#include <dispatch/dispatch.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "fake_metal_tests.h"

namespace tritium::metal_tests {
namespace {

using Libraries = FakeMetal;

std::string source(const std::string& name) { return fake_metal::sources().at(name); }

TEST_F(Libraries, HaveTheFunctionsOfTheirSource) {
  Gpu gpu;
  const auto library = gpu.compile(source("elementwise"));
  EXPECT_EQ(library->functionNames()->count(), 4u);
  const auto add = NS::TransferPtr(library->newFunction(ns_string("add")));
  EXPECT_STREQ(add->name()->utf8String(), "add");
  // Both are in the emulator.
  EXPECT_EQ(library->newFunction(ns_string("top_k")), nullptr);
  NS::Error* error = nullptr;
  EXPECT_EQ(library->newFunction(ns_string("top_k"), nullptr, &error), nullptr);
  EXPECT_EQ(text_of(error), "elementwise.metal has no function top_k");
  EXPECT_EQ(error->code(), MTL::LibraryErrorFunctionNotFound);
}

TEST_F(Libraries, CompileNoOtherText) {
  Gpu gpu;
  const auto error_of = [&](const std::string& text) {
    NS::Error* error = nullptr;
    EXPECT_EQ(gpu.compile(text, &error).get(), nullptr);
    return text_of(error);
  };
  const std::string text = source("top_k"), unknown = "this text is not what was compiled for the emulator: ";
  EXPECT_EQ(error_of("#include \"rows.h\"\n" + text), "file not found: #include \"rows.h\"");
  EXPECT_EQ(error_of("// One line more.\n" + text).find(unknown), 0u);
  EXPECT_EQ(error_of(text.substr(0, text.find("kernel void"))).find(unknown), 0u);
  const size_t changed = text.rfind('\n', text.size() - 2);
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(changed), '\n');
  EXPECT_EQ(error_of(text.substr(0, changed) + ";" + text.substr(changed)),
            unknown + "top_k.metal differs from line " + std::to_string(line) + " on");
}

TEST_F(Libraries, FailAsATestAsks) {
  fake_metal::configure({.compile_error = "no compiler", .pipeline_errors = {{"add", "no pipeline"}}});
  Gpu gpu;
  NS::Error* error = nullptr;
  EXPECT_EQ(gpu.compile(source("elementwise"), &error).get(), nullptr);
  EXPECT_EQ(text_of(error), "no compiler");
  fake_metal::configure({.pipeline_errors = {{"add", "no pipeline"}}});
  EXPECT_EQ(gpu.pipeline(gpu.function("elementwise", "add"), &error).get(), nullptr);
  EXPECT_EQ(text_of(error), "no pipeline");
  EXPECT_NE(gpu.pipeline(gpu.function("elementwise", "gate"), &error).get(), nullptr);
}

TEST_F(Libraries, FindFastMath) {
  Gpu gpu;
  const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  const auto compile = [&] {
    NS::Error* error = nullptr;
    NS::TransferPtr(gpu.device->newLibrary(ns_string(source("elementwise")), options.get(), &error));
  };
  compile();
  EXPECT_EQ(fault(), "newLibrary with fast math, with which kernels do not give the CPU's bits");
  EXPECT_TRUE(fake_metal::last_compile_options().fast_math);
  options->setFastMathEnabled(false);
  compile();
  EXPECT_FALSE(fake_metal::last_compile_options().fast_math);
  EXPECT_EQ(fake_metal::last_compile_options().language_version, MTL::LanguageVersion3_1);
}

TEST_F(Libraries, AreReadFromFilesAndBytes) {
  Gpu gpu;
  const std::string path = ::testing::TempDir() + "fake.metallib", bytes = fake_metal::metallib(source("top_k"));
  const auto load = [&] {
    NS::Error* error = nullptr;
    const auto library = NS::TransferPtr(gpu.device->newLibrary(NS::URL::fileURLWithPath(ns_string(path)), &error));
    return library ? std::to_string(library->functionNames()->count()) : text_of(error);
  };
  std::ofstream(path) << bytes;
  EXPECT_EQ(load(), "1");
  std::ofstream(path) << bytes.substr(1);
  EXPECT_EQ(load(), "these bytes are not a library");
  std::remove(path.c_str());
  EXPECT_EQ(load(), "no file " + path);

  const dispatch_data_t data =
      dispatch_data_create(bytes.data(), bytes.size(), nullptr, DISPATCH_DATA_DESTRUCTOR_DEFAULT);
  NS::Error* error = nullptr;
  EXPECT_NE(NS::TransferPtr(gpu.device->newLibrary(data, &error)).get(), nullptr);
  dispatch_release(data);
}

TEST_F(Libraries, TakeFunctionConstantsOfTheirType) {
  Gpu gpu;
  const auto library = gpu.compile(source("rowwise"));
  const auto error_of = [&](auto value, MTL::DataType type, auto key) {
    const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
    constants->setConstantValue(&value, type, key);
    NS::Error* error = nullptr;
    const auto function = NS::TransferPtr(library->newFunction(ns_string("layer_norm"), constants.get(), &error));
    if (function) gpu.pipeline(function, &error);
    return text_of(error);
  };
  EXPECT_EQ(error_of(true, MTL::DataTypeBool, NS::UInteger{3}), "");
  EXPECT_EQ(error_of(true, MTL::DataTypeBool, ns_string("HAS_NORM_BIAS")), "");
  EXPECT_EQ(error_of(1, MTL::DataTypeInt, NS::UInteger{3}),
            "[layer_norm] the function constant HAS_NORM_BIAS is a bool, its value a int");
  EXPECT_EQ(error_of(true, MTL::DataTypeBool, NS::UInteger{4}),
            "[layer_norm] the function constant HAS_NORM_BIAS has no value");
  EXPECT_EQ(fault(), "[layer_norm] the function constant HAS_NORM_BIAS has no value");
  EXPECT_EQ(error_of(1.0f, MTL::DataTypeFloat4, NS::UInteger{3}),
            "[layer_norm] the function constant HAS_NORM_BIAS has no value");
  EXPECT_NE(fault().find("function constants of MTLDataType 6 are not in this runtime"), std::string::npos);
}

TEST_F(Libraries, KnowConstantsThatAFunctionOfAKernelReads) {
  Gpu gpu;
  NS::Error* error = nullptr;
  EXPECT_EQ(gpu.pipeline(gpu.function("ternary_gemv", "ternary_gemv"), &error).get(), nullptr);
  EXPECT_EQ(fault(), "[ternary_gemv] the function constant HAS_BIAS has no value");
}

TEST_F(Libraries, HavePipelinesWithLimits) {
  fake_metal::configure({.max_threads = {{"rope", 64}}});
  Gpu gpu;
  const auto rope = gpu.pipeline(gpu.function("elementwise", "rope"));
  EXPECT_EQ(rope->maxTotalThreadsPerThreadgroup(), 64u);
  EXPECT_EQ(rope->threadExecutionWidth(), 32u);
  EXPECT_EQ(rope->staticThreadgroupMemoryLength(), 0u);
  EXPECT_EQ(gpu.pipeline(gpu.function("top_k", "top_k"))->staticThreadgroupMemoryLength(), 32u * 4 + 32 * 4);
  NS::Error* error = nullptr;
  EXPECT_EQ(gpu.pipeline(gpu.function("faults", "too_much_threadgroup_memory"), &error).get(), nullptr);
  EXPECT_NE(text_of(error).find("bytes of threadgroup memory, 32768 can be had"), std::string::npos);
}

}  // namespace
}  // namespace tritium::metal_tests
