#include "backend/cpu_operators.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>

#include "base/error.h"
#include "base/float_environment.h"

namespace tritium {

const RopeTable& ForwardPass::rope_table(const std::vector<float>& frequencies) const {
  return *std::find_if(rope_tables.begin(), rope_tables.end(),
                       [&](const RopeTable& table) { return table.frequencies() == frequencies; });
}

int64_t ForwardPass::rows(PlanValueId value) const {
  if (input) return samples;
  return static_cast<int64_t>(plan.values[value].rows == RowKind::kTokens ? token_ids.size() : output_rows.size());
}

float* ForwardPass::floats(PlanValueId value) const {
  if (value == plan.output) return output;
  if (value == plan.input) return const_cast<float*>(input);
  return reinterpret_cast<float*>(arena + plan.values[value].offset);
}

QuantizedRows ForwardPass::quantized(PlanValueId value) const {
  const PlanValue& layout = plan.values[value];
  std::byte* base = arena + layout.offset;
  const int64_t count = rows(value);
  const int64_t stride = layout.padded_width();
  float* absmax = reinterpret_cast<float*>(base + count * stride);
  return {reinterpret_cast<int8_t*>(base), absmax, reinterpret_cast<int32_t*>(absmax + count), stride};
}

CustomCall prepare_call(const Step& step, const CustomOp& op, const CustomOperators& operators) {
  const auto samples_of = [](Shape shape) {
    shape.insert(shape.begin(), 0);
    return shape;
  };
  std::vector<TensorView> inputs;
  for (const Shape& shape : op.input_shapes) inputs.push_back({nullptr, DType::kF32, samples_of(shape)});
  return {&step, &operators.find(op.name), std::move(inputs), {nullptr, DType::kF32, samples_of(op.output_shape)}};
}

namespace {

// int32 sums of a tile of tokens and panels. A format is decoded, and panels are unpacked, once for its tokens.
constexpr int64_t kTileSums = 8192;
constexpr int64_t kTileTokens = 128;

// Memory of this thread for `count` floats, until its next call of this function. It grows to the widest row and stays,
// so that a step of one token allocates nothing.
float* scratch(int64_t count) {
  thread_local std::vector<float> memory;
  if (memory.size() < static_cast<size_t>(count)) memory.resize(static_cast<size_t>(count));
  return memory.data();
}

int64_t width(const ForwardPass& pass, PlanValueId value) { return pass.plan.values[value].width; }

void store(const QuantizedRows& rows, int64_t row, const kernels::QuantizedRow& quantized) {
  rows.absmax[row] = quantized.absmax;
  rows.sum[row] = quantized.sum;
}

void run(const ForwardPass& pass, const Step& step, const EmbeddingOp& op) {
  const DenseMatrix& table = pass.weights.dense[op.weight];
  const StoredTensor& tensor = *table.tensor;
  const uint64_t bytes = tensor.bytes / static_cast<uint64_t>(table.rows);
  float* y = pass.floats(step.outputs[0]);
  pass.threads.parallel_for(pass.rows(step.outputs[0]), [&](int64_t begin, int64_t end, int) {
    std::vector<std::byte> scratch(bytes);
    for (int64_t row = begin; row < end; ++row) {
      const auto id = static_cast<uint64_t>(pass.token_ids[static_cast<size_t>(row)]);
      const std::byte* weights = tensor.file->fetch(tensor.offset + id * bytes, bytes, scratch.data());
      pass.kernels.widen(weights, table.element, table.columns, y + row * table.columns);
    }
  });
}

void run(const ForwardPass& pass, const Step& step, const RmsNormOp& op) {
  const int64_t n = width(pass, step.inputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  const float* weight = pass.weights.vectors[op.weight].data();
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.inputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) pass.kernels.rms_norm(x + row * n, weight, n, op.eps, y + row * n);
  });
}

void run(const ForwardPass& pass, const Step& step, const LayerNormOp& op) {
  const int64_t n = width(pass, step.inputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  const float* weight = pass.weights.vectors[op.weight].data();
  const std::vector<float>& bias = pass.weights.dense[op.weight].bias;
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.inputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      pass.kernels.layer_norm(x + row * n, weight, bias.empty() ? nullptr : bias.data(), n, op.eps, y + row * n);
    }
  });
}

void run(const ForwardPass& pass, const Step& step, const QuantizeStep&) {
  const int64_t n = width(pass, step.inputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  const QuantizedRows y = pass.quantized(step.outputs[0]);
  const int64_t rows = pass.rows(step.inputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::QuantizedRow quantized;
      pass.kernels.quantize(x + row * n, n, y.q + row * y.stride, &quantized);
      store(y, row, quantized);
    }
  });
}

void run(const ForwardPass& pass, const Step& step, const NormQuantizeStep& norm) {
  const int64_t n = width(pass, step.inputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  const float* weight = pass.weights.vectors[norm.weight].data();
  const QuantizedRows y = pass.quantized(step.outputs[0]);
  const int64_t rows = pass.rows(step.inputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    float* normalised = scratch(n);
    for (int64_t row = begin; row < end; ++row) {
      kernels::QuantizedRow quantized;
      pass.kernels.rms_norm(x + row * n, weight, n, norm.eps, normalised);
      pass.kernels.quantize(normalised, n, y.q + row * y.stride, &quantized);
      store(y, row, quantized);
    }
  });
}

kernels::Activation activation_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kRelu:
      return kernels::Activation::kRelu;
    case ActivationKind::kRelu2:
      return kernels::Activation::kRelu2;
    case ActivationKind::kSilu:
      return kernels::Activation::kSilu;
    case ActivationKind::kGelu:
      return kernels::Activation::kGelu;
  }
  return kernels::Activation::kIdentity;
}

// Sums of one row, one group of columns and `count` outputs from `first` to floats.
void dequantize(const kernels::KernelSet& kernels, const PackedMatrix& matrix, int64_t group, const int32_t* sums,
                int64_t first, int64_t count, float absmax, const float* residual, float* y) {
  const float* bias = matrix.bias.empty() || group > 0 ? nullptr : matrix.bias.data() + first;
  if (matrix.row_scales.empty()) {
    return kernels.dequantize(sums, count, matrix.multiplier(absmax), bias, residual, y);
  }
  const bool divides = matrix.direction == ScaleDirection::kDivide;
  const float* scales = matrix.row_scales.data() + group * matrix.rows + first;
  kernels.dequantize_rows(sums, count, {scales, divides ? absmax : absmax / 127.0f, divides}, bias, residual, y);
}

// Rows as a matrix multiplies them: q (groups, rows, stride) and sums (groups, rows), in scratch memory of this thread.
QuantizedRows group_columns(const QuantizedRows& x, int64_t rows, const PackedMatrix& matrix) {
  if (matrix.groups == 1) return x;
  const int64_t columns = matrix.group_columns(), stride = kernels::padded_columns(columns);
  const int64_t parts = matrix.groups * rows;
  int32_t* sums = reinterpret_cast<int32_t*>(scratch(parts + parts * stride / 4));
  int8_t* q = reinterpret_cast<int8_t*>(sums + parts);
  for (int64_t part = 0; part < parts; ++part) {
    const int8_t* from = x.q + part % rows * x.stride + part / rows * columns;
    int8_t* to = q + part * stride;
    std::memset(std::copy_n(from, columns, to), 0, static_cast<size_t>(stride - columns));
    sums[part] = std::accumulate(from, from + columns, int32_t{0});
  }
  return {q, x.absmax, sums, stride};
}

// What a thread computes a tile of tokens and panels in.
struct MatmulTile {
  alignas(64) int32_t sums[kTileSums];
  alignas(64) float outputs[kTileSums];
};

// One matrix of a matmul step: panels [begin, end) for all rows. Groups of columns are added up in order, then the
// residual; y may be the residual.
void multiply_panels(const ForwardPass& pass, const TernaryMatmulStep& step, const PackedMatrix& matrix,
                     const QuantizedRows& whole, int64_t rows, const float* residual, float* y, int64_t begin,
                     int64_t end, MatmulTile& tile) {
  const QuantizedRows x = group_columns(whole, rows, matrix);
  const int64_t tile_tokens = std::min(rows, kTileTokens);
  const int64_t tile_panels = kTileSums / kernels::kPanelRows / tile_tokens / 4 * 4;  // kernels take four at a time
  const kernels::TernaryFormat& format = *pass.weights.format;
  const auto multiply = rows == 1 ? format.gemv : format.gemm;
  const int64_t panel_bytes = format.layout.panel_bytes(matrix.group_columns());
  const int64_t group_bytes = kernels::panel_count(matrix.rows) * panel_bytes;
  const bool adds_residual_last = residual && matrix.groups > 1;
  for (int64_t panel = begin; panel < end; panel += tile_panels) {
    const int64_t panels = std::min(tile_panels, end - panel);
    const int64_t first = panel * kernels::kPanelRows;
    const int64_t outputs = std::min(panels * kernels::kPanelRows, matrix.rows - first);
    for (int64_t row = 0; row < rows; row += tile_tokens) {
      const int64_t tokens = std::min(tile_tokens, rows - row);
      for (int64_t group = 0; group < matrix.groups; ++group) {
        const uint8_t* weights = matrix.panels + group * group_bytes + panel * panel_bytes;
        const int64_t part = group * rows + row;
        multiply({weights, panels, x.stride, x.q + part * x.stride, x.sum + part, tokens, tile.sums});
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t place = (row + t) * matrix.rows + first;
          float* to = adds_residual_last ? tile.outputs + t * outputs : y + place;
          const float* added = group > 0 ? to : residual && !adds_residual_last ? residual + place : nullptr;
          dequantize(pass.kernels, matrix, group, tile.sums + t * panels * kernels::kPanelRows, first, outputs,
                     x.absmax[row + t], added, to);
        }
      }
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t place = (row + t) * matrix.rows + first;
        if (adds_residual_last) {
          pass.kernels.add(tile.outputs + t * outputs, residual + place, outputs, y + place);
        }
        if (step.activation) {
          pass.kernels.activate(y + place, activation_of(*step.activation), outputs, y + place);
        }
      }
    }
  }
}

void run(const ForwardPass& pass, const Step& step, const TernaryMatmulStep& matmul) {
  const int64_t rows = pass.rows(step.inputs[0]);
  if (rows == 0) return;
  const QuantizedRows x = pass.quantized(step.inputs[0]);
  const float* residual = matmul.adds_residual ? pass.floats(step.inputs[1]) : nullptr;
  int64_t total = 0;
  for (WeightId id : matmul.weights) total += kernels::panel_count(pass.weights.ternary[id].rows);
  pass.parallel_for(
      total, rows * total * kernels::kPanelRows * x.stride / kProductsAnElement, [&](int64_t begin, int64_t end, int) {
        MatmulTile tile;
        int64_t first = 0;  // panel of this matrix among all
        for (size_t i = 0; i < matmul.weights.size(); ++i) {
          const PackedMatrix& matrix = pass.weights.ternary[matmul.weights[i]];
          const int64_t panels = kernels::panel_count(matrix.rows);
          const int64_t from = std::clamp<int64_t>(begin - first, 0, panels);
          const int64_t to = std::clamp<int64_t>(end - first, 0, panels);
          multiply_panels(pass, matmul, matrix, x, rows, residual, pass.floats(step.outputs[i]), from, to, tile);
          first += panels;
        }
      });
}

void run(const ForwardPass& pass, const Step& step, const DenseLinearOp& op) {
  const int64_t tokens = pass.rows(step.inputs[0]);
  if (tokens == 0) return;
  const DenseMatrix& matrix = pass.weights.dense[op.weight];
  const float* x = pass.floats(step.inputs[0]);
  float* y = pass.floats(step.outputs[0]);
  pass.parallel_for(matrix.rows, tokens * matrix.rows * matrix.columns / kDenseProductsAnElement,
                    [&](int64_t begin, int64_t end, int) {
                      pass.kernels.dense_matmul({matrix.row(begin), matrix.element, matrix.columns, end - begin, x,
                                                 tokens, y + begin, matrix.rows});
                      if (matrix.bias.empty()) return;
                      for (int64_t t = 0; t < tokens; ++t) {
                        float* part = y + t * matrix.rows + begin;
                        pass.kernels.add(part, matrix.bias.data() + begin, end - begin, part);
                      }
                    });
}

void run(ForwardPass& pass, const Step& step, const HeadStep& head) {
  const DenseMatrix& weight = pass.weights.dense[static_cast<size_t>(head.weight)];
  const OutputHead output{*pass.head, weight, *weight.tensor, head.screens(), pass.kernels, pass.threads};
  run_head(output, pass.floats(step.inputs[0]), pass.output_requests, pass.output, pass.head_scratch,
           pass.head_statistics);
}

void run(const ForwardPass& pass, const Step& step, const RopeOp& rope) {
  const int64_t n = width(pass, step.inputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  float* y = pass.floats(step.outputs[0]);
  const RopeTable& table = pass.rope_table(rope.frequencies);
  pass.threads.parallel_for(pass.rows(step.inputs[0]), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      std::memcpy(y + row * n, x + row * n, static_cast<size_t>(n) * sizeof(float));
      const int64_t position = pass.positions[static_cast<size_t>(row)];
      for (int64_t head = 0; head < rope.heads; ++head) {
        pass.kernels.rope(y + row * n + head * rope.head_dim, table.cosine(position), table.sine(position),
                          rope.head_dim / 2);
      }
    }
  });
}

void run(const ForwardPass& pass, const Step& step, const AttentionStep& attention) {
  run_attention(pass, step, attention);
}

void run(const ForwardPass& pass, const Step& step, const GateOp& op) {
  const int64_t n = width(pass, step.outputs[0]);
  const kernels::Activation activation = activation_of(op.activation);
  const float* gate = pass.floats(step.inputs[0]);
  const float* up = pass.floats(step.inputs[1]);
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.outputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    pass.kernels.gate(gate + begin * n, up + begin * n, activation, (end - begin) * n, y + begin * n);
  });
}

void run(const ForwardPass& pass, const Step& step, const ActivationOp& op) {
  const int64_t n = width(pass, step.outputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.outputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    pass.kernels.activate(x + begin * n, activation_of(op.activation), (end - begin) * n, y + begin * n);
  });
}

void run(const ForwardPass& pass, const Step& step, const SoftmaxOp&) {
  const int64_t n = width(pass, step.outputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.outputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) pass.kernels.softmax(x + row * n, n, y + row * n);
  });
}

void run(const ForwardPass& pass, const Step& step, const AddOp&) {
  const int64_t n = width(pass, step.outputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  const float* z = pass.floats(step.inputs[1]);
  float* y = pass.floats(step.outputs[0]);
  const int64_t rows = pass.rows(step.outputs[0]);
  pass.parallel_for(rows, rows * n, [&](int64_t begin, int64_t end, int) {
    pass.kernels.add(x + begin * n, z + begin * n, (end - begin) * n, y + begin * n);
  });
}

void run(const ForwardPass& pass, const Step& step, const CustomOp& op) {
  CustomCall& call = *std::ranges::find(pass.custom_calls, &step, &CustomCall::step);
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    call.inputs[i].data = pass.floats(step.inputs[i]);
    call.inputs[i].shape[0] = pass.samples;
  }
  call.output.data = pass.floats(step.outputs[0]);
  call.output.shape[0] = pass.samples;
  try {
    call.op->run(call.inputs, call.output);
  } catch (const std::exception& error) {
    std::throw_with_nested(
        BatchProcessingError(concat("[operator] '", op.name, "' failed at layer '", step.name, "': ", error.what())));
  }
  DefaultFloatEnvironment::reset();
}

void run(const ForwardPass& pass, const Step& step, const SelectOutputsOp&) {
  const int64_t n = width(pass, step.outputs[0]);
  const float* x = pass.floats(step.inputs[0]);
  float* y = pass.floats(step.outputs[0]);
  for (size_t i = 0; i < pass.output_rows.size(); ++i) {
    std::memcpy(y + static_cast<int64_t>(i) * n, x + pass.output_rows[i] * n, static_cast<size_t>(n) * sizeof(float));
  }
}

}  // namespace

void run_step(ForwardPass& pass, const Step& step) {
  std::visit([&](const auto& kind) { run(pass, step, kind); }, step.kind);
}

}  // namespace tritium
