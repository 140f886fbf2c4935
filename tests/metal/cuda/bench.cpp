// Times the kernels of metal/kernels on an NVIDIA GPU at the shapes of BitNet b1.58 2B-4T, beside the rate at which the
// GPU reads its memory. Weights and KV pages come from memory: launches take turns over copies that together are eight
// times the L2 cache. Activations stay in it, as they do between the kernels of a model. A launch is timed after the
// one before it has ended, and once more with four under way at a time, which hides how long a launch takes to begin
// and to end.
//
// Usage: bench_metal_on_cuda [part of a kernel's name]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "emulator.h"
#include "metal_on_cuda.h"
#include "read_bandwidth.h"

namespace {

using emulator::Size;
using metal_on_cuda::check;
using namespace tritium;

constexpr int kLaunches = 64;  // of a graph, at least
constexpr int kRepeats = 21;

uint32_t random_bits() {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>(state >> 32);
}

enum class Kind { kTernary, kCodes, kFloats, kHalves, kZeros };

std::vector<uint32_t> numbers(Kind kind, size_t bytes) {
  std::vector<uint32_t> words((bytes + 3) / 4);
  for (uint32_t& word : words) {
    const uint32_t bits = random_bits();
    switch (kind) {
      case Kind::kTernary:  // codes 0 to 2
        word = bits & ~((bits >> 1 & 0x55555555u) & bits);
        break;
      case Kind::kCodes:
        word = bits;
        break;
      case Kind::kFloats:  // ±1 to 2
        word = (bits & 0x807FFFFFu) | 0x3F800000u;
        break;
      case Kind::kHalves:  // float16 or the upper halves of floats, small
        word = (bits & 0x83FF83FFu) | 0x3C003C00u;
        break;
      case Kind::kZeros:
        word = 0;
    }
  }
  return words;
}

struct Free {
  void operator()(void* memory) const { cudaFree(memory); }
};
using Memory = std::unique_ptr<void, Free>;

Memory allocate(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return Memory(memory);
}

struct Gpu {
  cudaDeviceProp properties;
  cudaStream_t stream, others[4];
  cudaEvent_t fork, joins[4];
  double read_rate = 0;  // bytes a second

  Gpu() {
    check(cudaGetDeviceProperties(&properties, 0), "no NVIDIA GPU");
    check(cudaStreamCreate(&stream), "stream");
    check(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), "event");
    for (cudaStream_t& other : others) check(cudaStreamCreate(&other), "stream");
    for (cudaEvent_t& join : joins) check(cudaEventCreateWithFlags(&join, cudaEventDisableTiming), "event");
  }

  // Seconds of `count` launches in as many lanes, as a graph, the median.
  double time(size_t count, size_t lanes, const std::function<void(size_t, cudaStream_t)>& launch) const {
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    cudaEvent_t begin, end;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    check(cudaEventRecord(fork, stream), "fork");
    for (size_t lane = 1; lane < lanes; ++lane) check(cudaStreamWaitEvent(others[lane], fork), "fork");
    for (size_t i = 0; i < count; ++i) launch(i, i % lanes == 0 ? stream : others[i % lanes]);
    for (size_t lane = 1; lane < lanes; ++lane) {
      check(cudaEventRecord(joins[lane], others[lane]), "join");
      check(cudaStreamWaitEvent(stream, joins[lane]), "join");
    }
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&ready, graph, 0), "graph");
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    std::vector<double> seconds;
    for (int repeat = 0; repeat < kRepeats + 2; ++repeat) {
      check(cudaEventRecord(begin, stream), "event");
      check(cudaGraphLaunch(ready, stream), "graph");
      check(cudaEventRecord(end, stream), "event");
      check(cudaStreamSynchronize(stream), "run");
      float milliseconds;
      check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
      if (repeat >= 2) seconds.push_back(milliseconds * 1e-3);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
    return seconds[kRepeats / 2];
  }

  void measure_read_rate() {
    const size_t bytes = size_t{4} << 30;
    const Memory memory = allocate(bytes), result = allocate(4);
    check(cudaMemset(memory.get(), 0x5A, bytes), "memset");
    for (const int blocks_of_each : {1, 2, 4}) {
      const int blocks = properties.multiProcessorCount * blocks_of_each;
      const double seconds = time(1, 1, [&](size_t, cudaStream_t into) {
        read_memory(memory.get(), bytes, static_cast<unsigned*>(result.get()), blocks, into);
      });
      read_rate = std::max(read_rate, static_cast<double>(bytes) / seconds);
    }
  }
};

// One kernel at one shape.
class Case {
 public:
  Case(const Gpu& gpu, const std::string& kernel, const std::string& shape)
      : gpu_(gpu), kernel_(metal_on_cuda::find_kernel(kernel)), shape_(shape), buffers_(31) {}

  // From memory: copies take turns.
  Case& from_memory(int index, Kind kind, size_t bytes) { return buffer(index, kind, bytes, true); }
  Case& from_cache(int index, Kind kind, size_t bytes) { return buffer(index, kind, bytes, false); }
  template <class T>
  Case& from_cache(int index, const std::vector<T>& values) {
    place(index, values.data(), values.size() * sizeof(T), 1);
    bytes_ += values.size() * sizeof(T);
    return *this;
  }
  // Memory of that size, of which a launch reads or writes only some.
  Case& partly(int index, Kind kind, size_t bytes, size_t touched) {
    buffer(index, kind, bytes, false);
    bytes_ += touched - bytes;
    return *this;
  }
  template <class T>
  Case& argument(int index, const T& value) {
    std::vector<std::byte>& bytes = arguments_.emplace_back(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    buffers_[static_cast<size_t>(index)] = {bytes.data()};
    return *this;
  }
  template <class T>
  Case& constant(const std::string& name, T value) {
    metal_on_cuda::set_constant(kernel_, name, &value, sizeof value);
    return *this;
  }

  // Prints a row.
  void run(Size groups, uint32_t threads) const {
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, kernel_.code), "attributes");
    size_t copies = 1;
    for (const auto& buffer : buffers_) copies = std::max(copies, buffer.size());
    const size_t launches = (kLaunches + copies - 1) / copies * copies;
    const auto time = [&](size_t lanes) {
      const auto launch = [&](size_t i, cudaStream_t stream) {
        void* memory[31] = {};
        for (size_t index = 0; index < buffers_.size(); ++index) {
          if (!buffers_[index].empty()) memory[index] = buffers_[index][i % buffers_[index].size()];
        }
        kernel_.launch({{groups.x, groups.y, groups.z}, {threads}, stream}, memory);
      };
      return gpu_.time(launches, lanes, launch) / static_cast<double>(launches);
    };
    const double alone = time(1), together = time(4);
    const auto rate = [&](double seconds) { return static_cast<double>(bytes_) / seconds; };
    std::printf("| %s | %s | %u x %u | %d | %zu | %.3f | %.2f | %.0f | %.0f %% | %.2f | %.0f | %.0f %% |\n",
                kernel_.signature.name, shape_.c_str(), groups.volume(), threads, attributes.numRegs,
                attributes.sharedSizeBytes, 1e-6 * static_cast<double>(bytes_), 1e6 * alone, 1e-9 * rate(alone),
                100 * rate(alone) / gpu_.read_rate, 1e6 * together, 1e-9 * rate(together),
                100 * rate(together) / gpu_.read_rate);
    std::fflush(stdout);
  }

 private:
  Case& buffer(int index, Kind kind, size_t bytes, bool rotates) {
    const size_t enough = 8 * static_cast<size_t>(gpu_.properties.l2CacheSize);
    const std::vector<uint32_t> words = numbers(kind, bytes);
    place(index, words.data(), bytes, rotates ? std::max<size_t>(1, enough / bytes) : 1);
    bytes_ += bytes;
    return *this;
  }
  void place(int index, const void* values, size_t bytes, size_t copies) {
    for (size_t i = 0; i < copies; ++i) {
      memory_.push_back(allocate(bytes));
      check(cudaMemcpy(memory_.back().get(), values, bytes, cudaMemcpyHostToDevice), "upload");
      buffers_[static_cast<size_t>(index)].push_back(memory_.back().get());
    }
  }

  const Gpu& gpu_;
  const metal_on_cuda::Kernel& kernel_;
  std::string shape_;
  size_t bytes_ = 0;
  std::vector<std::vector<void*>> buffers_;  // by index
  std::vector<Memory> memory_;
  std::vector<std::vector<std::byte>> arguments_;
};

// The geometry of BitNet b1.58 2B-4T.
constexpr uint32_t kHidden = 2560, kInner = 6912, kHeads = 20, kKvHeads = 5, kHeadDim = 128, kVocabulary = 128256;

std::string size_text(uint32_t a, uint32_t b) { return std::to_string(a) + "x" + std::to_string(b); }
std::string tokens_text(uint32_t tokens) { return std::to_string(tokens) + (tokens == 1 ? " token" : " tokens"); }

void ternary(const Gpu& gpu, const std::string& kernel, uint32_t rows, uint32_t columns, uint32_t tokens) {
  const uint32_t panels = (rows + kPanelRows - 1) / kPanelRows;
  Case bench(gpu, kernel, size_text(rows, columns) + ", " + tokens_text(tokens));
  bench.from_memory(0, Kind::kTernary, size_t{panels} * kPanelRows * columns / 4)
      .from_cache(1, Kind::kCodes, size_t{tokens} * columns)
      .from_cache(2, Kind::kFloats, 4 * tokens)
      .from_cache(3, Kind::kFloats, 4)
      .from_cache(6, Kind::kZeros, size_t{4} * tokens * rows)
      .argument(7, TernaryArguments{rows, tokens, 1, columns, 0, 0, kGemvSimdgroups})
      .constant("HAS_BIAS", false)
      .constant("HAS_RESIDUAL", false)
      .constant("ACTIVATION", 0);
  if (kernel.starts_with("ternary_gemv")) {
    bench.run({panels, tokens}, 32 * kGemvSimdgroups);
  } else {
    const uint32_t tile = kernel == "ternary_gemm_8" ? 8 : 32;
    bench.run({(panels + kGemmSimdgroups - 1) / kGemmSimdgroups, (tokens + tile - 1) / tile}, 32 * kGemmSimdgroups);
  }
}

void attention(const Gpu& gpu, const std::string& kernel, uint32_t context, uint32_t rows) {
  const uint32_t pages = (context + kPageTokens - 1) / kPageTokens,
                 page_numbers = 2 * kPageTokens * kKvHeads * kHeadDim;
  const AttentionArguments shape = {rows, kHeads, kKvHeads, kHeadDim, 0, page_numbers, pages, 0.088f};
  std::vector<uint32_t> table(pages), sequences(rows, 0), positions(rows);
  for (uint32_t i = 0; i < pages; ++i) table[i] = pages - 1 - i;
  for (uint32_t i = 0; i < rows; ++i) positions[i] = context - rows + i;
  const size_t cache = size_t{2} * pages * page_numbers, q = size_t{4} * rows * kHeads * kHeadDim;
  const size_t parts = size_t{4} * rows * kHeads * pages * (kHeadDim + 4);
  Case bench(gpu, kernel, "context " + std::to_string(context) + ", " + tokens_text(rows));
  if (kernel == "append_kv") {
    bench.from_cache(0, Kind::kFloats, size_t{4} * rows * kKvHeads * kHeadDim)
        .from_cache(1, Kind::kFloats, size_t{4} * rows * kKvHeads * kHeadDim)
        .partly(2, Kind::kHalves, cache, size_t{4} * rows * kKvHeads * kHeadDim)
        .from_cache(3, table)
        .from_cache(4, sequences)
        .from_cache(5, positions)
        .argument(6, shape)
        .run({(rows * kKvHeads * kHeadDim + 255) / 256}, 256);
  } else if (kernel == "attend_pages_128") {
    bench.from_cache(0, Kind::kFloats, q)
        .from_memory(1, Kind::kHalves, cache)
        .from_cache(2, table)
        .from_cache(3, sequences)
        .from_cache(4, positions)
        .from_cache(5, Kind::kZeros, parts)
        .argument(6, shape)
        .run({pages, kKvHeads, rows}, 32 * kHeads / kKvHeads);
  } else if (kernel == "merge_pages_128") {
    bench.from_cache(0, Kind::kFloats, parts)
        .from_cache(1, positions)
        .from_cache(2, Kind::kZeros, q)
        .argument(3, shape)
        .run({kHeads, rows}, 32);
  } else {
    std::vector<AttentionTile> tiles;
    for (uint32_t row = 0; row < rows; row += 16) tiles.push_back({row, std::min(16u, rows - row), 0, positions[row]});
    bench.from_cache(0, Kind::kFloats, q)
        .from_memory(1, Kind::kHalves, cache)
        .from_cache(2, table)
        .from_cache(3, tiles)
        .from_cache(4, Kind::kZeros, q)
        .argument(5, shape)
        .run({static_cast<uint32_t>(tiles.size()), kKvHeads}, 128);
  }
}

void row(const Gpu& gpu, const std::string& kernel, uint32_t columns, uint32_t rows) {
  const size_t bytes = size_t{4} * rows * columns;
  const RowArguments arguments = {columns, columns, 1e-5f};
  Case bench(gpu, kernel, size_text(rows, columns));
  bench.from_cache(0, Kind::kFloats, bytes);
  if (kernel == "quantize" || kernel == "norm_quantize") {
    if (kernel == "norm_quantize") bench.from_cache(1, Kind::kFloats, 4 * columns);
    bench.from_cache(2, Kind::kZeros, bytes / 4)
        .from_cache(3, Kind::kZeros, 4 * rows)
        .from_cache(4, Kind::kZeros, 4 * rows)
        .argument(5, arguments);
  } else if (kernel == "softmax") {
    bench.from_cache(1, Kind::kZeros, bytes).argument(2, arguments);
  } else if (kernel == "rms_norm") {
    bench.from_cache(1, Kind::kFloats, 4 * columns).from_cache(2, Kind::kZeros, bytes).argument(3, arguments);
  } else {
    bench.from_cache(1, Kind::kFloats, 4 * columns).from_cache(3, Kind::kZeros, bytes).argument(4, arguments);
    bench.constant("HAS_NORM_BIAS", false);
  }
  bench.run({rows}, 512);
}

void elements(const Gpu& gpu, const std::string& kernel, uint32_t count) {
  const size_t bytes = size_t{4} * count;
  Case bench(gpu, kernel, std::to_string(count));
  bench.from_cache(0, Kind::kFloats, bytes);
  if (kernel == "rope") {
    bench.from_cache(1, Kind::kZeros, bytes)
        .from_cache(2, Kind::kFloats, 4 * kHeadDim / 2)
        .from_cache(3, Kind::kFloats, 4 * kHeadDim / 2)
        .from_cache(4, Kind::kZeros, 4)
        .argument(5, RopeArguments{1, count / kHeadDim, kHeadDim / 2})
        .run({(count / 2 + 255) / 256}, 256);
    return;
  }
  if (kernel == "activate") {
    bench.from_cache(1, Kind::kZeros, bytes).argument(2, count).argument(3, int{kRelu2});
  } else {
    bench.from_cache(1, Kind::kFloats, bytes).from_cache(2, Kind::kZeros, bytes).argument(3, count);
    if (kernel == "gate") bench.argument(4, int{kRelu2});
  }
  bench.run({(count + 255) / 256}, 256);
}

void dense(const Gpu& gpu, const std::string& kernel, uint32_t element_bytes, uint32_t rows, uint32_t tokens) {
  Case(gpu, kernel, size_text(rows, kHidden) + ", " + tokens_text(tokens))
      .from_memory(0, element_bytes == 4 ? Kind::kFloats : Kind::kHalves, size_t{element_bytes} * rows * kHidden)
      .from_cache(1, Kind::kFloats, size_t{4} * tokens * kHidden)
      .from_cache(3, Kind::kZeros, size_t{4} * tokens * rows)
      .argument(4, DenseArguments{rows, kHidden, tokens})
      .constant("HAS_DENSE_BIAS", false)
      .run({(rows + 63) / 64, tokens == 1 ? 1 : (tokens + 3) / 4}, 256);
}

void embedding(const Gpu& gpu, const std::string& kernel, uint32_t element_bytes) {
  Case(gpu, kernel, size_text(1, kHidden))
      .from_memory(0, element_bytes == 4 ? Kind::kFloats : Kind::kHalves, size_t{element_bytes} * kHidden)
      .from_cache(1, std::vector<int32_t>{0})
      .from_cache(2, Kind::kZeros, 4 * kHidden)
      .argument(3, kHidden)
      .run({kHidden / 256}, 256);
}

void top_k(const Gpu& gpu, uint32_t k) {
  const uint32_t chunks = (kVocabulary + kTopKChunk - 1) / kTopKChunk;
  Case(gpu, "top_k", std::to_string(k) + " of " + std::to_string(kVocabulary))
      .from_cache(0, Kind::kFloats, 4 * kVocabulary)
      .from_cache(2, Kind::kZeros, 4 * chunks * k)
      .from_cache(3, Kind::kZeros, 4 * chunks * k)
      .argument(4, TopKArguments{kVocabulary, k, 0})
      .run({chunks}, 512);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string wanted = argc > 1 ? argv[1] : "";
  Gpu gpu;
  gpu.measure_read_rate();
  std::printf("%s, %d multiprocessors, %d MB of L2 cache; reads %.0f GB/s\n\n", gpu.properties.name,
              gpu.properties.multiProcessorCount, gpu.properties.l2CacheSize >> 20, 1e-9 * gpu.read_rate);
  std::printf(
      "| kernel | shape | groups x threads | registers | shared bytes | MB | us | GB/s | of the read rate "
      "| us, four at a time | GB/s | of the read rate |\n");
  std::printf("|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  const auto all = [&](const std::vector<std::string>& kernels, const auto& run) {
    for (const std::string& kernel : kernels) {
      if (kernel.find(wanted) != std::string::npos) run(kernel);
    }
  };

  for (const auto& [rows, columns] :
       {std::pair{kHidden, kHidden}, {3840u, kHidden}, {2 * kInner, kHidden}, {kHidden, kInner}}) {
    all({"ternary_gemv", "ternary_gemv_dp4a"},
        [&](const std::string& kernel) { ternary(gpu, kernel, rows, columns, 1); });
  }
  all({"ternary_gemv", "ternary_gemv_dp4a"},
      [&](const std::string& kernel) { ternary(gpu, kernel, 2 * kInner, kHidden, 4); });
  all({"ternary_gemm_8"}, [&](const std::string& kernel) { ternary(gpu, kernel, 2 * kInner, kHidden, 8); });
  for (const uint32_t tokens : {32, 128, 512}) {
    all({"ternary_gemm_32"}, [&](const std::string& kernel) { ternary(gpu, kernel, 2 * kInner, kHidden, tokens); });
  }
  all({"append_kv", "attend_pages_128", "merge_pages_128"},
      [&](const std::string& kernel) { attention(gpu, kernel, 4096, 1); });
  all({"append_kv", "attend_tiles_128"}, [&](const std::string& kernel) { attention(gpu, kernel, 512, 512); });
  for (const uint32_t columns : {kHidden, kInner}) {
    all({"quantize", "norm_quantize", "rms_norm", "layer_norm"},
        [&](const std::string& kernel) { row(gpu, kernel, columns, 1); });
  }
  all({"norm_quantize"}, [&](const std::string& kernel) { row(gpu, kernel, kHidden, 512); });
  all({"softmax"}, [&](const std::string& kernel) { row(gpu, kernel, kVocabulary, 1); });
  all({"add"}, [&](const std::string& kernel) { elements(gpu, kernel, kHidden); });
  all({"activate", "gate"}, [&](const std::string& kernel) { elements(gpu, kernel, kInner); });
  all({"rope"}, [&](const std::string& kernel) { elements(gpu, kernel, kHidden); });
  all({"embedding_f32"}, [&](const std::string& kernel) { embedding(gpu, kernel, 4); });
  all({"embedding_f16", "embedding_bf16"}, [&](const std::string& kernel) { embedding(gpu, kernel, 2); });
  all({"dense_matmul_bf16", "dense_matmul_f16"},
      [&](const std::string& kernel) { dense(gpu, kernel, 2, kVocabulary, 1); });
  all({"dense_matmul_f32"}, [&](const std::string& kernel) { dense(gpu, kernel, 4, kVocabulary, 1); });
  all({"dense_matmul_bf16_4"}, [&](const std::string& kernel) { dense(gpu, kernel, 2, kVocabulary, 4); });
  all({"top_k"}, [&](const std::string&) { top_k(gpu, 1), top_k(gpu, 40); });
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
