// A kernel set is a value: a name, the CPU features it needs, and one function for every kernel.
// scalar.cpp defines what each kernel computes, bit for bit; every other set gives the same bits.
//
// Rules for floats: each operation rounds once, to nearest even; fused multiply-add only where "fma" is written;
// a sum "over lanes" of n terms keeps 16 partial sums, lane l adding terms l, l + 16, l + 32, … in that order to +0,
// and then folds halves: lane l += lane l + 8, then + 4, then + 2, then + 1. A lane without a term is left as it is.
// Where a result is NaN, its sign and payload are free. Memory need not be aligned unless said.
//
// exp(x) is this function of x, in float:
//   x < -87.33654022216796875 (0xC2AEAC4F)  -> +0, so that no result is subnormal
//   x > 88.72283172607421875 (0x42B17217)   -> +inf
//   x is NaN                                -> NaN
//   otherwise t = fma(x, 0x1.715476p+0, 12582912), n = t - 12582912 (x / ln 2 as the nearest integer),
//     r = fma(n, 0x1.05c610p-29, fma(n, -0x1.62e430p-1, x)), in ±ln 2 / 2,
//     p = fma(p, r, c) from p = 0x1.6d113cp-10 over c = 0x1.120ba2p-7, 0x1.55551ap-5, 0x1.5554dcp-3, 0.5, 1, 1,
//     and n is added to the exponent of p: bits(p) + (bits(t) << 23), modulo 2^32.
// It lies within 1 ulp of the true value.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tritium::kernels {

// Ternary weights are packed in panels of 16 rows: a vector lane is a row, so that no sum crosses lanes. K is padded to
// a multiple of 16 with zero weights. The code of a weight is weight + 1. A format lays the codes of a panel out in
// blocks.
//
// "2bit": blocks of 16 columns in 64 bytes; byte 4 * r + b holds row r, and its bits 2j, 2j + 1 the code of column 4 *
// j + b.
//
// "1.6bit": blocks of 80 columns in 256 bytes. Byte 4 * r + b of the 64 bytes numbered s holds five codes of row r: c_j
// of columns 16 * s + 4 * j + b for j < 4 and e of column 64 + 4 * s + b. With t = c_0 + 3 c_1 + 9 c_2 + 27 c_3 the
// byte is t + 64 e where t < 64 and 3 t + e, at least 192, elsewhere. Columns behind the last whole block take 64 bytes
// every 16, without a fifth code: e = 0.
inline constexpr int kPanelRows = 16;
inline constexpr int kStepColumns = 16;
inline constexpr int kStepBytes = 64;

constexpr int64_t padded_columns(int64_t columns) { return (columns + kStepColumns - 1) / kStepColumns * kStepColumns; }
constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

struct PanelLayout {
  const char* name;
  int64_t block_columns;
  int64_t block_bytes;

  constexpr int64_t panel_bytes(int64_t columns) const {
    const int64_t padded = padded_columns(columns);
    return padded / block_columns * block_bytes + padded % block_columns / kStepColumns * kStepBytes;
  }
};

inline constexpr PanelLayout k2BitLayout = {"2bit", kStepColumns, kStepBytes};
inline constexpr PanelLayout k1_6BitLayout = {"1.6bit", 5 * kStepColumns, 4 * kStepBytes};

// Largest K: |sum of code * q| <= 2 * 128 * K stays inside int32.
inline constexpr int64_t kMaxColumns = int64_t{1} << 22;

// Tokens of one KV page. Pages start at multiples of it.
inline constexpr int kPageTokens = 64;

enum class Element { kF32, kF16, kBF16 };
enum class Activation { kIdentity, kRelu, kRelu2, kSilu };

struct QuantizedRow {
  float absmax;  // max(max |x|, 1e-5)
  int32_t sum;   // sum of q
};

struct TernaryMatmul {
  const uint8_t* panels;  // (panels, panel_bytes) the first panel to use, in the format of the function called
  int64_t panels_used;
  int64_t columns;       // K as padded
  const int8_t* q;       // (tokens, columns) zero beyond the real K
  const int32_t* q_sum;  // (tokens)
  int64_t tokens;
  int32_t* acc;  // (tokens, panels_used * kPanelRows) receives sum over k of weight * q
};

struct DenseMatmul {
  const void* weights;  // (rows, columns) row-major
  Element element;
  int64_t columns;
  int64_t rows;    // rows to use, from the first
  const float* x;  // (tokens, columns)
  int64_t tokens;
  float* y;  // y[t * y_stride + row]
  int64_t y_stride;
};

struct AttentionPage {
  const float* q;       // (head_dim)
  const float* k_page;  // (head_dim, kPageTokens) one column a token
  const float* v_page;  // (kPageTokens, head_dim) one row a token
  int64_t head_dim;
  int64_t tokens;  // the first `tokens` of the page are seen, 1..kPageTokens
  float scale;
};

// Softmax over a part of the context: sum over j of exp(s_j - max) and the sum of the values weighted by it.
struct AttentionPart {
  float max;
  float sum;
  float* values;  // (head_dim)
};

// A way to store ternary weights, and the kernels that know it.
struct TernaryFormat {
  PanelLayout layout;

  // Packs `rows` <= 16 rows of weights in {-1, 0, 1}, trits (rows, columns), into one panel; absent rows and columns
  // become 0.
  void (*pack_panel)(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel);

  // Exact for columns <= kMaxColumns. gemv: one token; gemm: any number.
  void (*gemv)(const TernaryMatmul& problem);
  void (*gemm)(const TernaryMatmul& problem);
};

inline constexpr int kTernaryFormats = 2;

struct KernelSet {
  const char* name;
  uint32_t features;  // CpuFeature bits that it needs

  // The formats that the set has: "2bit", and "1.6bit" where it decodes as fast as memory delivers; else its layout has
  // no name.
  TernaryFormat ternary[kTernaryFormats];

  // Per-token int8 quantisation: q[k] = rint(min(max(x[k] * s, -128), 127)), half to even; NaN gives -128.
  // s = (1 / absmax) * 127, rounded twice: that is how PyTorch divides a number by a tensor, and the codes of values
  // half way between two integers depend on its last bit.
  // q (padded_columns) gets zeros beyond `columns`. `row.absmax` ignores NaN.
  void (*quantize)(const float* x, int64_t columns, int8_t* q, QuantizedRow* row);

  // y[i] = float(acc[i]) * multiplier, then + bias[i] and then + residual[i] where they are not null.
  // y may be residual.
  void (*dequantize)(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                     float* y);

  // y[t * y_stride + r] = sum over lanes by fma of weights[r][k] * x[t][k], weights widened exactly.
  void (*dense_matmul)(const DenseMatmul& problem);

  // y[i] = x[i] widened exactly; a float16 NaN becomes quiet, other NaN keep their bits.
  void (*widen)(const void* x, Element element, int64_t count, float* y);

  // r = 1 / sqrt(s / count + eps), s the sum over lanes of x[i] * x[i] (product rounded, then added);
  // y[i] = (x[i] * r) * weight[i]. y may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t count, float eps, float* y);

  // y[i] = x[i] + z[i]. y may be x or z.
  void (*add)(const float* x, const float* z, int64_t count, float* y);

  // y[i] = act(gate[i]) * up[i]; relu(v) = v > 0 ? v : 0; relu2(v) = relu(v) * relu(v); silu(v) = v / (1 + exp(-v)).
  // y may be gate or up.
  void (*gate)(const float* gate, const float* up, Activation activation, int64_t count, float* y);

  // Rotates (x[j], x[j + half]) for j < half: x[j] cos[j] - x[j + half] sin[j] and x[j + half] cos[j] + x[j] sin[j],
  // both products rounded.
  void (*rope)(float* x, const float* cosine, const float* sine, int64_t half);

  // s_j = scale * (fma chain over d from +0 of q[d] * k[d][j]); max over j, NaN ignored, -0 given as +0;
  // p_j = exp(s_j - max); part.sum = sum over lanes of p_j; part.values[d] = fma chain over j from +0 of p_j * v[j][d].
  // All of k_page is readable; what lies beyond `tokens` has no effect.
  void (*attend_page)(const AttentionPage& page, AttentionPart* part);

  // Adds a later part: m = part.max > total.max ? part.max : total.max, a = exp(total.max - m), b = exp(part.max - m);
  // total.sum = total.sum * a + part.sum * b, values likewise, both products rounded; total.max = m.
  void (*merge_attention)(const AttentionPart& part, int64_t head_dim, AttentionPart* total);

  // y[d] = values[d] / sum.
  void (*finish_attention)(const AttentionPart& total, int64_t head_dim, float* y);
};

}  // namespace tritium::kernels
