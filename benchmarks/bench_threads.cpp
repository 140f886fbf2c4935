// What a step of a plan pays for its threads: the time of one fork and join over the pool, with nothing to do between.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "base/thread_pool.h"

namespace {

void ForkJoin(benchmark::State& state) {
  tritium::ThreadPool threads(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    threads.parallel_for(threads.size(), [](int64_t begin, int64_t, int) { benchmark::DoNotOptimize(begin); });
  }
}

// One slice: what a step with a single row pays.
void OneSlice(benchmark::State& state) {
  tritium::ThreadPool threads(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    threads.parallel_for(1, [](int64_t begin, int64_t, int) { benchmark::DoNotOptimize(begin); });
  }
}

BENCHMARK(ForkJoin)->DenseRange(1, std::max(2, tritium::default_thread_count()))->ArgName("threads")->UseRealTime();
BENCHMARK(OneSlice)->Arg(1)->Arg(2)->ArgName("threads")->UseRealTime();

}  // namespace
