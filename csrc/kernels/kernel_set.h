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
//
// Activations, each operation in float:
//   relu(v)  = v > 0 ? v : +0
//   relu2(v) = relu(v) * relu(v)
//   silu(v)  = v / (1 + exp(-v))
//   gelu(v)  = v times the normal distribution at v, as relu(v) - tail(|v|), tail(a) = a * distribution(-a):
//     NaN -> NaN; otherwise a = |v| < 16 ? |v| : 16, u = 1 / (a + 3.5), t = fma(u, -7, 1),
//     p = fma(p, t, c) from p = 0x1.e36caep-14 over c = 0x1.c3563ap-12, -0x1.0301f8p-11, -0x1.a0e89ap-9,
//     0x1.a96c24p-8, 0x1.1d345ep-6, -0x1.db5a14p-4, 0x1.42fec4p-2, -0x1.219150p-1, 0x1.7d241ap-1, w = (a * u) * p,
//     h = a * a, l = fma(a, a, -h) (what h has lost), w = fma(-0.5 * w, l, w), tail = w * exp(-0.5 * h).
//     It lies within 6 ulp of the true value where that is at least 2^-120, and below 2^-120 otherwise.
// A NaN gives +0 for relu and relu2, NaN for the others; -infinity gives +0, and NaN for silu.
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

// The output head has a small copy in 4 or 8 bits, in panels of 16 rows too, columns padded to whole groups of 128.
// A panel begins with the scale of each group and row, upper halves of floats (groups, 16), padded to 64 bytes. Codes
// follow in steps of 64 bytes whose byte 4 * r + b belongs to row r. At 8 bits a step has 4 columns and byte b is
// column 4 * s + b; at 4 bits it has 8, the low half of byte b is column 8 * s + b and the high half 8 * s + 4 + b. A
// code stands for scale * (code - 7.5 - dither[column]) at 4 bits and scale * (code - 128) at 8 bits.
inline constexpr int kHeadGroup = 128;

constexpr int64_t head_groups(int64_t columns) { return (columns + kHeadGroup - 1) / kHeadGroup; }
constexpr int64_t head_scales_bytes(int64_t columns) { return (head_groups(columns) * kPanelRows * 2 + 63) / 64 * 64; }
constexpr int64_t head_panel_bytes(int64_t columns, int64_t bits) {
  return head_scales_bytes(columns) + head_groups(columns) * kHeadGroup * kPanelRows * bits / 8;
}

enum class Element { kF32, kF16, kBF16 };
enum class Activation { kIdentity, kRelu, kRelu2, kSilu, kGelu };

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

// The scales of the outputs of a product, one a row of the matrix.
struct RowScales {
  const float* scale;
  float step;    // of the quantised row
  bool divides;  // whether a sum is multiplied by step / scale[i] instead of scale[i] * step
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

struct HeadPack {
  const float* weights;  // (rows, columns)
  int64_t rows;          // at most 16
  int64_t columns;
  int bits;             // 4 or 8
  const float* dither;  // (columns) at 4 bits
  uint8_t* panel;       // (head_panel_bytes(columns, bits))
  float* norms;         // (16)
  float* residuals;     // (16) at 8 bits
};

// A row of activations as the scan of a small head wants it: integers q of 16 bits, x being about scale * q, zero
// beyond the real columns.
struct HeadRow {
  const int8_t* high;    // (columns) (q + 128) >> 8
  const int8_t* low;     // (columns) q - 256 * high
  const int16_t* q;      // (columns) in fours: q[0], q[2], q[1], q[3]
  const int32_t* zeros;  // (groups) 8 * sum of q at 4 bits, 128 * sum of q at 8 bits
  const float* offsets;  // (groups) sum of (0.5 - dither) * q at 4 bits, 0 at 8 bits
  const float* squares;  // (groups) sum of q * q at 4 bits, rounded up
  float scale;
  float spread;  // the reach of an estimate is spread * (4 bits: its deviation, 8 bits: the row's residual)
  float slack;   // plus slack * norm
};

struct HeadScan {
  const uint8_t* panels;  // the first panel to use
  int64_t panels_used;
  int64_t columns;         // padded to whole groups
  int bits;                // 4 or 8
  const float* norms;      // (panels_used * 16)
  const float* residuals;  // (panels_used * 16) at 8 bits
  const HeadRow* x;        // (tokens)
  int64_t tokens;
  float* estimates;  // estimates[t * stride + row]
  float* bounds;     // bounds[t * stride + row], or null
  int64_t stride;
};

// One head of one KV page. Keys lie transposed, so that a vector lane is a key and no sum crosses lanes.
//   float16: keys (head_dim, kPageTokens), then values (kPageTokens, head_dim).
//   int8: columns and tokens lie in pairs, and there are scales: keys (key_pairs, kPageTokens, 2), the column beyond an
//   odd head_dim 0; values (kPageTokens / 2, head_dim, 2); float32 scales of the keys (kPageTokens) and of the values
//   (kPageTokens). A number is its code times its token's scale.
constexpr int64_t key_pairs(int64_t head_dim) { return (head_dim + 1) / 2; }
constexpr int64_t f16_keys_bytes(int64_t head_dim) { return 2 * head_dim * kPageTokens; }
constexpr int64_t f16_page_bytes(int64_t head_dim) { return 2 * f16_keys_bytes(head_dim); }
constexpr int64_t int8_keys_bytes(int64_t head_dim) { return 2 * key_pairs(head_dim) * kPageTokens; }
constexpr int64_t int8_scales_offset(int64_t head_dim) { return int8_keys_bytes(head_dim) + head_dim * kPageTokens; }
constexpr int64_t int8_page_bytes(int64_t head_dim) { return int8_scales_offset(head_dim) + 2 * kPageTokens * 4; }

// Largest magnitude of a float16; keys and values are limited to it.
inline constexpr float kLargestF16 = 65504.0f;
// Largest head_dim in int8: |sum of query code * key code| <= 32767 * 128 * 512 stays inside int32.
inline constexpr int64_t kMaxInt8HeadDim = 512;

// Some queries of the heads that share a KV head, over one page.
struct AttentionPage {
  const uint8_t* page;        // as above
  const uint8_t* next;        // the page that will be read next, to be fetched ahead; `page` if there is none
  const void* q;              // float32 (queries, head_dim), or int16 (queries, 2 * key_pairs) from quantize_query
  const float* q_multiplier;  // (queries) of the int16 codes; not read for float16
  int64_t queries;
  const int32_t* seen;  // (queries) each sees so many tokens of the page, the first ones, 1..kPageTokens
  int64_t head_dim;
  float scale;  // not read for int8
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

  // y[i] = act(gate[i]) * up[i]. y may be gate or up.
  void (*gate)(const float* gate, const float* up, Activation activation, int64_t count, float* y);

  // Rotates (x[j], x[j + half]) for j < half: x[j] cos[j] - x[j + half] sin[j] and x[j + half] cos[j] + x[j] sin[j],
  // both products rounded.
  void (*rope)(float* x, const float* cosine, const float* sine, int64_t half);

  // y[i] = x[i] limited to +-kLargestF16, as float16, half to even; NaN stays NaN.
  void (*narrow)(const float* x, int64_t count, uint16_t* y);

  // a = max(max |q|, 1e-5), r = 32767 / a, codes[d] = rint(q[d] * r), half to even; NaN is
  // ignored in a and gives -32767. The code beyond an odd head_dim is 0. *multiplier = (a / 32767) * scale.
  void (*quantize_query)(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier);

  // For each query, over the tokens j that it sees: s_j = scale * (fma chain over d from +0 of q[d] * k[d][j]), k
  // widened exactly; max over j, NaN ignored, -0 given as +0; p_j = exp(s_j - max); part.sum = sum over lanes of p_j;
  // part.values[d] = fma chain over j from +0 of p_j * v[j][d]. The whole page is readable; what lies beyond the tokens
  // seen has no effect.
  void (*attend_page_f16)(const AttentionPage& page, AttentionPart* parts);  // parts (queries)

  // The same with s_j = float(sum over d of code * k[d][j]) * (q_multiplier * key_scale[j]) and with
  // w_j = p_j * value_scale[j], m = max(max w_j, 2^-100), r = 32767 / m, c_j = rint(w_j * r), half to even; NaN is
  // ignored in m and gives 0; part.values[d] = float(sum over j of c_j * v[j][d]) * (m / 32767). These
  // sums are exact for head_dim <= kMaxInt8HeadDim.
  void (*attend_page_int8)(const AttentionPage& page, AttentionPart* parts);

  // Adds a later part: m = part.max > total.max ? part.max : total.max, a = exp(total.max - m), b = exp(part.max - m);
  // total.sum = total.sum * a + part.sum * b, values likewise, both products rounded; total.max = m.
  void (*merge_attention)(const AttentionPart& part, int64_t head_dim, AttentionPart* total);

  // y[d] = values[d] / sum.
  void (*finish_attention)(const AttentionPart& total, int64_t head_dim, float* y);

  // dequantize with a multiplier for each i: scales.scale[i] * scales.step, or scales.step / scales.scale[i].
  void (*dequantize_rows)(const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                          const float* residual, float* y);

  // y[i] = act(x[i]). y may be x.
  void (*activate)(const float* x, Activation activation, int64_t count, float* y);

  // m = max over x, NaN ignored, -infinity if all are, -0 given as +0; p[i] = exp(x[i] - m); y[i] = p[i] / sum over
  // lanes of p. y may be x.
  void (*softmax)(const float* x, int64_t count, float* y);

  // mean = (sum over lanes of x) / count, d[i] = x[i] - mean, r = 1 / sqrt((sum over lanes of d[i] * d[i], the product
  // rounded, then added) / count + eps); y[i] = (d[i] * r) * weight[i], then + bias[i] where it is not null. y may be
  // x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t count, float eps, float* y);

  // One panel of the small head. m = max |w| of a row's group, NaN ignored; d = 7.5 at 4 bits, 127 at 8 bits;
  // scale = m * (1 / d), at least 2^-60 unless it is 0, then rounded up to an upper half; r = 1 / scale, 0 if scale is
  // 0. code = trunc(min(max(w * r + (8 + dither), 0), 15)), or trunc(min(max(w * r + 128.5, 0), 255)); NaN gives 0.
  // norm = sqrt(sum over lanes of w * w) * (1 + 2^-10) + 2^-50 bounds the length of the row; infinity where that is NaN
  // or above 2^60. residual: the same of v = w - scale * (code - 128), bounds what 8 bits lose. Products are rounded.
  // Absent rows and columns have weight 0.
  void (*pack_head)(const HeadPack& pack);

  // For each row: i = sum of code * q - zeros, exact in int32, and t = float(i) + offsets, of each group; the estimate
  // is scale * y, y = fma(scale of the group, t, y) over groups from +0; v = fma(scale of the group squared, squares,
  // v) likewise; bound = fma(norm, slack, fma(d, spread, estimate)), d = sqrt(v) at 4 bits and residual at 8 bits.
  void (*scan_head)(const HeadScan& scan);
};

}  // namespace tritium::kernels
