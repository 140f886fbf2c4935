#include "model/model_loader.h"

#include <gtest/gtest.h>

#include "error_text.h"
#include "temporary_folder.h"
#include "tiny_model.h"
#include "tiny_network.h"

namespace tritium {
namespace {

TEST(ModelLoader, GivesTheSameModelMappedAndRead) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  const auto saved = tiny_network(tensors);
  save_model(*saved, folder / "x.gguf");
  const uint64_t size = std::filesystem::file_size(folder / "x.gguf");
  for (uint64_t threshold : {uint64_t{0}, size - 1, size, UINT64_MAX}) {
    const auto model = ModelLoader({.mmap_threshold = threshold}).load(folder / "x.gguf");
    EXPECT_EQ(model->graph().describe(), saved->graph().describe());
    const StoredTensor& tensor = model->dense_weights()[0].tensor;
    // A mapped file is asked for what is not resident; bytes in memory are where they are.
    std::byte scratch[4];
    EXPECT_EQ(tensor.file->fetch(tensor.offset, 4, scratch) == scratch, threshold < size);
    EXPECT_FALSE(model->cache());
  }
}

TEST(ModelLoader, SaysWhatAModelIsWithoutLoadingIt) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  save_model(*tiny_network(tensors), folder / "x.gguf", {.version = "3"});
  const ModelMetadata metadata = ModelLoader().metadata(folder / "x.gguf");
  EXPECT_EQ(metadata, (ModelMetadata{.name = "tiny",
                                     .version = "3",
                                     .architecture = "network",
                                     .parameter_count = 2537,
                                     .quantization_bits = 2,
                                     .input_shape = {4, 5},
                                     .output_shape = {7}}));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { ModelLoader().metadata(folder / "none.gguf"); }), "none.gguf"));
}

TEST(ModelLoader, ANetworkInFloatsHas32Bits) {
  MemoryTensors tensors;
  tensors.floats("a.weight", {2, 3});
  NetworkBuilder builder("floats", {3}, tensors.source);
  const auto model = builder.build(builder.dense_linear(builder.input(), "a", 2));
  EXPECT_EQ(describe_model(*model, "floats", "").quantization_bits, 32);
}

TEST(ModelLoader, ItsModelsCarryItsCache) {
  const TemporaryFolder folder;
  MemoryTensors tensors;
  save_model(*tiny_network(tensors), folder / "x.gguf");
  CacheOptions cache;
  cache.folder = folder / "cache";
  cache.max_bytes = 12345;
  const auto model = ModelLoader({.cache = cache}).load(folder / "x.gguf");
  ASSERT_TRUE(model->cache());
  EXPECT_EQ(model->cache()->folder, folder / "cache");
  EXPECT_EQ(model->cache()->max_bytes, 12345u);
}

}  // namespace
}  // namespace tritium
