// Memory of Metal devices: pools, staging, weights where they lie, pages, pipelines.
#include <unistd.h>

#include <chrono>
#include <thread>

#include "language_models.h"
#include "metal/metal_kv_cache.h"
#include "metal/metal_memory.h"
#include "metal/metal_model.h"
#include "temporary_folder.h"

namespace tritium {
namespace {

class MetalMemoryTest : public OnFakeMetal {};

size_t buffers() { return fake_metal::live_objects("MTLBuffer"); }

TEST_F(MetalMemoryTest, BuffersAreReusedBySizeAndGivenBack) {
  const auto pool = unlimited_pool();
  MetalMemory memory(metal_devices().at(0), pool);
  auto first = memory.allocate(1 << 20, kArenaMemory);
  MTL::Buffer* const buffer = MetalMemory::view(first).buffer;
  EXPECT_EQ(pool->active(kArenaMemory), size_t{1} << 20);
  first = {};
  EXPECT_EQ(pool->stats().cached, size_t{1} << 20);
  EXPECT_EQ(MetalMemory::view(memory.allocate(1'000'000, kOutputMemory)).buffer, buffer);
  auto weights = memory.allocate(1 << 20, kWeightsMemory);
  EXPECT_NE(MetalMemory::view(weights).buffer, buffer);
  EXPECT_EQ(buffers(), 2u);
  pool->trim();
  EXPECT_EQ(buffers(), 1u);
  weights = {};  // weights are not kept
  EXPECT_EQ(buffers(), 0u);
}

TEST_F(MetalMemoryTest, BuffersThatAreOnlyKeptMakeRoomForOthersOnDeviceAndHost) {
  const auto pool = std::make_shared<MemoryPool>(3'000'000);
  MetalMemory memory(metal_devices().at(0), pool);
  memory.allocate(2'000'000, kArenaMemory);
  EXPECT_EQ(buffers(), 1u);
  const auto host = pool->allocate(2'000'000, kArenaMemory);  // the same pool, another source
  EXPECT_EQ(buffers(), 0u);
  EXPECT_TRUE(contains(error_text<MemoryLimitError>([&] { memory.allocate(2'000'000, kArenaMemory); }),
                       "the arena needs 2000000 bytes, 1000000 of 3000000 bytes are free"));
}

TEST_F(MetalMemoryTest, WhatADeviceKeepsMakesRoomWhenItIsFull) {
  fake_metal::Settings settings;
  settings.devices[0].memory = 3'000'000;
  use(settings);
  const auto pool = unlimited_pool();
  MetalMemory memory(metal_devices().at(0), pool);
  memory.allocate(2'000'000, kArenaMemory);
  const auto larger = memory.allocate(2'900'000, kArenaMemory);
  EXPECT_EQ(buffers(), 1u);
  EXPECT_EQ(error_text<MemoryLimitError>([&] { memory.allocate(200'000, kOutputMemory); }),
            "[memory] the outputs needs 200000 bytes, 99968 of 3000000 are free on Fake M1");
}

TEST_F(MetalMemoryTest, AnAllocationThatFailsIsTriedAgainWhenWhatIsKeptIsGone) {
  fake_metal::Settings settings;
  settings.devices[0].failing_allocation = 2;
  use(settings);
  MetalMemory memory(metal_devices().at(0), unlimited_pool());
  memory.allocate(1 << 20, kArenaMemory);
  const auto other = memory.allocate(4 << 20, kArenaMemory);
  EXPECT_NE(other.data(), nullptr);
  EXPECT_EQ(buffers(), 1u);
}

TEST_F(MetalMemoryTest, UploadsLongerThanTheStagingBuffersArriveWhole) {
  use(one_device(false));
  const AutoreleaseScope scope;
  MetalMemory memory(metal_devices().at(0), unlimited_pool());
  std::vector<std::byte> bytes((size_t{20} << 20) + 3);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  const auto own = memory.allocate(bytes.size() + 16, kWeightsMemory);
  const auto back = memory.allocate_shared(bytes.size(), kStagingMemory);
  memory.upload(bytes, MetalMemory::view(own).at(16));
  MetalCommands commands(memory.device(), "a download");
  commands.copy(MetalMemory::view(own).buffer, 16, MetalMemory::view(back).buffer, 0, bytes.size() + 1);
  commands.commit();
  commands.wait();
  EXPECT_EQ(std::memcmp(MetalMemory::view(back).host<std::byte>(), bytes.data(), bytes.size()), 0);
}

// 64 -> 64 floats with a dense matrix, from a file.
std::shared_ptr<const Model> dense_network(TensorWriter& writer, FileAccess access, size_t before) {
  std::vector<float> weights(64 * 64);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 17) - 8;
  const std::vector<uint8_t> pad(before);
  writer.add("pad", DType::kU8, Encoding::kPlain, {static_cast<int64_t>(before)}, pad.data(), before);
  writer.add_floats("a.weight", {64, 64}, weights);
  TensorSource source;
  const TensorSource whole = writer.source(access);
  source.add(whole.get("a.weight"));
  NetworkBuilder builder("dense", {64}, source);
  return builder.build(builder.dense_linear(builder.input(), "a", 64));
}

TEST_F(MetalMemoryTest, DenseMatricesOfMappedFilesAreReadWhereTheyLieIfTheyLieWell) {
  const auto x = random_samples(3, 64);
  constexpr int64_t kMatrix = 64 * 64 * 4;
  for (const bool is_apple : {true, false}) {
    use(one_device(is_apple));
    for (const FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
      for (const size_t before : {16, 4}) {
        SCOPED_TRACE(std::to_string(is_apple) + std::to_string(access == FileAccess::kMap) + std::to_string(before));
        TensorWriter writer;
        const auto model = dense_network(writer, access, before);
        const auto pool = unlimited_pool();
        const auto backend = metal_backend(pool);
        const PlanOptions options{.max_tokens = 4, .context_size = 1};
        // Memory of the heap may begin with a page, too.
        const void* file = model->dense_weights()[0].tensor.file->bytes().data();
        const bool is_page = reinterpret_cast<uintptr_t>(file) % static_cast<size_t>(sysconf(_SC_PAGESIZE)) == 0;
        EXPECT_TRUE(is_page || access == FileAccess::kRead);
        const bool in_place = is_apple && is_page && before == 16;
        EXPECT_EQ(backend->plan(*model, options).memory.weights, in_place ? 0 : kMatrix);
        const auto prepared = backend->optimize_model(model, options);
        EXPECT_EQ(pool->active(kWeightsMemory), in_place ? 0u : static_cast<size_t>(kMatrix));
        EXPECT_TRUE(same_bits(run_network(*backend, *prepared, x), run_network(*cpu_backend(), model, x, 4)));
      }
    }
  }
}

std::shared_ptr<const Model> large_network(MemoryTensors& tensors, int64_t rows, int64_t columns) {
  tensors.bit_linear("a", rows, columns);
  NetworkBuilder builder("large", {columns}, tensors.source);
  return builder.build(builder.ternary_linear(builder.input(), "a", rows));
}

TEST_F(MetalMemoryTest, LargePanelsAreThereOnce) {
  MemoryTensors tensors;
  const auto model = large_network(tensors, 4096, 2048);
  constexpr size_t kPanels = 4096 * 2048 / 4;
  const auto x = random_samples(1, 2048);
  const auto expected = run_network(*cpu_backend(), model, x, 1);
  for (const bool is_apple : {true, false}) {
    use(one_device(is_apple));
    const auto pool = unlimited_pool();
    const auto backend = metal_backend(pool);
    const auto prepared = backend->optimize_model(model, {.max_tokens = 1, .context_size = 1});
    EXPECT_EQ(pool->active(kWeightsMemory), kPanels + 64);  // and a scale
    EXPECT_EQ(backend->model_memory().at(0).weights, kPanels);
    EXPECT_TRUE(same_bits(run_network(*backend, *prepared, x), expected));
  }
}

TEST_F(MetalMemoryTest, PanelsOfThePackedCacheAreReadWhereTheyAreMapped) {
  const TemporaryFolder folder;
  TensorWriter writer;
  std::vector<int8_t> trits(size_t{8192} * 8192);
  for (size_t i = 0; i < trits.size(); ++i) trits[i] = static_cast<int8_t>(static_cast<int>(i * i % 7 % 3) - 1);
  writer.add("a.weight", DType::kI8, Encoding::kTernaryTrits, {8192, 8192}, trits.data(), trits.size());
  writer.add_floats("a.weight_scale", {1}, {0.5f});
  const TensorSource source = writer.source(FileAccess::kMap);
  NetworkBuilder builder("cached", {8192}, source);
  const auto model = builder.build(builder.ternary_linear(builder.input(), "a", 8192));
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));  // a file that has just changed is not cached
  for (int load = 0; load < 2; ++load) {
    const auto pool = unlimited_pool();
    MetalOptions options;
    options.cache.emplace();
    options.cache->folder = folder.path();
    const auto backend = make_metal_backend(options, pool, {});
    const auto prepared = backend->optimize_model(model, {.max_tokens = 1, .context_size = 1});
    const ModelMemory memory = backend->model_memory().at(0);
    if (memory.mapped_weights == 0) continue;
    EXPECT_EQ(load, 1);
    EXPECT_EQ(memory.mapped_weights, trits.size() / 4);
    EXPECT_EQ(pool->active(kWeightsMemory), 64u);
  }
}

TEST_F(MetalMemoryTest, AModelIsPlacedOnceHoweverOftenItIsPrepared) {
  const auto pool = unlimited_pool();
  const auto backend = metal_backend(pool);
  const auto model = metal_model();
  const PlanOptions options{.max_tokens = 16, .context_size = 64};
  const auto first = backend->optimize_model(model, options);
  const size_t weights = pool->active(kWeightsMemory);
  PlanOptions larger = options;
  larger.max_tokens = 32;
  const auto second = backend->optimize_model(model, larger);
  EXPECT_EQ(pool->active(kWeightsMemory), weights + 2 * 64 * 6 * 4);  // its own cosines and sines
  EXPECT_EQ(backend->model_memory().size(), 1u);
}

TEST_F(MetalMemoryTest, PassesStayWithinTheEstimateAndKeepTheirBuffers) {
  for (const bool is_apple : {true, false}) {
    use(one_device(is_apple));
    const auto pool = unlimited_pool();
    Runner metal(metal_backend(pool), metal_model());
    const SequenceId a = metal.cache->create();
    metal.run({{a, random_tokens(256), Want::kLast}});
    const size_t after_one = buffers();
    metal.run({{a, {1}, Want::kArgmax}});
    metal.run({{a, {2}, Want::kArgmax}});
    EXPECT_EQ(buffers(), after_one);
    EXPECT_LE(pool->stats().peak, static_cast<size_t>(metal.prepared->plan().estimated_memory()) + 64 * 64);
    metal.backend->trim();
    EXPECT_LT(buffers(), after_one);
    metal.cache.reset();
    EXPECT_EQ(pool->active(kCacheMemory), 0u);
  }
}

TEST_F(MetalMemoryTest, PipelinesAreMadeWithTheModelAndOnce) {
  const auto model = metal_model();
  Runner metal(metal_backend(), model);
  const size_t made = fake_metal::live_objects("MTLComputePipelineState");
  EXPECT_GT(made, 10u);
  conversation(metal);
  const auto again = metal.backend->optimize_model(model, {.max_tokens = 8, .context_size = 64});
  EXPECT_EQ(fake_metal::live_objects("MTLComputePipelineState"), made);
}

TEST_F(MetalMemoryTest, TheLanguageVersionIsSetAndMathIsSafeOnEverySystem) {
  for (const auto& [macos, version] :
       {std::pair(14L, MTL::LanguageVersion3_1), std::pair(15L, MTL::LanguageVersion3_2)}) {
    fake_metal::Settings settings;
    settings.macos_version = macos;
    use(settings);
    Runner metal(metal_backend(), metal_model());
    EXPECT_EQ(fake_metal::last_compile_options().language_version, version);
    EXPECT_FALSE(fake_metal::last_compile_options().fast_math);
  }
}

TEST_F(MetalMemoryTest, PagesGrowByDoublingUpToThePlanAndOnFromThere) {
  const auto pool = unlimited_pool();
  const auto memory = std::make_shared<MetalMemory>(metal_devices().at(0), pool);
  MetalPages pages(memory, 1024, 20);
  std::vector<size_t> sizes;
  for (int64_t page = 0; page < 41; ++page) {
    EXPECT_EQ(pages.allocate(), page);
    if (sizes.empty() || sizes.back() != pool->active(kCacheMemory)) sizes.push_back(pool->active(kCacheMemory));
    pages.view().host<int32_t>()[page * 256] = static_cast<int32_t>(page);
  }
  EXPECT_EQ(sizes, (std::vector<size_t>{8 << 10, 16 << 10, 20 << 10, 40 << 10, 80 << 10}));
  for (int32_t page = 0; page < 41; ++page) EXPECT_EQ(pages.view().host<int32_t>()[page * 256], page);
}

TEST_F(MetalMemoryTest, SequencesGoToTheDeviceThatHasTheFewestForItsSpeedAndForksStay) {
  const auto memory = std::make_shared<MetalMemory>(metal_devices().at(0), unlimited_pool());
  const auto pages = [&] { return std::make_shared<MetalPages>(memory, 1024, 20); };
  MetalKVCache cache(300, {pages(), pages()}, {3.0, 1.0});
  std::vector<size_t> on_device(2);
  std::vector<SequenceId> sequences;
  for (int i = 0; i < 8; ++i) {
    sequences.push_back(cache.create());
    ++on_device[cache.device(sequences.back())];
  }
  EXPECT_EQ(on_device, (std::vector<size_t>{6, 2}));
  for (const SequenceId sequence : sequences) {
    EXPECT_EQ(cache.device(cache.fork(sequence)), cache.device(sequence));
  }
  cache.free(sequences[0]);
  cache.free(sequences[0]);
  EXPECT_EQ(error_text<BatchProcessingError>([&] { cache.length(sequences[0]); }),
            "[cache] sequence 0 is not open; 15 are");
}

TEST_F(MetalMemoryTest, SpeedsOfDevicesAreMeasured) {
  fake_metal::Settings settings = two_devices();
  settings.devices[1].threads_per_second = settings.devices[0].threads_per_second / 4;
  use(settings);
  const auto backend = metal_backend();
  const auto prepared = backend->optimize_model(metal_model(), {.max_tokens = 16, .context_size = 64});
  const std::vector<double>& speeds = static_cast<const MetalModel&>(*prepared).speeds();
  ASSERT_EQ(speeds.size(), 2u);
  EXPECT_NEAR(speeds[0] / speeds[1], 4, 0.5);
}

TEST_F(MetalMemoryTest, LimitsAreMeasuredWithinTheMemoryLimit) {
  const auto pool = std::make_shared<MemoryPool>(1'000'000);
  const auto backend = metal_backend(pool);
  const DeviceLimits limits = backend->measure_limits(100'000);
  EXPECT_GT(limits.read_bytes_per_second, 0);
  EXPECT_GT(limits.multiply_adds_per_second, 0);
  EXPECT_EQ(pool->stats().active, 0u);
  EXPECT_TRUE(contains(error_text<MemoryLimitError>([&] { backend->measure_limits(2'000'000); }), "the measurement"));
  EXPECT_EQ(backend->fastest_ternary_format(), "2bit");
  EXPECT_EQ(backend->kernel_set(), "metal (Fake M1)");
}

}  // namespace
}  // namespace tritium
