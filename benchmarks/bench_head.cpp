// The output head of BitNet b1.58 2B-4T (128256 x 2560, bfloat16) in all its formats, over Gaussian and heavy-tailed
// weights, and the choice of a token from its logits. Beside each head stand the rate at which it read the bytes that
// it is about, the rate of plain reads measured just before and after it, and the ratio of the two.
#include <benchmark/benchmark.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "backend/measure_limits.h"
#include "backend/output_head.h"
#include "backend/select_kernels.h"
#include "engine/sampler.h"

namespace {

using namespace tritium;

constexpr int64_t kRows = 128256, kColumns = 2560;

// splitmix64
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

enum class Tails { kGaussian, kHeavy };

const char* name_of(Tails tails) { return tails == Tails::kGaussian ? "gaussian" : "heavy_tailed"; }

// 65536 values of a standard normal or of Student's t with 3 degrees of freedom.
std::vector<float> values_of(Tails tails) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::student_t_distribution<float> student(3);
  std::vector<float> values(1 << 16);
  for (float& value : values) value = tails == Tails::kGaussian ? normal(random) : student(random);
  return values;
}

struct Head {
  std::unique_ptr<uint16_t[]> weights{new uint16_t[kRows * kColumns]};
  std::vector<std::vector<float>> x;  // activations of a few tokens
  StoredTensor tensor;
  DenseMatrix matrix;

  explicit Head(Tails tails, ThreadPool& threads) {
    const std::vector<float> values = values_of(tails);
    threads.parallel_for(kRows, [&](int64_t begin, int64_t end, int) {
      uint64_t state = static_cast<uint64_t>(begin);
      for (int64_t i = begin * kColumns; i < end * kColumns; ++i) {
        const auto bits = std::bit_cast<uint32_t>(0.02f * values[next_random(state) >> 48]);
        weights[static_cast<size_t>(i)] = static_cast<uint16_t>(bits >> 16);
      }
    });
    const size_t bytes = kRows * kColumns * 2;
    tensor = {"head",
              DType::kBF16,
              Encoding::kPlain,
              {kRows, kColumns},
              MappedFile::lend({reinterpret_cast<const std::byte*>(weights.get()), bytes}, nullptr, "head"),
              0,
              bytes};
    matrix = {tensor.data(), kernels::Element::kBF16, kRows, kColumns, {}};
    std::mt19937_64 random(3);
    std::normal_distribution<float> normal;
    for (int i = 0; i < 8; ++i) {
      x.emplace_back(kColumns);
      for (float& value : x.back()) value = normal(random);
    }
  }
};

const Head& head_of(Tails tails) {
  static std::map<Tails, std::unique_ptr<Head>> heads;
  std::unique_ptr<Head>& head = heads[tails];
  if (!head) {
    heads.clear();  // one at a time fits most machines
    ThreadPool threads(default_thread_count());
    heads[tails] = std::make_unique<Head>(tails, threads);
  }
  return *heads[tails];
}

// Of all its calls together, measured as real time.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double read_rate(ThreadPool& threads, const Head& head) {
  return measure_read_rate(threads, {reinterpret_cast<const std::byte*>(head.weights.get()), size_t{256} << 20});
}

template <class Call>
void measure(benchmark::State& state, ThreadPool& threads, const Head& head, double bytes, Call call) {
  call(0);
  const double before = read_rate(threads, head);
  size_t token = 0;
  const Stopwatch watch;
  for (auto _ : state) call(token++ % head.x.size());
  const double rate = bytes * static_cast<double>(state.iterations()) / watch.seconds();
  const double limit = (before + read_rate(threads, head)) / 2;
  state.counters["MB"] = bytes * 1e-6;
  state.counters["GB/s"] = rate * 1e-9;
  state.counters["limit"] = limit * 1e-9;
  state.counters["ratio"] = rate / limit;
}

void bench_full(benchmark::State& state, Tails tails, int thread_count) {
  const Head& head = head_of(tails);
  ThreadPool threads(thread_count);
  const kernels::KernelSet& kernels = select_kernel_set();
  std::vector<float> y(kRows);
  measure(state, threads, head, static_cast<double>(head.tensor.bytes), [&](size_t token) {
    threads.parallel_for(kRows, [&](int64_t begin, int64_t end, int) {
      kernels.dense_matmul({head.matrix.row(begin), head.matrix.element, kColumns, end - begin, head.x[token].data(), 1,
                            y.data() + begin, kRows});
    });
  });
}

void bench_packed(benchmark::State& state, Tails tails, int thread_count, HeadFormat format, int64_t best) {
  const Head& head = head_of(tails);
  ThreadPool threads(thread_count);
  MemoryPool pool(SIZE_MAX);
  const HeadStep step{0, format};
  const auto packed = pack_head(head.tensor, step.bits(), select_kernel_set(), threads, pool);
  CandidateQuery query;
  query.best = best;
  std::vector<float> y(kRows), scratch(static_cast<size_t>(head_scratch_size(kRows, 1)));
  HeadStatistics statistics;
  measure(state, threads, head, static_cast<double>(packed->bytes()), [&](size_t token) {
    OutputRequest request{step.screens() ? &query : nullptr};
    run_head({*packed, head.matrix, head.tensor, step.screens(), select_kernel_set(), threads}, head.x[token].data(),
             {&request, 1}, y.data(), scratch.data(), &statistics);
  });
  if (statistics.tokens == 0) return;
  state.counters["rows"] = static_cast<double>(statistics.rows) / static_cast<double>(statistics.tokens);
  state.counters["full"] = static_cast<double>(statistics.full_tokens);
}

void bench_pack(benchmark::State& state, int thread_count, int bits) {
  const Head& head = head_of(Tails::kGaussian);
  ThreadPool threads(thread_count);
  MemoryPool pool(SIZE_MAX);
  for (auto _ : state) pack_head(head.tensor, bits, select_kernel_set(), threads, pool);
}

void bench_sampling(benchmark::State& state, SamplingOptions options) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> logits(kRows);
  for (float& logit : logits) logit = 3 * normal(random);
  Sampler sampler(options);
  std::vector<int32_t> prompt(64);
  for (int32_t& id : prompt) id = static_cast<int32_t>(random() % kRows);
  sampler.observe(prompt);
  for (auto _ : state) benchmark::DoNotOptimize(sampler.sample(logits));
}

template <class... Args>
void add(const std::string& name, Args... args) {
  benchmark::RegisterBenchmark(name.c_str(), args...)->Unit(benchmark::kMillisecond)->UseRealTime();
}

void add_heads(Tails tails) {
  const std::vector<std::pair<HeadFormat, int64_t>> formats = {
      {HeadFormat::kScreened, 1},   {HeadFormat::kScreened, 40}, {HeadFormat::kScreened8, 1},
      {HeadFormat::kScreened8, 40}, {HeadFormat::kInt8, 0},      {HeadFormat::kInt4, 0}};
  for (int threads : {1, 2}) {
    const std::string suffix = std::string("/") + name_of(tails) + "/threads:" + std::to_string(threads);
    add("head/full" + suffix, bench_full, tails, threads);
    for (const auto& [format, best] : formats) {
      const std::string what = best == 0 ? "" : "/best:" + std::to_string(best);
      add("head/" + std::string(head_format_name(format)) + what + suffix, bench_packed, tails, threads, format, best);
    }
  }
}

void add_sampling(const std::string& name, void (*change)(SamplingOptions& options)) {
  SamplingOptions options;
  change(options);
  add("sampling/" + name, bench_sampling, options);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  add_sampling("greedy", [](SamplingOptions&) {});
  add_sampling("greedy_with_penalty", [](SamplingOptions& o) { o.repetition_penalty = 1.1f; });
  add_sampling("top_k:40", [](SamplingOptions& o) { o.temperature = 1, o.top_k = 40; });
  add_sampling("min_p:0.05", [](SamplingOptions& o) { o.temperature = 1, o.min_p = 0.05f; });
  add_sampling("top_p:0.95", [](SamplingOptions& o) { o.temperature = 1, o.top_p = 0.95f; });
  add_sampling("temperature:1", [](SamplingOptions& o) { o.temperature = 1; });
  add_sampling("logprobs:5", [](SamplingOptions& o) { o.logprobs = 5; });
  for (int threads : {1, 2}) {
    for (int bits : {4, 8}) {
      add("pack/bits:" + std::to_string(bits) + "/threads:" + std::to_string(threads), bench_pack, threads, bits);
    }
  }
  for (Tails tails : {Tails::kGaussian, Tails::kHeavy}) add_heads(tails);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
