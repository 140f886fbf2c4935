// Kernels over rows of floats that are the same text for every instruction set: activations, softmax, layer norm, and
// products with a scale a row. rowwise_<isa>.cpp defines its vectors and instantiates the text of rowwise_body.h.
#pragma once

#include "kernels/kernel_set.h"

namespace tritium::kernels {

template <class Vectors>
struct RowwiseKernels {
  static void gate(const float* gate, const float* up, Activation activation, int64_t count, float* y);
  static void dequantize_rows(const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                              const float* residual, float* y);
  static void activate(const float* x, Activation activation, int64_t count, float* y);
  static void softmax(const float* x, int64_t count, float* y);
  static void layer_norm(const float* x, const float* weight, const float* bias, int64_t count, float eps, float* y);
};

struct Avx2Vectors;
struct Avx512Vectors;
struct NeonVectors;

}  // namespace tritium::kernels
