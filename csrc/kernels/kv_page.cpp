#include "kernels/kv_page.h"

namespace tritium::kernels {

namespace {

// Codes (padded_columns(head_dim)) of a row, and their scale.
float quantize_row(const KernelSet& set, const float* x, int64_t head_dim, int8_t* codes) {
  QuantizedRow row;
  set.quantize(x, head_dim, codes, &row);
  return (row.absmax < kLargestF16 ? row.absmax : kLargestF16) / 127.0f;
}

}  // namespace

void append_token_f16(const KernelSet& set, const float* key, const float* value, int64_t head_dim, int64_t slot,
                      uint8_t* page) {
  uint16_t* keys = reinterpret_cast<uint16_t*>(page) + slot;
  uint16_t* values = reinterpret_cast<uint16_t*>(page + f16_keys_bytes(head_dim)) + slot * head_dim;
  constexpr int64_t kBlock = 128;
  for (int64_t first = 0; first < head_dim; first += kBlock) {
    const int64_t count = head_dim - first < kBlock ? head_dim - first : kBlock;
    uint16_t block[kBlock];
    set.narrow(key + first, count, block);
    for (int64_t d = 0; d < count; ++d) keys[(first + d) * kPageTokens] = block[d];
  }
  set.narrow(value, head_dim, values);
}

void append_token_int8(const KernelSet& set, const float* key, const float* value, int64_t head_dim, int64_t slot,
                       uint8_t* page) {
  int8_t* keys = reinterpret_cast<int8_t*>(page) + 2 * slot;
  int8_t* values = reinterpret_cast<int8_t*>(page) + int8_keys_bytes(head_dim) + slot / 2 * 2 * head_dim + slot % 2;
  float* scales = reinterpret_cast<float*>(page + int8_scales_offset(head_dim)) + slot;
  int8_t codes[kMaxInt8HeadDim];
  scales[0] = quantize_row(set, key, head_dim, codes);
  for (int64_t d = 0; d < head_dim; ++d) keys[d / 2 * 2 * kPageTokens + d % 2] = codes[d];
  scales[kPageTokens] = quantize_row(set, value, head_dim, codes);
  for (int64_t d = 0; d < head_dim; ++d) values[2 * d] = codes[d];
}

}  // namespace tritium::kernels
