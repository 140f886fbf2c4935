#include "backend/packed_weights.h"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "backend/source_digest.h"
#include "base/error.h"

namespace tritium {
namespace {

int64_t panels_bytes(const TernaryWeight& weight, const kernels::TernaryFormat& format) {
  return weight.groups * kernels::panel_count(weight.rows) * format.layout.panel_bytes(weight.group_columns());
}

std::vector<float> read_bias(const std::optional<StoredTensor>& tensor, float scale) {
  if (!tensor) return {};
  std::vector<float> bias(static_cast<size_t>(tensor->shape[0]));
  read_floats(*tensor, 0, tensor->shape[0], bias.data());
  for (float& value : bias) value *= scale;
  return bias;
}

// As PackedMatrix has them.
std::vector<float> scales_of_rows(const TernaryWeight& weight) {
  std::vector<float> scales;
  scales.reserve(weight.row_scales.size());
  for (int64_t group = 0; group < weight.groups && !weight.row_scales.empty(); ++group) {
    for (int64_t row = 0; row < weight.rows; ++row) {
      const float scale = weight.row_scales[static_cast<size_t>(row * weight.groups + group)];
      scales.push_back(weight.direction == ScaleDirection::kDivide ? scale * 127.0f : scale);
    }
  }
  return scales;
}

void pack_panels(const TernaryWeight& weight, float scale, const kernels::TernaryFormat& format, ThreadPool& threads,
                 uint8_t* panels) {
  const int64_t columns = weight.group_columns();
  const int64_t bytes = format.layout.panel_bytes(columns);
  const int64_t group_bytes = kernels::panel_count(weight.rows) * bytes;
  threads.parallel_for(kernels::panel_count(weight.rows), [&](int64_t begin, int64_t end, int) {
    std::vector<int8_t> trits(static_cast<size_t>(kernels::kPanelRows * weight.columns));
    std::vector<int8_t> part(weight.groups > 1 ? static_cast<size_t>(kernels::kPanelRows * columns) : 0);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kernels::kPanelRows;
      const int64_t last = std::min(first + kernels::kPanelRows, weight.rows);
      read_trits(weight, scale, first, last, trits.data());
      for (int64_t group = 0; group < weight.groups; ++group) {
        const int8_t* source = trits.data();
        if (weight.groups > 1) {
          for (int64_t row = 0; row < last - first; ++row) {
            std::copy_n(trits.data() + row * weight.columns + group * columns, columns, part.data() + row * columns);
          }
          source = part.data();
        }
        format.pack_panel(source, last - first, columns, panels + group * group_bytes + panel * bytes);
      }
    }
  });
}

int64_t all_panels_bytes(const Model& model, const kernels::TernaryFormat& format) {
  int64_t bytes = 0;
  for (const TernaryWeight& weight : model.ternary_weights()) bytes += panels_bytes(weight, format);
  return bytes;
}

std::optional<Digest> panels_key(const Model& model, const kernels::TernaryFormat& format) {
  std::vector<const StoredTensor*> tensors;
  std::string layout = concat("panels of 16 rows, ", format.layout.name, ", version 1; rows");
  for (const TernaryWeight& weight : model.ternary_weights()) {
    tensors.push_back(&weight.tensor);
    layout += concat(" ", weight.rows);
    if (weight.groups > 1) layout += concat("/", weight.groups);
  }
  return source_digest(tensors, layout);
}

// Whether the files are still those that were packed.
bool is_current(const Model& model) {
  std::set<const MappedFile*> files;
  for (const TernaryWeight& weight : model.ternary_weights()) files.insert(weight.tensor.file.get());
  return std::all_of(files.begin(), files.end(), [](const MappedFile* file) { return file->is_current(); });
}

// The ternary matrices without their biases: all panels one after the other, and the scales.
struct Panels {
  std::shared_ptr<const void> owner;
  const uint8_t* bytes = nullptr;
  std::vector<float> scales = {};  // one a matrix
  bool is_mapped = false;
};

Panels pack_panels(const Model& model, const kernels::TernaryFormat& format, ThreadPool& threads, MemoryPool& pool) {
  const auto buffer = std::make_shared<MemoryPool::Buffer>(pool.allocate(
      static_cast<size_t>(all_panels_bytes(model, format)), kWeightsMemory));  // one, for the sake of huge pages
  Panels packed{buffer, buffer->as<uint8_t>()};
  uint8_t* next = buffer->as<uint8_t>();
  for (const TernaryWeight& weight : model.ternary_weights()) {
    packed.scales.push_back(weight_scale(weight, threads));
    pack_panels(weight, packed.scales.back(), format, threads, next);
    weight.tensor.file->drop(weight.tensor.offset, weight.tensor.bytes);
    next += panels_bytes(weight, format);
  }
  return packed;
}

std::optional<Panels> cached_panels(const Model& model, const kernels::TernaryFormat& format, const Digest& key,
                                    PackedCache& cache, ThreadPool& threads, MemoryPool& pool) {
  const auto entry = cache.find(key, threads, pool);
  if (!entry) return std::nullopt;
  const auto panels = entry->section("panels"), scales = entry->section("scales");
  Panels cached{
      .owner = entry, .bytes = reinterpret_cast<const uint8_t*>(panels.data()), .is_mapped = entry->is_mapped()};
  cached.scales.resize(model.ternary_weights().size());
  const auto to = std::as_writable_bytes(std::span(cached.scales));
  if (panels.size() != static_cast<size_t>(all_panels_bytes(model, format)) || scales.size() != to.size())
    return std::nullopt;
  std::copy(scales.begin(), scales.end(), to.begin());
  return cached;
}

Panels make_panels(const Model& model, const kernels::TernaryFormat& format, ThreadPool& threads, MemoryPool& pool,
                   PackedCache* cache) {
  const auto bytes = static_cast<size_t>(all_panels_bytes(model, format));
  const bool caches = cache && all_panels_bytes(model, format) >= kSmallestCached;
  const std::optional<Digest> key = caches ? panels_key(model, format) : std::nullopt;
  if (!key) return pack_panels(model, format, threads, pool);
  if (std::optional<Panels> cached = cached_panels(model, format, *key, *cache, threads, pool))
    return *std::move(cached);
  Panels packed = pack_panels(model, format, threads, pool);
  if (is_current(model)) {
    cache->store(*key,
                 {{"panels", {reinterpret_cast<const std::byte*>(packed.bytes), bytes}},
                  {"scales", std::as_bytes(std::span(packed.scales))}},
                 threads);
  }
  return packed;
}

bool is_vector(const StoredTensor& tensor) { return tensor.shape.size() == 1; }

// Reading a few bytes maps up to a huge page around them. What is used in place comes again when it is used.
void drop_files(const Model& model) {
  std::set<const MappedFile*> files;
  for (const TernaryWeight& weight : model.ternary_weights()) files.insert(weight.tensor.file.get());
  for (const DenseWeight& weight : model.dense_weights()) files.insert(weight.tensor.file.get());
  for (const MappedFile* file : files) file->drop(0, file->bytes().size());
}

}  // namespace

kernels::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return kernels::Element::kF16;
    case DType::kBF16:
      return kernels::Element::kBF16;
    default:
      return kernels::Element::kF32;
  }
}

const std::byte* DenseMatrix::row(int64_t n) const {
  return data + n * columns * (element == kernels::Element::kF32 ? 4 : 2);
}

int64_t packed_bytes(const Model& model, const kernels::TernaryFormat& format) {
  int64_t bytes = all_panels_bytes(model, format);
  for (const TernaryWeight& weight : model.ternary_weights()) {
    bytes += (weight.bias ? weight.rows * 4 : 0) + static_cast<int64_t>(weight.row_scales.size()) * 4;
  }
  for (const DenseWeight& weight : model.dense_weights()) {
    if (is_vector(weight.tensor)) bytes += element_count(weight.tensor.shape) * 4;
    if (weight.bias) bytes += element_count(weight.bias->shape) * 4;
  }
  return bytes;
}

int64_t weight_bytes_per_token(const Model& model, const kernels::TernaryFormat& format) {
  const auto dense = [&](WeightId id) -> const StoredTensor& {
    return model.dense_weights()[static_cast<size_t>(id)].tensor;
  };
  int64_t bytes = 0;
  for (const Operator& op : model.graph().operators) {
    std::visit(
        Overloaded{[&](const TernaryLinearOp& linear) {
                     bytes += panels_bytes(model.ternary_weights()[static_cast<size_t>(linear.weight)], format);
                   },
                   [&](const DenseLinearOp& linear) { bytes += static_cast<int64_t>(dense(linear.weight).bytes); },
                   [&](const EmbeddingOp& embedding) {
                     const StoredTensor& table = dense(embedding.weight);
                     bytes += static_cast<int64_t>(table.bytes) / table.shape[0];
                   },
                   [&](const RmsNormOp& norm) { bytes += element_count(dense(norm.weight).shape) * 4; },
                   [&](const LayerNormOp& norm) { bytes += element_count(dense(norm.weight).shape) * 4; },
                   [](const auto&) {}},
        op.kind);
  }
  return bytes;
}

std::shared_ptr<const PackedWeights> pack_weights(const Model& model, const kernels::TernaryFormat& format,
                                                  ThreadPool& threads, MemoryPool& pool, PackedCache* cache) {
  auto packed = std::make_shared<PackedWeights>();
  const Panels panels = make_panels(model, format, threads, pool, cache);
  packed->format = &format;
  packed->panels = panels.owner;
  packed->panels_bytes = static_cast<size_t>(all_panels_bytes(model, format));
  packed->is_mapped = panels.is_mapped;
  const uint8_t* next = panels.bytes;
  for (const TernaryWeight& weight : model.ternary_weights()) {
    const float scale = panels.scales[packed->ternary.size()];
    packed->ternary.push_back({next, weight.rows, weight.columns, weight.groups, scale, weight.direction,
                               scales_of_rows(weight), read_bias(weight.bias, weight.scales_bias() ? scale : 1.0f)});
    next += panels_bytes(weight, format);
  }
  for (const DenseWeight& weight : model.dense_weights()) {
    const StoredTensor& tensor = weight.tensor;
    const int64_t columns = tensor.shape.back();
    packed->dense.push_back({tensor.data(), element_of(tensor.dtype), element_count(tensor.shape) / columns, columns,
                             read_bias(weight.bias, 1.0f), &tensor});
    std::vector<float> values;
    if (is_vector(tensor)) {
      values.resize(static_cast<size_t>(columns));
      read_floats(tensor, 0, columns, values.data());
    }
    packed->vectors.push_back(std::move(values));
  }
  drop_files(model);
  return packed;
}

}  // namespace tritium
