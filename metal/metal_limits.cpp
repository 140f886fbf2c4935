#include "metal/metal_limits.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>

#include "metal/kernels/arguments.h"

namespace tritium {
namespace {

constexpr size_t kRounds = 9;
constexpr int64_t kTokens = 32;                    // of a tile of ternary_gemm_32
constexpr size_t kCachedBytes = size_t{1} << 20;   // of a matrix in 2 bits
constexpr int64_t kLongestRow = int64_t{1} << 24;  // floats of a row of top_k

double median_seconds(const MetalContext& context, const std::function<void(MetalEncoder&)>& encode) {
  std::array<double, kRounds> seconds;
  for (double& each : seconds) {
    MetalCommands commands(context.device(), "a measurement");
    MetalEncoder encoder(*context.pipelines, commands.kernels());
    encode(encoder);
    commands.commit();
    commands.wait();
    each = commands.seconds();
  }
  std::ranges::nth_element(seconds, seconds.begin() + kRounds / 2);
  return seconds[kRounds / 2];
}

double read_rate(const MetalContext& context, size_t bytes) {
  const auto floats = static_cast<int64_t>(bytes / sizeof(float));
  const int64_t columns = std::clamp<int64_t>(floats, 1, kLongestRow), rows = std::max<int64_t>(floats / columns, 1);
  const MemoryPool::Buffer memory =
      context.memory->allocate(static_cast<size_t>(rows * columns) * sizeof(float), kMeasurementMemory);
  const MemoryPool::Buffer results = context.memory->allocate(
      static_cast<size_t>(rows) * 8 + static_cast<size_t>(metal_argmax_scratch_bytes(rows, columns)),
      kMeasurementMemory);
  const MetalView largest = MetalMemory::view(results), ids = largest.at(static_cast<size_t>(rows) * 4);
  const double seconds = median_seconds(context, [&](MetalEncoder& encoder) {
    encode_argmax(encoder, MetalMemory::view(memory), rows, columns, largest, ids,
                  ids.at(static_cast<size_t>(rows) * 4));
  });
  return static_cast<double>(rows * columns) * sizeof(float) / seconds;
}

double multiply_rate(const MetalContext& context, size_t bytes) {
  // A square of whole panels.
  int64_t side = kGemmRows;
  while (static_cast<size_t>(4 * side * side / 4) <= std::min(bytes, kCachedBytes)) side *= 2;
  const auto panels = static_cast<size_t>(side * side / 4), codes = static_cast<size_t>(kTokens * side);
  const size_t sums = static_cast<size_t>(kTokens * side) * sizeof(float);
  const MemoryPool::Buffer memory =
      context.memory->allocate(panels + codes + kTokens * sizeof(float) + 64 + sums, kMeasurementMemory);
  const MetalView weights = MetalMemory::view(memory), q = weights.at(panels), absmax = q.at(codes);
  const MetalView scale = absmax.at(kTokens * sizeof(float)), y = scale.at(64);
  const MetalKernel kernel = MetalKernel("ternary_gemm_32")
                                 .with(MetalConstant::kHasBias, 0)
                                 .with(MetalConstant::kHasResidual, 0)
                                 .with(MetalConstant::kActivation, kIdentity);
  const TernaryArguments arguments{static_cast<uint32_t>(side), kTokens, 1, static_cast<uint32_t>(side), 0, 0, 1};
  const double seconds = median_seconds(context, [&](MetalEncoder& encoder) {
    encoder.run(kernel, {side / kGemmRows, 1}, 32 * kGemmSimdgroups, weights, q, absmax, scale, MetalView{},
                MetalView{}, y, arguments);
  });
  return static_cast<double>(side * side * kTokens) / seconds;
}

}  // namespace

DeviceLimits measure_metal_limits(const MetalContext& context, size_t bytes) {
  const AutoreleaseScope scope;
  return {read_rate(context, bytes), multiply_rate(context, bytes)};
}

}  // namespace tritium
