#include "backend/packed_weights.h"

#include <algorithm>
#include <set>

namespace tritium {
namespace {

int64_t panels_bytes(const TernaryWeight& weight, const kernels::TernaryFormat& format) {
  return kernels::panel_count(weight.rows) * format.layout.panel_bytes(weight.columns);
}

std::vector<float> read_bias(const std::optional<StoredTensor>& tensor, float scale) {
  if (!tensor) return {};
  std::vector<float> bias(static_cast<size_t>(tensor->shape[0]));
  read_floats(*tensor, 0, tensor->shape[0], bias.data());
  for (float& value : bias) value *= scale;
  return bias;
}

PackedMatrix pack_matrix(const TernaryWeight& weight, const kernels::TernaryFormat& format, ThreadPool& threads,
                         MemoryPool& pool) {
  PackedMatrix packed;
  packed.rows = weight.rows;
  packed.columns = weight.columns;
  packed.direction = weight.direction;
  packed.scale = weight_scale(weight, threads);
  packed.bias = read_bias(weight.bias, weight.scales_bias() ? packed.scale : 1.0f);
  packed.panels = pool.allocate(static_cast<size_t>(panels_bytes(weight, format)), kWeightsMemory);
  uint8_t* panels = packed.panels.as<uint8_t>();
  const int64_t bytes = format.layout.panel_bytes(weight.columns);
  threads.parallel_for(kernels::panel_count(weight.rows), [&](int64_t begin, int64_t end, int) {
    std::vector<int8_t> trits(static_cast<size_t>(kernels::kPanelRows * weight.columns));
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kernels::kPanelRows;
      const int64_t last = std::min(first + kernels::kPanelRows, weight.rows);
      read_trits(weight, packed.scale, first, last, trits.data());
      format.pack_panel(trits.data(), last - first, weight.columns, panels + panel * bytes);
    }
  });
  return packed;
}

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

bool is_vector(const StoredTensor& tensor) { return tensor.shape.size() == 1; }

// Reading a few bytes maps up to a huge page around them. What is used in place comes again when it is used.
void drop_files(const Model& model) {
  std::set<const MappedFile*> files;
  for (const TernaryWeight& weight : model.ternary_weights()) files.insert(weight.tensor.file.get());
  for (const DenseWeight& weight : model.dense_weights()) files.insert(weight.tensor.file.get());
  for (const MappedFile* file : files) file->drop(0, file->bytes().size());
}

}  // namespace

const std::byte* DenseMatrix::row(int64_t n) const {
  return data + n * columns * (element == kernels::Element::kF32 ? 4 : 2);
}

int64_t packed_bytes(const Model& model, const kernels::TernaryFormat& format) {
  int64_t bytes = 0;
  for (const TernaryWeight& weight : model.ternary_weights()) {
    bytes += panels_bytes(weight, format) + (weight.bias ? weight.rows * 4 : 0);
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
                   [](const auto&) {}},
        op.kind);
  }
  return bytes;
}

std::shared_ptr<const PackedWeights> pack_weights(std::shared_ptr<const Model> model,
                                                  const kernels::TernaryFormat& format, ThreadPool& threads,
                                                  MemoryPool& pool) {
  auto packed = std::make_shared<PackedWeights>();
  packed->format = &format;
  for (const TernaryWeight& weight : model->ternary_weights()) {
    packed->ternary.push_back(pack_matrix(weight, format, threads, pool));
    weight.tensor.file->drop(weight.tensor.offset, weight.tensor.bytes);
  }
  for (const DenseWeight& weight : model->dense_weights()) {
    const StoredTensor& tensor = weight.tensor;
    const int64_t columns = tensor.shape.back();
    packed->dense.push_back({tensor.data(), element_of(tensor.dtype), element_count(tensor.shape) / columns, columns,
                             read_bias(weight.bias, 1.0f)});
    std::vector<float> values;
    if (is_vector(tensor)) {
      values.resize(static_cast<size_t>(columns));
      read_floats(tensor, 0, columns, values.data());
    }
    packed->vectors.push_back(std::move(values));
  }
  drop_files(*model);
  packed->model = std::move(model);
  return packed;
}

}  // namespace tritium
