#include "metal/metal_weights.h"

#include <algorithm>
#include <span>

#include "backend/rope_table.h"

namespace tritium {
namespace {

bool is_matrix(const StoredTensor& tensor) { return tensor.shape.size() > 1; }

// Whether kernels can read a dense matrix where it lies in its file.
bool lies_well(const StoredTensor& tensor, const MetalMemory& memory) {
  const size_t element = dtype_size(tensor.dtype);
  const size_t alignment = tensor.shape.back() % 4 == 0 ? 4 * element : element;
  return memory.can_bind(tensor.file->bytes().data(), tensor.offset + tensor.bytes) && tensor.offset % alignment == 0;
}

// Floats that go to the device together.
class FloatTable {
 public:
  // Where they will be.
  size_t add(std::span<const float> values) {
    const size_t offset = values_.size() * sizeof(float);
    values_.insert(values_.end(), values.begin(), values.end());
    values_.resize((values_.size() + 3) / 4 * 4);
    return offset;
  }
  MemoryPool::Buffer place(MetalMemory& memory) const {
    const auto bytes = std::as_bytes(std::span(values_));
    MemoryPool::Buffer buffer = memory.allocate(bytes.size(), kWeightsMemory);
    memory.upload(bytes, MetalMemory::view(buffer));
    return buffer;
  }

 private:
  std::vector<float> values_;
};

MetalView place(std::span<const std::byte> bytes, bool in_place, std::shared_ptr<const void> owner, MetalMemory& memory,
                MetalWeights& weights) {
  if (bytes.empty()) return {};
  if (in_place) {
    MetalMemory::Bound bound = memory.bind(bytes);
    if (bound.buffer) {
      weights.host_memory.push_back(std::move(owner));
      weights.bound.push_back(bound.buffer);
      return {bound.buffer.get(), bound.offset};
    }
  }
  weights.buffers.push_back(memory.allocate(bytes.size(), kWeightsMemory));
  const MetalView view = MetalMemory::view(weights.buffers.back());
  memory.upload(bytes, view);
  return view;
}

}  // namespace

int64_t metal_weight_bytes(const Model& model, const kernels::TernaryFormat& format, const MetalMemory& memory) {
  int64_t bytes = packed_bytes(model, format);
  for (const DenseWeight& weight : model.dense_weights()) {
    const StoredTensor& tensor = weight.tensor;
    if (is_matrix(tensor) && !lies_well(tensor, memory)) bytes += static_cast<int64_t>(tensor.bytes);
  }
  return bytes;
}

std::shared_ptr<const MetalWeights> place_weights(const PackedWeights& packed, const Model& model,
                                                  MetalMemory& memory) {
  auto weights = std::make_shared<MetalWeights>();
  FloatTable floats;
  // Views into the table are complete when it has been placed.
  const auto add = [&](std::span<const float> values, MetalView& view) {
    view.offset = floats.add(values);
    return &view;
  };
  weights->ternary.resize(packed.ternary.size());
  weights->dense.resize(packed.dense.size());
  weights->vectors.resize(packed.vectors.size());
  std::vector<MetalView*> in_table;

  const auto* panels = packed.ternary.empty() ? nullptr : packed.ternary[0].panels;
  const bool in_place = memory.can_bind(panels, packed.panels_bytes) || packed.is_mapped;
  const MetalView all_panels = place({reinterpret_cast<const std::byte*>(panels), packed.panels_bytes}, in_place,
                                     packed.panels, memory, *weights);
  for (size_t i = 0; i < packed.ternary.size(); ++i) {
    const PackedMatrix& matrix = packed.ternary[i];
    MetalTernary& placed = weights->ternary[i];
    placed.panels = all_panels.at(static_cast<size_t>(matrix.panels - panels));
    placed.rows = matrix.rows;
    placed.columns = matrix.columns;
    placed.groups = matrix.groups;
    placed.row_scales = !matrix.row_scales.empty();
    placed.divides = matrix.direction == ScaleDirection::kDivide;
    const float scale = placed.divides ? 127.0f * matrix.scale : matrix.scale;
    in_table.push_back(
        add(placed.row_scales ? std::span<const float>(matrix.row_scales) : std::span(&scale, 1), placed.scales));
    if (!matrix.bias.empty()) in_table.push_back(add(matrix.bias, placed.bias));
  }
  for (size_t i = 0; i < packed.dense.size(); ++i) {
    const DenseMatrix& matrix = packed.dense[i];
    const StoredTensor& tensor = model.dense_weights()[i].tensor;
    MetalDense& placed = weights->dense[i];
    placed.element = matrix.element;
    placed.rows = matrix.rows;
    placed.columns = matrix.columns;
    if (is_matrix(tensor)) {
      placed.data = place({tensor.data(), static_cast<size_t>(tensor.bytes)}, lies_well(tensor, memory), tensor.file,
                          memory, *weights);
    }
    if (!matrix.bias.empty()) in_table.push_back(add(matrix.bias, placed.bias));
    if (!packed.vectors[i].empty()) in_table.push_back(add(packed.vectors[i], weights->vectors[i]));
  }
  if (in_table.empty()) return weights;
  weights->buffers.push_back(floats.place(memory));
  for (MetalView* view : in_table) view->buffer = MetalMemory::view(weights->buffers.back()).buffer;
  return weights;
}

MetalRopes place_ropes(const ExecutionPlan& plan, MetalMemory& memory) {
  MetalRopes ropes;
  FloatTable floats;
  const auto add = [&](const std::vector<float>& frequencies) {
    const auto is_same = [&](const MetalRope& rope) { return rope.frequencies == frequencies; };
    if (std::ranges::any_of(ropes.tables, is_same)) return;
    const RopeTable table(frequencies, plan.options.context_size);
    const size_t count = frequencies.size() * static_cast<size_t>(plan.options.context_size);
    MetalRope& rope = ropes.tables.emplace_back();
    rope.frequencies = frequencies;
    rope.cosines.offset = floats.add({table.cosine(0), count});
    rope.sines.offset = floats.add({table.sine(0), count});
  };
  for (const Step& step : plan.steps) {
    if (const auto* rope = std::get_if<RopeOp>(&step.kind)) add(rope->frequencies);
    const auto* attention = std::get_if<AttentionStep>(&step.kind);
    if (attention && attention->rotates) add(attention->frequencies);
  }
  if (ropes.tables.empty()) return ropes;
  ropes.memory = floats.place(memory);
  for (MetalRope& rope : ropes.tables) {
    rope.cosines.buffer = rope.sines.buffer = MetalMemory::view(ropes.memory).buffer;
  }
  return ropes;
}

}  // namespace tritium
