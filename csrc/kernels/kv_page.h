// Writing a token into a KV page.
#pragma once

#include "kernels/kernel_set.h"

namespace tritium::kernels {

// `slot` is the token's place in the page, key and value are (head_dim). f16: both through `narrow`. int8: both through
// `quantize`, with the scale min(absmax, kLargestF16) / 127, so that no product with it overflows;
// head_dim <= kMaxInt8HeadDim, and the codes beyond an odd head_dim are as the page has them, which must be 0.
void append_token_f16(const KernelSet& set, const float* key, const float* value, int64_t head_dim, int64_t slot,
                      uint8_t* page);
void append_token_int8(const KernelSet& set, const float* key, const float* value, int64_t head_dim, int64_t slot,
                       uint8_t* page);

}  // namespace tritium::kernels
