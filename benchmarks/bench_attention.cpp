// Attention of every supported kernel set at the geometry of BitNet b1.58 2B-4T, all layers of one pass after the
// other, so that the pages of a long context are cold. Decode: a token after a context; beside its time stands what
// reading its keys and values would take at the rate that the same threads read memory, measured just before and after.
// Prefill: 256 tokens after a context; beside its rate stands that of the set's fma on registers alone.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu_kv_cache.h"
#include "backend/cpu_operators.h"
#include "backend/measure_limits.h"
#include "kernels/dispatch.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TRITIUM_X86 1
#endif

namespace {

using namespace tritium;

constexpr int64_t kLayers = 30, kHeads = 20, kKVHeads = 5, kHeadDim = 128, kMaxTokens = 256, kMaxContext = 4608;
constexpr size_t kReadBytes = size_t{256} << 20;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

ModelConfig geometry() {
  ModelConfig config;
  config.layers = kLayers;
  config.heads = kHeads;
  config.kv_heads = kKVHeads;
  config.head_dim = kHeadDim;
  return config;
}

// Multiply-adds per second of one thread's vector fma, on registers alone; 0 where it is not known.
#if defined(TRITIUM_X86)
constexpr int64_t kRounds = 500000;
constexpr int kChains = 12;

__attribute__((target("avx2,fma"))) double fma_rate_256() {
  __m256 one = _mm256_set1_ps(1.0f), sums[kChains] = {};
  const auto begin = Clock::now();
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) {
      sums[j] = _mm256_fmadd_ps(one, one, sums[j]);
      __asm__ volatile("" : "+x"(sums[j]));
    }
  }
  return static_cast<double>(kRounds) * kChains * 8 / seconds_since(begin);
}

__attribute__((target("avx512f"))) double fma_rate_512() {
  __m512 one = _mm512_set1_ps(1.0f), sums[kChains];
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j) sums[j] = _mm512_setzero_ps();
  const auto begin = Clock::now();
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) {
      sums[j] = _mm512_fmadd_ps(one, one, sums[j]);
      __asm__ volatile("" : "+v"(sums[j]));
    }
  }
  return static_cast<double>(kRounds) * kChains * 16 / seconds_since(begin);
}

double fma_rate(const kernels::KernelSet& set) {
  const std::string name = set.name;
  if (name.starts_with("avx512")) return fma_rate_512();
  return name == "scalar" ? 0.0 : fma_rate_256();
}
#else
double fma_rate(const kernels::KernelSet&) { return 0.0; }
#endif

// The attention steps of one sequence's passes.
class Runner {
 public:
  Runner(const kernels::KernelSet& set, KVDType dtype, int threads, int64_t context)
      : set_(set), threads_(threads), shape_{kLayers, kKVHeads, kHeadDim, dtype}, cache_(shape_, kMaxContext, pool_) {
    plan_.options = {OptimizationLevel::kBasic, kMaxTokens, kMaxContext, 1, dtype};
    int64_t end = 0;
    for (int64_t width : {kHeads * kHeadDim, kKVHeads * kHeadDim, kKVHeads * kHeadDim, kHeads * kHeadDim}) {
      plan_.values.push_back({"", Storage::kFloat, RowKind::kTokens, width, end});
      end += plan_.values.back().bytes(kMaxTokens);
    }
    plan_.output = -1;
    frequencies_.assign(kHeadDim / 2, 0.01f);
    ropes_.emplace_back(frequencies_, kMaxContext);
    arena_ = pool_->allocate(static_cast<size_t>(end + attention_scratch_bytes(geometry(), plan_.options, threads)),
                             kArenaMemory);
    scratch_ = arena_.as<std::byte>() + end;
    float* values = arena_.as<float>();
    for (int64_t i = 0; i < end / 4; ++i) values[i] = static_cast<float>(i * 7919 % 2001 - 1000) * 1e-3f;
    sequence_ = cache_.create();
    cache_.append(sequence_, context);
    constexpr int kSmallNumbers = 0x2B;  // 0.056 in float16, 43 in int8, 6e-13 as a scale
    for (uint8_t* page : cache_.pages(sequence_)) {
      std::memset(page, kSmallNumbers, static_cast<size_t>(shape_.page_bytes()));
    }
  }

  void feed(int64_t tokens) {
    const int64_t position = cache_.length(sequence_);
    cache_.append(sequence_, tokens);
    const std::vector<uint8_t*> pages = cache_.pages(sequence_);
    ForwardPass pass{.plan = plan_,
                     .weights = weights_,
                     .rope_tables = ropes_,
                     .kernels = set_,
                     .threads = threads_,
                     .cache_shape = shape_,
                     .arena = arena_.as<std::byte>(),
                     .attention_scratch = scratch_};
    pass.token_ids.resize(static_cast<size_t>(tokens));
    pass.attention_tiles.add(0, position, tokens, pages, kHeads / kKVHeads);
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const AttentionStep attention{{static_cast<int>(layer), kHeads, kKVHeads, kHeadDim}, true, frequencies_};
      const Step step{"", attention, {0, 1, 2}, {3}};
      run_attention(pass, step, attention);
    }
  }
  void forget(int64_t tokens) { cache_.truncate(sequence_, cache_.length(sequence_) - tokens); }

  ThreadPool& threads() { return threads_; }
  double bytes(int64_t context) const {
    return static_cast<double>(shape_.head_bytes() * kLayers * kKVHeads) * static_cast<double>(context) /
           kTokensPerPage;
  }

 private:
  const kernels::KernelSet& set_;
  ThreadPool threads_;
  std::shared_ptr<MemoryPool> pool_ = std::make_shared<MemoryPool>(SIZE_MAX);
  KVCacheShape shape_;
  CpuKVCache cache_;
  ExecutionPlan plan_;
  PackedWeights weights_;
  std::vector<float> frequencies_;
  std::vector<RopeTable> ropes_;
  MemoryPool::Buffer arena_;
  std::byte* scratch_;
  SequenceId sequence_;
};

double read_rate(ThreadPool& threads) {
  static const auto pool = std::make_shared<MemoryPool>(SIZE_MAX);
  static const MemoryPool::Buffer memory = [] {
    MemoryPool::Buffer buffer = pool->allocate(kReadBytes, kArenaMemory);
    std::fill_n(buffer.as<std::byte>(), kReadBytes, std::byte{1});
    return buffer;
  }();
  return measure_read_rate(threads, {memory.as<std::byte>(), kReadBytes});
}

void bench_decode(benchmark::State& state, const kernels::KernelSet& set, KVDType dtype, int threads, int64_t context) {
  Runner runner(set, dtype, threads, context - 1);
  double limit = read_rate(runner.threads());
  for (auto _ : state) {
    runner.feed(1);
    runner.forget(1);
  }
  limit = (limit + read_rate(runner.threads())) / 2;
  const double bytes = runner.bytes(context);
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, rate);
  state.counters["limit"] = limit * 1e-9;
  state.counters["ratio"] = benchmark::Counter(bytes / limit, rate);
}

void bench_prefill(benchmark::State& state, const kernels::KernelSet& set, KVDType dtype, int threads,
                   int64_t context) {
  Runner runner(set, dtype, threads, context);
  double limit = fma_rate(set);
  for (auto _ : state) {
    runner.feed(kMaxTokens);
    runner.forget(kMaxTokens);
  }
  limit = (limit + fma_rate(set)) / 2 * threads;
  const double keys = static_cast<double>(kMaxTokens * context + kMaxTokens * (kMaxTokens + 1) / 2);
  const double multiply_adds = 2 * keys * kHeads * kHeadDim * kLayers;
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["Gfma/s"] = benchmark::Counter(multiply_adds * 1e-9, rate);
  if (limit == 0) return;
  state.counters["limit"] = limit * 1e-9;
  state.counters["ratio"] = benchmark::Counter(multiply_adds / limit, rate);
}

template <class Bench>
void add(const std::string& name, Bench bench, const kernels::KernelSet& set, KVDType dtype, int threads,
         int64_t context) {
  const std::string full = std::string(set.name) + "/" + std::string(kv_dtype_name(dtype)) + "/" + name +
                           "/context:" + std::to_string(context) + "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(full.c_str(), bench, std::cref(set), dtype, threads, context)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const kernels::KernelSet* const* set = kernels::compiled_kernel_sets(); *set; ++set) {
    if (!kernels::is_supported(**set)) continue;
    for (KVDType dtype : {KVDType::kF16, KVDType::kInt8}) {
      for (int threads : {1, 2}) {
        for (int64_t context : {512, 4096}) add("decode", bench_decode, **set, dtype, threads, context);
        for (int64_t context : {0, 256, 4096}) add("prefill", bench_prefill, **set, dtype, threads, context);
      }
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
