// Products of ternary matrices, by the scalar kernels and by a kernel of metal/kernels.
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "kernel_tests.h"

namespace tritium::metal_tests {

// y = activation(sum over groups of sums * multiplier + bias + residual), as csrc/backend/cpu_operators.cpp has it.
struct Matrix {
  int64_t rows, columns, tokens;
  int64_t groups = 1;
  bool row_scales = false;
  bool divides = false;
  bool has_bias = false;
  bool has_residual = false;
  ActivationFunction activation = kIdentity;

  std::string name() const {
    return std::to_string(rows) + "x" + std::to_string(columns) + ", " + std::to_string(tokens) + " tokens, " +
           std::to_string(groups) + " groups" + (row_scales ? ", row scales" : "") + (divides ? ", divides" : "") +
           (has_bias ? ", bias" : "") + (has_residual ? ", residual" : "") + ", activation " +
           std::to_string(activation);
  }
};

struct Product {
  Matrix matrix;
  std::vector<TernaryProblem> parts;  // a group each
  std::vector<float> absmax, scales, bias, residual;

  Product(Numbers& numbers, const Matrix& described, std::optional<int8_t> weight = {}, std::optional<int8_t> code = {})
      : matrix(described),
        absmax(index(matrix.tokens)),
        scales(index(matrix.row_scales ? matrix.groups * matrix.rows : 1)),
        bias(numbers.floats(matrix.rows)),
        residual(numbers.floats(matrix.tokens * matrix.rows)) {
    const int64_t columns = matrix.columns / matrix.groups;
    for (int64_t group = 0; group < matrix.groups; ++group) {
      parts.emplace_back(matrix.rows, columns, matrix.tokens,
                         numbers.bytes(matrix.rows * columns, weight.value_or(-1), weight.value_or(1)),
                         numbers.bytes(matrix.tokens * columns, code.value_or(-128), code.value_or(127)));
    }
    for (float& value : absmax) value = 1.0f + numbers.number() / 2;
    for (float& value : scales) value = 1.0f + numbers.number() / 2;
  }

  // So that outputs are the integer sums.
  void scale_by_one() {
    std::fill(absmax.begin(), absmax.end(), 127.0f);
    std::fill(scales.begin(), scales.end(), 1.0f);
  }

  std::vector<float> by_scalar() const {
    std::vector<float> y(index(matrix.tokens * matrix.rows));
    for (int64_t group = 0; group < matrix.groups; ++group) {
      const TernaryProblem& part = parts[index(group)];
      const std::vector<int32_t> sums = sums_of(part);
      for (int64_t token = 0; token < matrix.tokens; ++token) {
        const int32_t* acc = sums.data() + token * part.width();
        float* to = y.data() + token * matrix.rows;
        const float* added = group > 0 ? to : nullptr;
        const float* first_bias = matrix.has_bias && group == 0 ? bias.data() : nullptr;
        const float a = absmax[index(token)];
        if (matrix.row_scales) {
          const float* of_group = scales.data() + group * matrix.rows;
          scalar().dequantize_rows(acc, matrix.rows, {of_group, matrix.divides ? a : a / 127.0f, matrix.divides},
                                   first_bias, added, to);
        } else {
          scalar().dequantize(acc, matrix.rows, matrix.divides ? a / scales[0] : scales[0] * (a / 127.0f), first_bias,
                              added, to);
        }
      }
    }
    if (matrix.has_residual) scalar().add(y.data(), residual.data(), static_cast<int64_t>(y.size()), y.data());
    scalar().activate(y.data(), static_cast<kernels::Activation>(matrix.activation), static_cast<int64_t>(y.size()),
                      y.data());
    return y;
  }

  // (tokens, width) of the scalar kernel, which some threads share.
  static std::vector<int32_t> sums_of(const TernaryProblem& part) {
    std::vector<int32_t> sums(index(part.tokens * part.width()));
    const int64_t columns = padded_columns(part.columns), panels = panel_count(part.rows), step = 32;
    std::atomic<int64_t> next = 0;
    const auto work = [&] {
      for (int64_t first = next.fetch_add(step); first < panels; first = next.fetch_add(step)) {
        const int64_t count = std::min(step, panels - first), width = count * kPanelRows;
        std::vector<int32_t> acc(index(part.tokens * width));
        scalar().ternary[0].gemm({part.panels[0].data() + first * kernels::k2BitLayout.panel_bytes(columns), count,
                                  columns, part.q.data(), part.q_sum.data(), part.tokens, acc.data()});
        for (int64_t token = 0; token < part.tokens; ++token) {
          std::copy_n(acc.begin() + token * width, width, sums.begin() + token * part.width() + first * kPanelRows);
        }
      }
    };
    std::vector<std::jthread> threads(panels > step ? std::thread::hardware_concurrency() : 0);
    for (std::jthread& thread : threads) thread = std::jthread(work);
    work();
    threads.clear();
    return sums;
  }

  std::vector<float> by_metal(const std::string& kernel, Order order) const {
    std::vector<uint8_t> panels;
    for (const TernaryProblem& part : parts) panels.insert(panels.end(), part.panels[0].begin(), part.panels[0].end());
    const int64_t stride = padded_columns(parts[0].columns);
    std::vector<int8_t> q;
    for (int64_t token = 0; token < matrix.tokens; ++token) {
      for (const TernaryProblem& part : parts) {
        q.insert(q.end(), part.q.begin() + token * stride, part.q.begin() + (token + 1) * stride);
      }
    }
    std::vector<float> y = matrix.has_residual ? residual : poisoned(matrix.tokens * matrix.rows);
    Launch launch(kernel);
    launch.buffer(0, panels).buffer(1, q).buffer(2, absmax).buffer(3, scales).buffer(6, y);
    matrix.has_bias ? launch.buffer(4, bias) : launch.unused(4);
    matrix.has_residual ? launch.buffer(5, y) : launch.unused(5);
    launch.argument(
        7, TernaryArguments{u32(matrix.rows), u32(matrix.tokens), u32(matrix.groups), u32(stride), matrix.row_scales,
                            matrix.divides, matrix.groups == 1 ? u32(kGemvSimdgroups) : 1u});
    launch.constant("HAS_BIAS", matrix.has_bias).constant("HAS_RESIDUAL", matrix.has_residual);
    launch.constant("ACTIVATION", static_cast<int>(matrix.activation));
    if (kernel.starts_with("ternary_gemv")) {
      launch.run({u32(panel_count(matrix.rows)), u32(matrix.tokens)}, {32 * kGemvSimdgroups}, order);
    } else {
      const int64_t tile = kernel == "ternary_gemm_8" ? 8 : 32;
      launch.run({u32((panel_count(matrix.rows) + kGemmSimdgroups - 1) / kGemmSimdgroups),
                  u32((matrix.tokens + tile - 1) / tile)},
                 {32 * kGemmSimdgroups}, order);
    }
    return y;
  }
};

}  // namespace tritium::metal_tests
