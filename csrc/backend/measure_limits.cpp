#include "backend/measure_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/multiply_peak.h"

namespace tritium {
namespace {

constexpr int kPasses = 9;  // of the multiply loop
constexpr double kRunSeconds = 0.01;

std::atomic<uint64_t> g_sink;  // what the loops give, so that they are not left out

template <class Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// 16 bytes: a register that every 64-bit processor has. Of arrays, compilers keep a copy in memory, and a loop with so
// many instructions a line is 10 % slower than the memory.
#if defined(__GNUC__)
using Words = uint64_t __attribute__((vector_size(16)));
#else
struct Words {
  uint64_t low, high;
  Words& operator+=(const Words& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
  uint64_t operator[](int i) const { return i == 0 ? low : high; }
};
#endif

Words words_at(const std::byte* data) {
  Words words;
  std::memcpy(&words, data, sizeof words);
  return words;
}

// Sum of the words of whole cache lines; on some CPUs a prefetch helps, on others the hardware does better alone.
template <size_t kAhead>
uint64_t sum_lines(const std::byte* data, size_t lines) {
  Words a = {}, b = {}, c = {}, d = {};
  for (const std::byte* end = data + 64 * lines; data < end; data += 64) {
#if defined(__GNUC__)
    if constexpr (kAhead > 0) __builtin_prefetch(data + kAhead);
#endif
    a += words_at(data);
    b += words_at(data + 16);
    c += words_at(data + 32);
    d += words_at(data + 48);
  }
  a += b;
  c += d;
  a += c;
  return a[0] + a[1];
}

template <size_t kAhead>
double seconds_of_pass(ThreadPool& threads, std::span<const std::byte> memory) {
  return seconds_of([&] {
    threads.parallel_for(static_cast<int64_t>(memory.size() / 64), [&](int64_t begin, int64_t end, int) {
      g_sink += sum_lines<kAhead>(memory.data() + begin * 64, static_cast<size_t>(end - begin));
    });
  });
}

}  // namespace

double measure_read_rate(ThreadPool& threads, std::span<const std::byte> memory, int passes) {
  std::vector<double> plain, ahead;
  for (int i = 0; i < passes; ++i) {
    plain.push_back(seconds_of_pass<0>(threads, memory));
    ahead.push_back(seconds_of_pass<4096>(threads, memory));
  }
  return static_cast<double>(memory.size()) / std::min(median(plain), median(ahead));
}

double measure_multiply_rate(ThreadPool& threads, const char* kernel_set) {
  const kernels::MultiplyPeak* peak = kernels::find_multiply_peak(kernel_set);
  if (!peak) throw DeviceError(concat("[limits] no loop measures the peak of the kernel set '", kernel_set, "'"));
  const auto run = [&](int64_t rounds) {
    return seconds_of([&] {
      threads.parallel_for(threads.size(),
                           [&](int64_t, int64_t, int) { g_sink += static_cast<uint64_t>(peak->run(rounds)); });
    });
  };
  int64_t rounds = 1000;
  while (run(rounds) < kRunSeconds && rounds < (int64_t{1} << 40)) rounds *= 2;
  std::vector<double> seconds;
  for (int i = 0; i < kPasses; ++i) seconds.push_back(run(rounds));
  const double multiply_adds =
      static_cast<double>(peak->multiply_adds) * static_cast<double>(rounds) * static_cast<double>(threads.size());
  return multiply_adds / median(seconds);
}

// In turns, each on a piece that the other has not touched, until the time is up.
const kernels::TernaryFormat& measure_ternary_formats(ThreadPool& threads, const kernels::KernelSet& kernels,
                                                      std::span<std::byte> memory) {
  constexpr int64_t kColumns = 2560, kPieceBytes = int64_t{4} << 20;
  constexpr double kSeconds = 0.05;
  const auto bytes = static_cast<int64_t>(memory.size());
  threads.parallel_for(bytes, [&](int64_t begin, int64_t end, int) {
    std::fill(memory.data() + begin, memory.data() + end, std::byte{0x55});  // codes in every format
  });
  const int64_t panels = kPieceBytes / kernels.ternary[0].layout.panel_bytes(kColumns);
  const std::vector<int8_t> q(static_cast<size_t>(kColumns), 1);
  const int32_t q_sum = kColumns;
  std::vector<int32_t> acc(static_cast<size_t>(panels * kernels::kPanelRows));
  std::vector<double> seconds[kernels::kTernaryFormats];
  double total = 0;
  for (int64_t piece = 0; total < kSeconds || piece % kernels::kTernaryFormats != 0; ++piece) {
    const auto turn = static_cast<size_t>(piece % kernels::kTernaryFormats);
    const kernels::TernaryFormat& format = kernels.ternary[turn];
    const int64_t panel_bytes = format.layout.panel_bytes(kColumns);
    const auto* codes = reinterpret_cast<const uint8_t*>(memory.data()) + piece * kPieceBytes % bytes;
    seconds[turn].push_back(seconds_of([&] {
      threads.parallel_for(panels, [&](int64_t begin, int64_t end, int) {
        format.gemv({codes + begin * panel_bytes, end - begin, kColumns, q.data(), &q_sum, 1,
                     acc.data() + begin * kernels::kPanelRows});
      });
    }));
    total += seconds[turn].back();
  }
  return kernels.ternary[median(seconds[1]) < median(seconds[0]) ? 1 : 0];
}

}  // namespace tritium
