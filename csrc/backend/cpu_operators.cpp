#include "backend/cpu_operators.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>

#include "backend/ternary_product.h"
#include "backend/thread_scratch.h"
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
    float* normalised = thread_scratch(n);
    for (int64_t row = begin; row < end; ++row) {
      kernels::QuantizedRow quantized;
      pass.kernels.rms_norm(x + row * n, weight, n, norm.eps, normalised);
      pass.kernels.quantize(normalised, n, y.q + row * y.stride, &quantized);
      store(y, row, quantized);
    }
  });
}

void run(const ForwardPass& pass, const Step& step, const TernaryMatmulStep& matmul) {
  const int64_t rows = pass.rows(step.inputs[0]);
  if (rows == 0) return;
  const QuantizedRows x = pass.quantized(step.inputs[0]);
  const float* residual = matmul.adds_residual ? pass.floats(step.inputs[1]) : nullptr;
  int64_t total = 0;
  for (WeightId id : matmul.weights) total += kernels::panel_count(pass.weights.ternary[id].rows);
  pass.parallel_for(total, rows * total * kernels::kPanelRows * x.stride / kProductsAnElement,
                    [&](int64_t begin, int64_t end, int) {
                      int64_t first = 0;  // panel of this matrix among all
                      for (size_t i = 0; i < matmul.weights.size(); ++i) {
                        const PackedMatrix& matrix = pass.weights.ternary[matmul.weights[i]];
                        const int64_t panels = kernels::panel_count(matrix.rows);
                        const int64_t from = std::clamp<int64_t>(begin - first, 0, panels);
                        const int64_t to = std::clamp<int64_t>(end - first, 0, panels);
                        multiply_panels({pass.kernels, *pass.weights.format, matrix.view(), x, rows, residual,
                                         matmul.activation, pass.floats(step.outputs[i])},
                                        from, to);
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
