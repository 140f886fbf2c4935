// One thread of every supported kernel set on the shapes of BitNet b1.58 2B-4T. Weights are cold: each call takes the
// next matrix of a pool that no cache holds. Beside every figure stands a limit measured just before and after it: the
// rate of plain reads of that pool (bytes), or of the set's product instruction on registers (integer multiply-adds).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/dispatch.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TRITIUM_X86 1
#endif

namespace {

using namespace tritium::kernels;

// Processor time of this one thread, so that other work on the machine distorts less.
class Stopwatch {
 public:
  double seconds() const { return static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC; }

 private:
  std::clock_t start_ = std::clock();
};

constexpr size_t kPoolBytes = size_t{384} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

uint64_t next_random(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// Random ternary codes, which also serve as harmless bfloat16 and float16 numbers.
const uint8_t* pool() {
  static const uint8_t* const bytes = [] {
    static std::unique_ptr<uint8_t[]> memory(new uint8_t[kPoolBytes + kHugePage]);
    auto address = (reinterpret_cast<uintptr_t>(memory.get()) + kHugePage - 1) / kHugePage * kHugePage;
    auto* first = reinterpret_cast<uint8_t*>(address);
#if defined(__linux__)
    madvise(first, kPoolBytes, MADV_HUGEPAGE);
#endif
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < kPoolBytes; i += 8) {
      uint64_t codes = next_random(state);
      codes &= ~((codes >> 1) & 0x5555555555555555u);  // 3 becomes 2
      std::memcpy(first + i, &codes, 8);
    }
    return first;
  }();
  return bytes;
}

constexpr size_t kReadBytes = size_t{128} << 20;
using Reader = void (*)(const uint8_t* bytes);

// Plain reads, with or without a prefetch kAhead bytes ahead.
template <size_t kAhead>
void read_words(const uint8_t* bytes) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < kReadBytes; i += 64) {
#if defined(__GNUC__)
    if constexpr (kAhead > 0) __builtin_prefetch(bytes + i + kAhead);
#endif
    uint64_t words[8];
    std::memcpy(words, bytes + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  benchmark::DoNotOptimize(sums);
}

#if defined(TRITIUM_X86)
// The same with registers of 64 bytes.
template <size_t kAhead>
__attribute__((target("avx512f"))) void read_vectors(const uint8_t* bytes) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  for (size_t i = 0; i < kReadBytes; i += 128) {
    if constexpr (kAhead > 0) __builtin_prefetch(bytes + i + kAhead);
    if constexpr (kAhead > 0) __builtin_prefetch(bytes + i + kAhead + 64);
    even = _mm512_add_epi64(even, _mm512_loadu_si512(bytes + i));
    odd = _mm512_add_epi64(odd, _mm512_loadu_si512(bytes + i + 64));
  }
  even = _mm512_add_epi64(even, odd);
  benchmark::DoNotOptimize(even);
}
#endif

double read_rate_once(Reader read) {
  static size_t offset = 0;
  const uint8_t* bytes = pool() + offset;
  offset = (offset + kReadBytes) % kPoolBytes;
  const Stopwatch watch;
  read(bytes);
  return static_cast<double>(kReadBytes) / watch.seconds();
}

// The best of several passes: what the memory can do at most.
double read_rate() {
  double best = 0.0;
  for (Reader read : {read_words<0>, read_words<4096>}) {
    best = std::max({best, read_rate_once(read), read_rate_once(read)});
  }
#if defined(TRITIUM_X86)
  if (!__builtin_cpu_supports("avx512f")) return best;
  for (Reader read : {read_vectors<0>, read_vectors<4096>}) {
    best = std::max({best, read_rate_once(read), read_rate_once(read)});
  }
#endif
  return best;
}

#if defined(TRITIUM_X86)
__attribute__((target("avx2"))) double maddubs_rate() {
  constexpr int kChains = 8;
  constexpr int64_t kRounds = 1000000;
  if (!__builtin_cpu_supports("avx2")) return 0.0;
  __m256i w = _mm256_set1_epi8(1), x = _mm256_set1_epi8(2), sums[kChains] = {};
  const Stopwatch watch;
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kChains; ++j) {
      __asm__ volatile("" : "+x"(w));  // so that no product is computed once for all
      sums[j] = _mm256_add_epi16(sums[j], _mm256_maddubs_epi16(w, x));
    }
  }
  benchmark::DoNotOptimize(sums);
  return static_cast<double>(kRounds) * kChains * 32 / watch.seconds();
}

__attribute__((target("avx512f,avx512vnni"))) double vpdpbusd_rate() {
  constexpr int kChains = 16;
  constexpr int64_t kRounds = 500000;
  if (!__builtin_cpu_supports("avx512vnni")) return 0.0;
  __m512i w = _mm512_set1_epi8(1), x = _mm512_set1_epi8(2), sums[kChains];
#pragma GCC unroll 16
  for (int j = 0; j < kChains; ++j) sums[j] = _mm512_setzero_si512();
  const Stopwatch watch;
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], w, x);
      __asm__ volatile("" : "+v"(sums[j]));
    }
  }
  // Only this sum has an address, so that the chains stay in registers.
  __m512i sum = sums[0];
#pragma GCC unroll 16
  for (int j = 1; j < kChains; ++j) sum = _mm512_add_epi32(sum, sums[j]);
  benchmark::DoNotOptimize(sum);
  return static_cast<double>(kRounds) * kChains * 64 / watch.seconds();
}
#else
double maddubs_rate() { return 0.0; }
double vpdpbusd_rate() { return 0.0; }
#endif

// Rate of the instruction with which a set multiplies ternary weights.
using RateFunction = double (*)();
RateFunction product_rate(const KernelSet& set) {
  return std::strcmp(set.name, "avx512_vnni") == 0 ? vpdpbusd_rate : maddubs_rate;
}

// Runs `call` for every iteration and reports its rate beside the limit, which is measured before and after.
template <class Call>
void measure(benchmark::State& state, double amount, const char* unit, double (*limit_rate)(), Call call) {
  const double before = limit_rate ? limit_rate() : 0.0;
  call();
  const Stopwatch watch;
  for (auto _ : state) call();
  const double rate = amount * static_cast<double>(state.iterations()) / watch.seconds();
  const double limit = limit_rate ? (before + limit_rate()) / 2 : 0.0;
  state.counters[unit] = rate * 1e-9;
  if (limit == 0.0) return;
  state.counters["limit"] = limit * 1e-9;
  state.counters["ratio"] = rate / limit;
}

void bench_ternary(benchmark::State& state, const KernelSet& set, bool gemm, int64_t rows, int64_t columns,
                   int64_t tokens) {
  const int64_t panels = panel_count(rows), bytes = panels * panel_bytes(columns);
  std::vector<int8_t> q(static_cast<size_t>(tokens * columns));
  std::vector<int32_t> sums(static_cast<size_t>(tokens)), acc(static_cast<size_t>(tokens * panels * kPanelRows));
  uint64_t random = 7;
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = static_cast<int8_t>(next_random(random) % 255 - 127);
    sums[i / static_cast<size_t>(columns)] += q[i];
  }
  int64_t offset = 0;
  const auto call = [&] {
    const TernaryMatmul problem = {pool() + offset, panels, columns, q.data(), sums.data(), tokens, acc.data()};
    gemm ? set.ternary_gemm(problem) : set.ternary_gemv(problem);
    offset += bytes;
    if (offset + bytes > static_cast<int64_t>(kPoolBytes)) offset = 0;
  };
  if (tokens == 1) {
    measure(state, static_cast<double>(bytes), "GB/s", read_rate, call);
  } else {
    measure(state, static_cast<double>(rows * columns * tokens), "GMAC/s", product_rate(set), call);
  }
}

void bench_dense(benchmark::State& state, const KernelSet& set, Element element, int64_t tokens) {
  constexpr int64_t kRows = 8192, kColumns = 2560;
  const int64_t bytes = kRows * kColumns * (element == Element::kF32 ? 4 : 2);
  std::vector<float> x(static_cast<size_t>(tokens * kColumns), 0.5f), y(static_cast<size_t>(tokens * kRows));
  int64_t offset = 0;
  measure(state, static_cast<double>(bytes), "GB/s", read_rate, [&] {
    set.dense_matmul({pool() + offset, element, kColumns, kRows, x.data(), tokens, y.data(), kRows});
    offset += bytes;
    if (offset + bytes > static_cast<int64_t>(kPoolBytes)) offset = 0;
  });
}

void bench_quantize(benchmark::State& state, const KernelSet& set, int64_t columns) {
  std::vector<float> x(static_cast<size_t>(columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) - 125.0f;
  std::vector<int8_t> q(static_cast<size_t>(padded_columns(columns)));
  QuantizedRow row;
  measure(state, static_cast<double>(4 * columns), "GB/s", nullptr, [&] {
    set.quantize(x.data(), columns, q.data(), &row);
    benchmark::ClobberMemory();
  });
}

template <class... Args>
void add_benchmark(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)->Unit(benchmark::kMicrosecond);
}

void add_benchmarks(const KernelSet& set) {
  const std::string prefix = std::string(set.name) + "/";
  constexpr int64_t kShapes[][2] = {{2560, 2560}, {640, 2560}, {6912, 2560}, {2560, 6912}};
  for (const auto& [rows, columns] : kShapes) {
    const std::string shape = std::to_string(rows) + "x" + std::to_string(columns);
    add_benchmark(prefix + "gemv/" + shape, bench_ternary, std::cref(set), false, rows, columns, int64_t{1});
    for (int64_t tokens : {1, 2, 4, 8, 32, 128, 512}) {
      add_benchmark(prefix + "gemm/" + shape + "/M:" + std::to_string(tokens), bench_ternary, std::cref(set), true,
                    rows, columns, tokens);
    }
  }
  for (int64_t tokens : {1, 4}) {
    const std::string suffix = "8192x2560/M:" + std::to_string(tokens);
    add_benchmark(prefix + "dense_bf16/" + suffix, bench_dense, std::cref(set), Element::kBF16, tokens);
    add_benchmark(prefix + "dense_f16/" + suffix, bench_dense, std::cref(set), Element::kF16, tokens);
  }
  for (int64_t columns : {2560, 6912}) {
    add_benchmark(prefix + "quantize/" + std::to_string(columns), bench_quantize, std::cref(set), columns);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const KernelSet* const* set = compiled_kernel_sets(); *set; ++set) {
    if (is_supported(**set)) add_benchmarks(**set);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
