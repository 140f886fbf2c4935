#include "backend/packed_head.h"

#include <algorithm>

#include "backend/source_digest.h"
#include "base/error.h"

namespace tritium {
namespace {

constexpr int64_t kMostColumns = int64_t{1} << 16;  // so many keep the bound's probability (docs/head.md)

PackedHead layout_of(const StoredTensor& tensor, int bits) {
  PackedHead head;
  head.rows = tensor.shape.front();
  head.columns = tensor.shape.back();
  head.bits = bits;
  return head;
}

// What the rounding of each column to 4 bits is shifted by, in all rows: odd multiples of 2^-20, uniform in (-0.5,
// 0.5). splitmix64, always from the same state.
std::vector<float> make_dither(int64_t columns) {
  std::vector<float> dither(static_cast<size_t>(columns));
  uint64_t state = 0x7469746975746574u;
  for (float& value : dither) {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    value = static_cast<float>(z >> 45) * 0x1p-19f + (0x1p-20f - 0.5f);
  }
  return dither;
}

std::optional<Digest> copy_key(const StoredTensor& tensor, int bits) {
  const StoredTensor* const tensors[] = {&tensor};
  return source_digest(tensors, concat("output head, ", bits, " bits, version 1"));
}

void pack(const StoredTensor& tensor, const kernels::KernelSet& kernels, ThreadPool& threads, MemoryPool& pool,
          PackedHead& head) {
  const auto buffer =
      std::make_shared<MemoryPool::Buffer>(pool.allocate(static_cast<size_t>(head.bytes()), kWeightsMemory));
  head.owner = buffer;
  head.memory = buffer->as<uint8_t>();
  const auto floats = [&](const float* place) {
    return reinterpret_cast<float*>(buffer->as<uint8_t>() + (reinterpret_cast<const uint8_t*>(place) - head.memory));
  };
  float* norms = floats(head.norms());
  float* residuals = head.bits == 8 ? floats(head.residuals()) : nullptr;
  const kernels::Element element = element_of(tensor.dtype);
  const int64_t panel_bytes = kernels::head_panel_bytes(head.columns, head.bits);
  const size_t row_bytes = static_cast<size_t>(head.columns) * dtype_size(tensor.dtype);
  threads.parallel_for(head.panels(), [&](int64_t begin, int64_t end, int) {
    std::vector<std::byte> stored(kernels::kPanelRows * row_bytes);
    std::vector<float> weights(static_cast<size_t>(kernels::kPanelRows * head.columns));
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kernels::kPanelRows;
      const int64_t rows = std::min<int64_t>(kernels::kPanelRows, head.rows - first);
      const std::byte* data = tensor.file->fetch(tensor.offset + static_cast<uint64_t>(first) * row_bytes,
                                                 static_cast<size_t>(rows) * row_bytes, stored.data());
      kernels.widen(data, element, rows * head.columns, weights.data());
      kernels.pack_head({weights.data(), rows, head.columns, head.bits, head.dither.data(),
                         buffer->as<uint8_t>() + panel * panel_bytes, norms + first,
                         residuals ? residuals + first : nullptr});
    }
  });
}

}  // namespace

int64_t packed_head_bytes(const StoredTensor& tensor, int bits) { return layout_of(tensor, bits).bytes(); }

std::shared_ptr<const PackedHead> pack_head(const StoredTensor& tensor, int bits, const kernels::KernelSet& kernels,
                                            ThreadPool& threads, MemoryPool& pool, PackedCache* cache) {
  auto head = std::make_shared<PackedHead>(layout_of(tensor, bits));
  if (head->columns > kMostColumns) {
    throw OptimizationError(concat("[head] a small copy holds at most ", kMostColumns, " columns, ", tensor.label(),
                                   " has ", head->columns));
  }
  head->dither = make_dither(head->columns);
  const auto bytes = static_cast<size_t>(head->bytes());
  const bool caches = cache && head->bytes() >= kSmallestCached;
  const std::optional<Digest> key = caches ? copy_key(tensor, bits) : std::nullopt;
  if (key) {
    const auto entry = cache->find(*key, threads, pool);
    if (entry && entry->section("head").size() == bytes) {
      head->owner = entry;
      head->is_mapped = entry->is_mapped();
      head->memory = reinterpret_cast<const uint8_t*>(entry->section("head").data());
      return head;
    }
  }
  pack(tensor, kernels, threads, pool, *head);
  if (key && tensor.file->is_current()) {
    cache->store(*key, {{"head", {reinterpret_cast<const std::byte*>(head->memory), bytes}}}, threads);
  }
  return head;
}

}  // namespace tritium
