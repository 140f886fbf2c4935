// The definition of every kernel, in plain C++: what the other sets must equal, bit for bit.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernel_set.h"
#include "kernels/pack_head.h"

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float arithmetic must round to float after every operation"
#endif
#if defined(_MSC_VER)
#pragma fp_contract(off)
#endif

namespace tritium::kernels {

extern const KernelSet kScalarKernels;

namespace {

constexpr int kLanes = 16;
constexpr int kColumnsPerByte = 4;
// Adding and subtracting it rounds to an integer, half to even.
constexpr float kRoundingShift = 12582912.0f;

uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

float exponential(float x) {
  if (x != x) return x;
  if (x < float_of(0xC2AEAC4Fu)) return 0.0f;
  if (x > float_of(0x42B17217u)) return float_of(0x7F800000u);
  const float t = fmaf(x, 0x1.715476p+0f, kRoundingShift);
  const float n = t - kRoundingShift;
  const float r = fmaf(n, 0x1.05c610p-29f, fmaf(n, -0x1.62e430p-1f, x));
  float p = 0x1.6d113cp-10f;
  p = fmaf(p, r, 0x1.120ba2p-7f);
  p = fmaf(p, r, 0x1.55551ap-5f);
  p = fmaf(p, r, 0x1.5554dcp-3f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  return float_of(bits_of(p) + (bits_of(t) << 23));
}

float widen_f16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu;
  const uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return float_of(sign | bits_of(magnitude));
  }
  if (exponent == 31) return float_of(sign | 0x7F800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
  return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float element_at(const void* x, Element element, int64_t index) {
  const char* bytes = static_cast<const char*>(x);
  if (element == Element::kF32) {
    float value;
    memcpy(&value, bytes + 4 * index, sizeof value);
    return value;
  }
  uint16_t half;
  memcpy(&half, bytes + 2 * index, sizeof half);
  return element == Element::kF16 ? widen_f16(half) : float_of(uint32_t{half} << 16);
}

float fold_lanes(float* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

float gelu(float v) {
  if (v != v) return v;
  const float magnitude = fabsf(v);
  const float a = magnitude < 16.0f ? magnitude : 16.0f;
  const float u = 1.0f / (a + 3.5f);
  const float t = fmaf(u, -7.0f, 1.0f);
  float p = 0x1.e36caep-14f;
  p = fmaf(p, t, 0x1.c3563ap-12f);
  p = fmaf(p, t, -0x1.0301f8p-11f);
  p = fmaf(p, t, -0x1.a0e89ap-9f);
  p = fmaf(p, t, 0x1.a96c24p-8f);
  p = fmaf(p, t, 0x1.1d345ep-6f);
  p = fmaf(p, t, -0x1.db5a14p-4f);
  p = fmaf(p, t, 0x1.42fec4p-2f);
  p = fmaf(p, t, -0x1.219150p-1f);
  p = fmaf(p, t, 0x1.7d241ap-1f);
  float w = (a * u) * p;
  const float square = a * a;
  const float lost = fmaf(a, a, -square);
  w = fmaf(-0.5f * w, lost, w);
  return (v > 0.0f ? v : 0.0f) - w * exponential(-0.5f * square);
}

float activate(float v, Activation activation) {
  const float positive = v > 0.0f ? v : 0.0f;
  switch (activation) {
    case Activation::kRelu:
      return positive;
    case Activation::kRelu2:
      return positive * positive;
    case Activation::kSilu:
      return v / (1.0f + exponential(-v));
    case Activation::kGelu:
      return gelu(v);
    case Activation::kIdentity:
      break;
  }
  return v;
}

// The code of a column, of which only the first `columns` exist.
int code_at(const int8_t* trits, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  return row < rows && column < columns ? trits[row * columns + column] + 1 : 1;
}

void pack_2bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  for (int64_t first = 0; first < padded_columns(columns); first += kStepColumns) {
    for (int64_t row = 0; row < kPanelRows; ++row) {
      for (int64_t b = 0; b < kColumnsPerByte; ++b) {
        int byte = 0;
        for (int64_t j = 0; j < 4; ++j) byte |= code_at(trits, rows, columns, row, first + 4 * j + b) << (2 * j);
        *panel++ = static_cast<uint8_t>(byte);
      }
    }
  }
}

// Which columns the 64 bytes numbered `step` of a panel at 1.6 bits hold: the first of 16, and the first of 4, or -1.
struct StepColumns {
  int64_t first;
  int64_t fifth;
};

StepColumns columns_of_step(int64_t step, int64_t columns) {
  const int64_t block = step / 4, whole = columns / k1_6BitLayout.block_columns;
  if (block < whole) {
    const int64_t start = block * k1_6BitLayout.block_columns;
    return {start + step % 4 * kStepColumns, start + 4 * kStepColumns + step % 4 * 4};
  }
  return {whole * k1_6BitLayout.block_columns + (step - 4 * whole) * kStepColumns, -1};
}

void pack_1_6bit(const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
  const int64_t padded = padded_columns(columns), steps = k1_6BitLayout.panel_bytes(columns) / kStepBytes;
  for (int64_t step = 0; step < steps; ++step) {
    const StepColumns place = columns_of_step(step, padded);
    for (int64_t row = 0; row < kPanelRows; ++row) {
      for (int64_t b = 0; b < kColumnsPerByte; ++b) {
        int t = 0;
        for (int64_t j = 3; j >= 0; --j) t = 3 * t + code_at(trits, rows, columns, row, place.first + 4 * j + b);
        const int e = place.fifth < 0 ? 0 : code_at(trits, rows, columns, row, place.fifth + b);
        *panel++ = static_cast<uint8_t>(t < 64 ? t + 64 * e : 3 * t + e);
      }
    }
  }
}

void quantize(const float* x, int64_t columns, int8_t* q, QuantizedRow* row) {
  float absmax = 1e-5f;
  for (int64_t k = 0; k < columns; ++k) {
    const float magnitude = fabsf(x[k]);
    if (magnitude > absmax) absmax = magnitude;
  }
  const float scale = (1.0f / absmax) * 127.0f;
  int32_t sum = 0;
  for (int64_t k = 0; k < columns; ++k) {
    float v = x[k] * scale;
    v = v > -128.0f ? v : -128.0f;
    v = v < 127.0f ? v : 127.0f;
    const int32_t rounded = static_cast<int32_t>((v + kRoundingShift) - kRoundingShift);
    q[k] = static_cast<int8_t>(rounded);
    sum += rounded;
  }
  for (int64_t k = columns; k < padded_columns(columns); ++k) q[k] = 0;
  row->absmax = absmax;
  row->sum = sum;
}

// add_step(step, bytes, q, sums) adds the products of 64 bytes of a panel with one token, row by row.
template <class AddStep>
void multiply(const TernaryMatmul& problem, const PanelLayout& layout, AddStep add_step) {
  const int64_t bytes = layout.panel_bytes(problem.columns);
  const int64_t rows = problem.panels_used * kPanelRows;
  for (int64_t panel = 0; panel < problem.panels_used; ++panel) {
    for (int64_t t = 0; t < problem.tokens; ++t) {
      const uint8_t* codes = problem.panels + panel * bytes;
      int32_t sums[kPanelRows] = {};
      for (int64_t step = 0; step < bytes / kStepBytes; ++step) {
        add_step(step, codes + step * kStepBytes, problem.q + t * problem.columns, sums);
      }
      int32_t* acc = problem.acc + t * rows + panel * kPanelRows;
      for (int row = 0; row < kPanelRows; ++row) acc[row] = sums[row] - problem.q_sum[t];
    }
  }
}

void gemm_2bit(const TernaryMatmul& problem) {
  multiply(problem, k2BitLayout, [](int64_t step, const uint8_t* codes, const int8_t* q, int32_t* sums) {
    q += step * kStepColumns;
    for (int row = 0; row < kPanelRows; ++row) {
      for (int b = 0; b < kColumnsPerByte; ++b) {
        const int byte = *codes++;
        sums[row] +=
            (byte & 3) * q[b] + ((byte >> 2) & 3) * q[4 + b] + ((byte >> 4) & 3) * q[8 + b] + (byte >> 6) * q[12 + b];
      }
    }
  });
}

void gemm_1_6bit(const TernaryMatmul& problem) {
  multiply(problem, k1_6BitLayout, [&](int64_t step, const uint8_t* codes, const int8_t* q, int32_t* sums) {
    const StepColumns place = columns_of_step(step, problem.columns);
    for (int row = 0; row < kPanelRows; ++row) {
      for (int b = 0; b < kColumnsPerByte; ++b) {
        const int byte = *codes++;
        int t = byte < 192 ? byte % 64 : byte / 3;
        const int e = byte < 192 ? byte / 64 : byte % 3;
        for (int j = 0; j < 4; ++j, t /= 3) sums[row] += t % 3 * q[place.first + 4 * j + b];
        if (place.fifth >= 0) sums[row] += e * q[place.fifth + b];
      }
    }
  });
}

template <void (*kGemm)(const TernaryMatmul&)>
void gemv(const TernaryMatmul& problem) {
  TernaryMatmul one = problem;
  one.tokens = 1;
  kGemm(one);
}

void dequantize(const int32_t* acc, int64_t count, float multiplier, const float* bias, const float* residual,
                float* y) {
  for (int64_t i = 0; i < count; ++i) {
    float value = static_cast<float>(acc[i]) * multiplier;
    if (bias) value = value + bias[i];
    if (residual) value = value + residual[i];
    y[i] = value;
  }
}

void dense_matmul(const DenseMatmul& problem) {
  const int64_t row_bytes = problem.columns * (problem.element == Element::kF32 ? 4 : 2);
  for (int64_t row = 0; row < problem.rows; ++row) {
    const char* weights = static_cast<const char*>(problem.weights) + row * row_bytes;
    for (int64_t t = 0; t < problem.tokens; ++t) {
      const float* x = problem.x + t * problem.columns;
      float lanes[kLanes] = {};
      for (int64_t k = 0; k < problem.columns; ++k) {
        float& lane = lanes[k % kLanes];
        lane = fmaf(element_at(weights, problem.element, k), x[k], lane);
      }
      problem.y[t * problem.y_stride + row] = fold_lanes(lanes);
    }
  }
}

void widen(const void* x, Element element, int64_t count, float* y) {
  if (element == Element::kF32) {
    memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) y[i] = element_at(x, element, i);
}

void rms_norm(const float* x, const float* weight, int64_t count, float eps, float* y) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float square = x[i] * x[i];
    lanes[i % kLanes] += square;
  }
  const float r = 1.0f / sqrtf(fold_lanes(lanes) / static_cast<float>(count) + eps);
  for (int64_t i = 0; i < count; ++i) y[i] = (x[i] * r) * weight[i];
}

void add(const float* x, const float* z, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] + z[i];
}

void gate(const float* gate, const float* up, Activation activation, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = activate(gate[i], activation) * up[i];
}

void rope(float* x, const float* cosine, const float* sine, int64_t half) {
  for (int64_t j = 0; j < half; ++j) {
    const float a = x[j];
    const float b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}

uint16_t narrow_f16(float x) {
  const uint16_t sign = static_cast<uint16_t>((bits_of(x) >> 16) & 0x8000u);
  if (x != x) return static_cast<uint16_t>(sign | 0x7E00u);
  const float magnitude = fabsf(x) < kLargestF16 ? fabsf(x) : kLargestF16;
  if (magnitude < 0x1p-14f) {  // a subnormal float16: beside 0.5, 2^-24 is the last place
    return static_cast<uint16_t>(sign | (bits_of(magnitude + 0.5f) - bits_of(0.5f)));
  }
  const uint32_t bits = bits_of(magnitude) - (112u << 23);
  return static_cast<uint16_t>(sign | ((bits + 0xFFFu + ((bits >> 13) & 1u)) >> 13));
}

void narrow(const float* x, int64_t count, uint16_t* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = narrow_f16(x[i]);
}

void quantize_query(const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
  float absmax = 1e-5f;
  for (int64_t d = 0; d < head_dim; ++d) {
    const float magnitude = fabsf(q[d]);
    if (magnitude > absmax) absmax = magnitude;
  }
  const float r = 32767.0f / absmax;
  for (int64_t d = 0; d < head_dim; ++d) {
    float v = q[d] * r;
    v = v > -32767.0f ? v : -32767.0f;
    codes[d] = static_cast<int16_t>((v + kRoundingShift) - kRoundingShift);
  }
  if (head_dim % 2 != 0) codes[head_dim] = 0;
  *multiplier = (absmax / 32767.0f) * scale;
}

// Scores of `tokens` keys to weights, in place; part.max and part.sum.
void weigh_keys(float* p, int64_t tokens, AttentionPart* part) {
  float max = float_of(0xFF800000u);
  for (int64_t j = 0; j < tokens; ++j) {
    if (p[j] > max) max = p[j];
  }
  max += 0.0f;
  float lanes[kLanes] = {};
  for (int64_t j = 0; j < tokens; ++j) {
    p[j] = exponential(p[j] - max);
    lanes[j % kLanes] += p[j];
  }
  part->max = max;
  part->sum = fold_lanes(lanes);
}

void attend_page_f16(const AttentionPage& page, AttentionPart* parts) {
  const int64_t head_dim = page.head_dim;
  const uint8_t* values = page.page + f16_keys_bytes(head_dim);
  for (int64_t i = 0; i < page.queries; ++i) {
    const float* q = static_cast<const float*>(page.q) + i * head_dim;
    const int64_t tokens = page.seen[i];
    float p[kPageTokens] = {};
    for (int64_t d = 0; d < head_dim; ++d) {
      for (int64_t j = 0; j < tokens; ++j) {
        p[j] = fmaf(q[d], element_at(page.page, Element::kF16, d * kPageTokens + j), p[j]);
      }
    }
    for (int64_t j = 0; j < tokens; ++j) p[j] *= page.scale;
    weigh_keys(p, tokens, &parts[i]);
    for (int64_t d = 0; d < head_dim; ++d) {
      float value = 0.0f;
      for (int64_t j = 0; j < tokens; ++j) {
        value = fmaf(p[j], element_at(values, Element::kF16, j * head_dim + d), value);
      }
      parts[i].values[d] = value;
    }
  }
}

void attend_page_int8(const AttentionPage& page, AttentionPart* parts) {
  const int64_t head_dim = page.head_dim, pairs = key_pairs(head_dim);
  const int8_t* keys = reinterpret_cast<const int8_t*>(page.page);
  const int8_t* values = keys + int8_keys_bytes(head_dim);
  const uint8_t* scales = page.page + int8_scales_offset(head_dim);
  for (int64_t i = 0; i < page.queries; ++i) {
    const int16_t* q = static_cast<const int16_t*>(page.q) + i * 2 * pairs;
    const int64_t tokens = page.seen[i];
    float p[kPageTokens];
    for (int64_t j = 0; j < tokens; ++j) {
      int32_t sum = 0;
      for (int64_t d = 0; d < 2 * pairs; ++d) sum += q[d] * keys[(d / 2 * kPageTokens + j) * 2 + d % 2];
      p[j] = static_cast<float>(sum) * (page.q_multiplier[i] * element_at(scales, Element::kF32, j));
    }
    weigh_keys(p, tokens, &parts[i]);

    float max = 0x1p-100f;
    for (int64_t j = 0; j < tokens; ++j) {
      p[j] *= element_at(scales, Element::kF32, kPageTokens + j);
      if (p[j] > max) max = p[j];
    }
    const float r = 32767.0f / max, multiplier = max / 32767.0f;
    int32_t codes[kPageTokens];
    for (int64_t j = 0; j < tokens; ++j) {
      float v = p[j] * r;
      v = v > 0.0f ? v : 0.0f;
      codes[j] = static_cast<int32_t>((v + kRoundingShift) - kRoundingShift);
    }
    for (int64_t d = 0; d < head_dim; ++d) {
      int32_t sum = 0;
      for (int64_t j = 0; j < tokens; ++j) sum += codes[j] * values[(j / 2 * head_dim + d) * 2 + j % 2];
      parts[i].values[d] = static_cast<float>(sum) * multiplier;
    }
  }
}

void merge_attention(const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
  const float max = part.max > total->max ? part.max : total->max;
  const float a = exponential(total->max - max);
  const float b = exponential(part.max - max);
  total->max = max;
  total->sum = total->sum * a + part.sum * b;
  for (int64_t d = 0; d < head_dim; ++d) total->values[d] = total->values[d] * a + part.values[d] * b;
}

void finish_attention(const AttentionPart& total, int64_t head_dim, float* y) {
  for (int64_t d = 0; d < head_dim; ++d) y[d] = total.values[d] / total.sum;
}

void dequantize_rows(const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                     const float* residual, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    const float multiplier = scales.divides ? scales.step / scales.scale[i] : scales.scale[i] * scales.step;
    dequantize(acc + i, 1, multiplier, bias ? bias + i : nullptr, residual ? residual + i : nullptr, y + i);
  }
}

void activate(const float* x, Activation activation, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = activate(x[i], activation);
}

void softmax(const float* x, int64_t count, float* y) {
  float max = float_of(0xFF800000u);
  for (int64_t i = 0; i < count; ++i) {
    if (x[i] > max) max = x[i];
  }
  max += 0.0f;
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    y[i] = exponential(x[i] - max);
    lanes[i % kLanes] += y[i];
  }
  const float sum = fold_lanes(lanes);
  for (int64_t i = 0; i < count; ++i) y[i] = y[i] / sum;
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t count, float eps, float* y) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i % kLanes] += x[i];
  const float mean = fold_lanes(lanes) / static_cast<float>(count);
  float squares[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float square = (x[i] - mean) * (x[i] - mean);
    squares[i % kLanes] += square;
  }
  const float r = 1.0f / sqrtf(fold_lanes(squares) / static_cast<float>(count) + eps);
  for (int64_t i = 0; i < count; ++i) {
    const float value = ((x[i] - mean) * r) * weight[i];
    y[i] = bias ? value + bias[i] : value;
  }
}

void pack_head(const HeadPack& pack) { pack_head_rows(pack); }

int head_code(const uint8_t* codes, int bits, int64_t k, int row) {
  if (bits == 8) return codes[k / 4 * 64 + 4 * row + k % 4];
  return (codes[k / 8 * 64 + 4 * row + k % 4] >> (k % 8 / 4 * 4)) & 15;
}

void scan_head(const HeadScan& scan) {
  const int64_t groups = head_groups(scan.columns);
  for (int64_t panel = 0; panel < scan.panels_used; ++panel) {
    const uint8_t* scales = scan.panels + panel * head_panel_bytes(scan.columns, scan.bits);
    const uint8_t* codes = scales + head_scales_bytes(scan.columns);
    for (int64_t t = 0; t < scan.tokens; ++t) {
      const HeadRow& x = scan.x[t];
      for (int row = 0; row < kPanelRows; ++row) {
        const int64_t place = panel * kPanelRows + row;
        float y = 0.0f, v = 0.0f;
        for (int64_t group = 0; group < groups; ++group) {
          int32_t sum = -x.zeros[group];
          for (int64_t k = group * kHeadGroup; k < (group + 1) * kHeadGroup; ++k) {
            sum += head_code(codes, scan.bits, k, row) * (256 * x.high[k] + x.low[k]);
          }
          const float scale = element_at(scales, Element::kBF16, group * kPanelRows + row);
          y = fmaf(scale, static_cast<float>(sum) + x.offsets[group], y);
          if (scan.bits == 4) v = fmaf(scale * scale, x.squares[group], v);
        }
        const float estimate = y * x.scale;
        scan.estimates[t * scan.stride + place] = estimate;
        if (!scan.bounds) continue;
        const float deviation = scan.bits == 4 ? sqrtf(v) : scan.residuals[place];
        scan.bounds[t * scan.stride + place] = fmaf(scan.norms[place], x.slack, fmaf(deviation, x.spread, estimate));
      }
    }
  }
}

}  // namespace

const KernelSet kScalarKernels = {
    "scalar",
    0,
    {{k2BitLayout, pack_2bit, gemv<gemm_2bit>, gemm_2bit},
     {k1_6BitLayout, pack_1_6bit, gemv<gemm_1_6bit>, gemm_1_6bit}},
    quantize,
    dequantize,
    dense_matmul,
    widen,
    rms_norm,
    add,
    gate,
    rope,
    narrow,
    quantize_query,
    attend_page_f16,
    attend_page_int8,
    merge_attention,
    finish_attention,
    dequantize_rows,
    activate,
    softmax,
    layer_norm,
    pack_head,
    scan_head,
};

}  // namespace tritium::kernels
