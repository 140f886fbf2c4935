// Every supported kernel set on the shapes of BitNet b1.58 2B-4T, with one thread and with all. Weights are cold: each
// call takes the next matrix of a pool that no cache holds. Beside every figure stand the limits, measured in turns
// with it by the same threads: the rate of plain reads of that pool, and of the set's product instruction on registers.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/measure_limits.h"
#include "base/thread_pool.h"
#include "kernels/dispatch.h"
#include "kernels/multiply_peak.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

using namespace tritium;
using namespace tritium::kernels;

constexpr int kRounds = 15;
constexpr size_t kPoolBytes = size_t{384} << 20;
constexpr size_t kReadBytes = size_t{128} << 20;  // of a measurement of the limit
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

// The next so many bytes of the pool. All who read it share one walk through it, so that nobody finds in a cache what
// another has just read.
const uint8_t* next_cold(int64_t bytes) {
  static int64_t offset = 0;
  if (offset + bytes > static_cast<int64_t>(kPoolBytes)) offset = 0;
  const uint8_t* place = pool() + offset;
  offset += bytes;
  return place;
}

ThreadPool& threads_of(int count) {
  static std::map<int, std::unique_ptr<ThreadPool>> pools;
  std::unique_ptr<ThreadPool>& threads = pools[count];
  if (!threads) threads = std::make_unique<ThreadPool>(count);
  return *threads;
}

template <class Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double multiply_rate(ThreadPool& threads, const MultiplyPeak& peak) {
  constexpr int64_t kMultiplyAdds = 100'000'000;  // of a thread
  const int64_t rounds = kMultiplyAdds / peak.multiply_adds;
  return static_cast<double>(peak.multiply_adds * rounds * threads.size()) / seconds_of([&] {
           threads.parallel_for(threads.size(),
                                [&](int64_t, int64_t, int) { benchmark::DoNotOptimize(peak.run(rounds)); });
         });
}

struct Amount {
  double bytes;  // of weights, of a call
  double multiply_adds;
};

// Each iteration is a number of calls and the limits beside them. What is reported are medians.
template <class Call>
void measure(benchmark::State& state, ThreadPool& threads, const KernelSet& set, const Amount& amount, Call call) {
  constexpr double kBytes = 64e6, kMultiplyAdds = 5e8;
  const auto calls = static_cast<int64_t>(
      std::max(1.0, std::min(kBytes / amount.bytes, kMultiplyAdds * threads.size() / amount.multiply_adds)));
  const MultiplyPeak& peak = *find_multiply_peak(set.name);
  std::vector<double> rates, reads, peaks;
  call();
  for (auto _ : state) {
    const auto* cold = reinterpret_cast<const std::byte*>(next_cold(kReadBytes));
    reads.push_back(measure_read_rate(threads, {cold, kReadBytes}, 1));
    peaks.push_back(multiply_rate(threads, peak));
    const double seconds = seconds_of([&] {
                             for (int64_t i = 0; i < calls; ++i) call();
                           }) /
                           static_cast<double>(calls);
    state.SetIterationTime(seconds);
    rates.push_back(1 / seconds);
  }
  const double rate = median(rates), read = median(reads), multiply = median(peaks);
  const double bytes = amount.bytes * rate, multiply_adds = amount.multiply_adds * rate;
  state.counters["GB/s"] = bytes * 1e-9;
  state.counters["%read"] = 100 * bytes / read;
  state.counters["GMAC/s"] = multiply_adds * 1e-9;
  state.counters["%peak"] = 100 * multiply_adds / multiply;
  // Its time as a multiple of the larger of the two that the limits allow.
  state.counters["x_limit"] = 1 / std::max(bytes / read, multiply_adds / multiply);
}

void bench_ternary(benchmark::State& state, const KernelSet& set, const TernaryFormat& format, int count, int64_t rows,
                   int64_t columns, int64_t tokens) {
  ThreadPool& threads = threads_of(count);
  const int64_t panels = panel_count(rows), bytes = format.layout.panel_bytes(columns);
  std::vector<int8_t> q(static_cast<size_t>(tokens * columns));
  std::vector<int32_t> sums(static_cast<size_t>(tokens));
  uint64_t random = 7;
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = static_cast<int8_t>(next_random(random) % 255 - 127);
    sums[i / static_cast<size_t>(columns)] += q[i];
  }
  // Tiles of tokens and panels as the CPU backend has them.
  const int64_t tile_tokens = std::min<int64_t>(tokens, 128), tile_panels = 8192 / kPanelRows / tile_tokens / 4 * 4;
  const auto product = tokens == 1 ? format.gemv : format.gemm;
  measure(
      state, threads, set, {static_cast<double>(panels * bytes), static_cast<double>(rows * columns * tokens)}, [&] {
        const uint8_t* weights = next_cold(panels * bytes);
        threads.parallel_for(panels, [&](int64_t begin, int64_t end, int) {
          alignas(64) int32_t acc[8192];
          for (int64_t panel = begin; panel < end; panel += tile_panels) {
            for (int64_t token = 0; token < tokens; token += tile_tokens) {
              product({weights + panel * bytes, std::min(tile_panels, end - panel), columns, q.data() + token * columns,
                       sums.data() + token, std::min(tile_tokens, tokens - token), acc});
            }
          }
          benchmark::DoNotOptimize(acc);
        });
      });
}

void bench_dense(benchmark::State& state, const KernelSet& set, Element element, int count, int64_t tokens) {
  constexpr int64_t kRows = 8192, kColumns = 2560;
  ThreadPool& threads = threads_of(count);
  const int64_t row_bytes = kColumns * (element == Element::kF32 ? 4 : 2);
  std::vector<float> x(static_cast<size_t>(tokens * kColumns), 0.5f), y(static_cast<size_t>(tokens * kRows));
  measure(state, threads, set, {static_cast<double>(kRows * row_bytes), static_cast<double>(kRows * kColumns * tokens)},
          [&] {
            const uint8_t* weights = next_cold(kRows * row_bytes);
            threads.parallel_for(kRows, [&](int64_t begin, int64_t end, int) {
              set.dense_matmul({weights + begin * row_bytes, element, kColumns, end - begin, x.data(), tokens,
                                y.data() + begin, kRows});
            });
          });
}

void bench_quantize(benchmark::State& state, const KernelSet& set, int64_t columns) {
  std::vector<float> x(static_cast<size_t>(columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) - 125.0f;
  std::vector<int8_t> q(static_cast<size_t>(padded_columns(columns)));
  QuantizedRow row;
  for (auto _ : state) {
    set.quantize(x.data(), columns, q.data(), &row);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * columns * 4);
}

template <class... Args>
void add_rounds(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)
      ->Unit(benchmark::kMicrosecond)
      ->UseManualTime()
      ->Iterations(kRounds);
}

template <class... Args>
void add_benchmark(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)->Unit(benchmark::kMicrosecond);
}

void add_benchmarks(const KernelSet& set, int threads) {
  const std::string name = set.name, suffix = "/threads:" + std::to_string(threads);
  constexpr int64_t kShapes[][2] = {{2560, 2560}, {640, 2560}, {6912, 2560}, {2560, 6912}};
  for (const TernaryFormat& format : set.ternary) {
    if (!format.layout.name) continue;
    for (const auto& [rows, columns] : kShapes) {
      for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 32, 128, 512}) {
        add_rounds(name + "/" + format.layout.name + "/" + std::to_string(rows) + "x" + std::to_string(columns) +
                       "/M:" + std::to_string(tokens) + suffix,
                   bench_ternary, std::cref(set), std::cref(format), threads, rows, columns, tokens);
      }
    }
  }
  for (int64_t tokens : {1, 4}) {
    const std::string shape = "8192x2560/M:" + std::to_string(tokens) + suffix;
    add_rounds(name + "/dense_bf16/" + shape, bench_dense, std::cref(set), Element::kBF16, threads, tokens);
    add_rounds(name + "/dense_f16/" + shape, bench_dense, std::cref(set), Element::kF16, threads, tokens);
  }
}

void add_benchmarks_of_one_thread(const KernelSet& set) {
  const std::string name = set.name;
  for (int64_t columns : {2560, 6912}) {
    add_benchmark(name + "/quantize/" + std::to_string(columns), bench_quantize, std::cref(set), columns);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const int all = default_thread_count();
  for (const KernelSet* const* set = compiled_kernel_sets(); *set; ++set) {
    if (!is_supported(**set)) continue;
    add_benchmarks(**set, 1);
    if (all > 1) add_benchmarks(**set, all);
    add_benchmarks_of_one_thread(**set);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
