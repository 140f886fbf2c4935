// What the products of ternary matrices share: from panels to numbers, and from integer sums to outputs. The panels are
// those of "2bit" in csrc/kernels/kernel_set.h: a word holds 16 columns of a row, 16 words a step.
#pragma once

FUNCTION_CONSTANT(bool, HAS_BIAS, 0);
FUNCTION_CONSTANT(bool, HAS_RESIDUAL, 1);
FUNCTION_CONSTANT(int, ACTIVATION, 2);  // an ActivationFunction

namespace tritium {

// Codes 0, 1, 2 as numbers without a conversion: set into the mantissa of a half, the codes at bits 2j and 16 + 2j of
// a word are 4^(5 - j) + code. With those of word >> 8 between them they belong to columns 4j to 4j + 3 of a step.
METAL_FUNC half2 biased_codes(uint word, uint j) {
  return as_type<half2>((word & (0x00030003u << (2 * j))) | (0x64006400u - j * 0x08000800u));
}
METAL_FUNC uint code_bias(uint j) { return 1024u >> (2 * j); }

// Adds the sum of a group of columns to an output; groups come in order, and the bias with the first.
METAL_FUNC float add_group(float y, int sum, uint group, uint row, float absmax, device const float* scales,
                           device const float* bias, constant TernaryArguments& shape) {
  const float scale = scales[shape.row_scales != 0 ? group * shape.rows + row : 0];
  const float value = float(sum) * (shape.divides != 0 ? absmax / scale : scale * (absmax / 127.0f));
  if (group > 0) return value + y;
  return HAS_BIAS ? value + bias[row] : value;
}

METAL_FUNC float finish_output(float y, float residual) {
  return activation_of(HAS_RESIDUAL ? y + residual : y, ACTIVATION);
}

}  // namespace tritium
