// The self-check passes the compiled sets and finds a set in which one kernel is slightly wrong.
#include "kernels/self_check.h"

#include <cmath>

#include "kernel_problems.h"

namespace tritium::kernels::testing {
namespace self_check_test {

class SelfCheckTest : public EverySet {};
INSTANTIATE_TEST_SUITE_P(, SelfCheckTest, ::testing::ValuesIn(all_sets()), set_name);

TEST_P(SelfCheckTest, FindsNoDifferenceInACompiledSet) {
  for (uint64_t seed : {0, 1, 2}) {
    const auto checks = check_kernel_set(set(), seed);
    ASSERT_EQ(checks.size(), 20 + 3 * formats_of(set()).size());
    for (const KernelCheck& check : checks) {
      EXPECT_GT(check.problems, 10) << check.kernel;
      EXPECT_EQ(check.first_difference, "") << check.kernel;
    }
  }
}

struct WrongKernel {
  const char* kernel;
  void (*plant)(KernelSet& set);
};

const WrongKernel kWrongKernels[] = {
    {"pack_panel 2bit",
     [](KernelSet& set) {  // forgets the last row
       set.ternary[0].pack_panel = [](const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
         scalar().ternary[0].pack_panel(trits, rows == 16 ? 15 : rows, columns, panel);
       };
     }},
    {"ternary_gemv 2bit",
     [](KernelSet& set) {  // a sum that saturates in 16 bits
       set.ternary[0].gemv = [](const TernaryMatmul& problem) {
         scalar().ternary[0].gemv(problem);
         const int64_t rows = problem.panels_used * kPanelRows;
         for (int64_t i = 0; i < rows; ++i) problem.acc[i] = std::max(problem.acc[i], -32768);
       };
     }},
    {"ternary_gemm 2bit",
     [](KernelSet& set) {  // uses the first token's sum for the last one
       set.ternary[0].gemm = [](const TernaryMatmul& problem) {
         std::vector<int32_t> sums(problem.q_sum, problem.q_sum + problem.tokens);
         sums.back() = sums.front();
         TernaryMatmul wrong = problem;
         wrong.q_sum = sums.data();
         scalar().ternary[0].gemm(wrong);
       };
     }},
    {"pack_panel 1.6bit",
     [](KernelSet& set) {  // leaves out the fifth code of the last block
       set.ternary[1].pack_panel = [](const int8_t* trits, int64_t rows, int64_t columns, uint8_t* panel) {
         scalar().ternary[1].pack_panel(trits, rows, columns, panel);
         const int64_t blocks = padded_columns(columns) / 80;
         if (blocks > 0 && panel[256 * blocks - 1] < 192) panel[256 * blocks - 1] &= 63;
       };
     }},
    {"ternary_gemv 1.6bit",
     [](KernelSet& set) {  // is one too large in long rows
       set.ternary[1].gemv = [](const TernaryMatmul& problem) {
         scalar().ternary[1].gemv(problem);
         problem.acc[problem.panels_used * kPanelRows - 1] += problem.columns > 2000 ? 1 : 0;
       };
     }},
    {"ternary_gemm 1.6bit",
     [](KernelSet& set) {  // leaves the last panel of many
       set.ternary[1].gemm = [](const TernaryMatmul& problem) {
         scalar().ternary[1].gemm(problem);
         if (problem.panels_used > 4) problem.acc[problem.panels_used * kPanelRows - 1] = 0;
       };
     }},
    {"quantize",
     [](KernelSet& set) {  // rounds half away from zero
       set.quantize = [](const float* x, int64_t columns, int8_t* q, QuantizedRow* row) {
         scalar().quantize(x, columns, q, row);
         for (int64_t k = 0; k < columns; ++k) {
           const float scaled = x[k] * ((1.0f / row->absmax) * 127.0f);
           if (std::fabs(scaled) <= 127.0f) q[k] = static_cast<int8_t>(std::lround(scaled));
         }
       };
     }},
    {"dequantize",
     [](KernelSet& set) {  // fuses the multiplication and the addition
       set.dequantize = [](const int32_t* acc, int64_t count, float multiplier, const float* bias,
                           const float* residual, float* y) {
         for (int64_t i = 0; i < count; ++i) {
           const float wide = static_cast<float>(acc[i]);
           float value = bias ? std::fmaf(wide, multiplier, bias[i]) : wide * multiplier;
           y[i] = residual ? value + residual[i] : value;
         }
       };
     }},
    {"dense_matmul",
     [](KernelSet& set) {  // one element too many
       set.dense_matmul = [](const DenseMatmul& problem) {
         scalar().dense_matmul(problem);
         problem.y[(problem.tokens - 1) * problem.y_stride + problem.rows] = 0.0f;
       };
     }},
    {"widen",
     [](KernelSet& set) {  // flushes subnormal numbers
       set.widen = [](const void* x, Element element, int64_t count, float* y) {
         scalar().widen(x, element, count, y);
         for (int64_t i = 0; i < count; ++i) {
           if (std::fpclassify(y[i]) == FP_SUBNORMAL) y[i] = 0.0f;
         }
       };
     }},
    {"rms_norm",
     [](KernelSet& set) {  // multiplies in another order
       set.rms_norm = [](const float* x, const float* weight, int64_t count, float eps, float* y) {
         const std::vector<float> ones(static_cast<size_t>(count), 1.0f);
         std::vector<float> scaled(static_cast<size_t>(count));
         scalar().rms_norm(x, ones.data(), count, eps, scaled.data());
         for (int64_t i = 0; i < count; ++i) {
           const float r = x[i] == 0.0f ? 0.0f : scaled[static_cast<size_t>(i)] / x[i];
           y[i] = (x[i] * weight[i]) * r;
         }
       };
     }},
    {"add",
     [](KernelSet& set) {  // leaves the last element
       set.add = [](const float* x, const float* z, int64_t count, float* y) { scalar().add(x, z, count - 1, y); };
     }},
    {"gate",
     [](KernelSet& set) {  // libm's exp
       set.gate = [](const float* gate, const float* up, Activation activation, int64_t count, float* y) {
         if (activation != Activation::kSilu) return scalar().gate(gate, up, activation, count, y);
         for (int64_t i = 0; i < count; ++i) y[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
       };
     }},
    {"rope",
     [](KernelSet& set) {  // fuses one product
       set.rope = [](float* x, const float* cosine, const float* sine, int64_t half) {
         for (int64_t j = 0; j < half; ++j) {
           const float a = x[j], b = x[j + half];
           x[j] = std::fmaf(a, cosine[j], -(b * sine[j]));
           x[j + half] = std::fmaf(b, cosine[j], a * sine[j]);
         }
       };
     }},
    {"narrow",
     [](KernelSet& set) {  // cuts instead of rounding
       set.narrow = [](const float* x, int64_t count, uint16_t* y) {
         std::vector<float> cut(x, x + count);
         for (float& value : cut) value = float_of(bits_of(value) & ~0x1FFFu);
         scalar().narrow(cut.data(), count, y);
       };
     }},
    {"quantize_query",
     [](KernelSet& set) {  // divides by absmax instead of multiplying by a reciprocal
       set.quantize_query = [](const float* q, int64_t head_dim, float scale, int16_t* codes, float* multiplier) {
         scalar().quantize_query(q, head_dim, scale, codes, multiplier);
         const float absmax = *multiplier / scale * 32767.0f;
         for (int64_t d = 0; d < head_dim; ++d) {
           if (std::isfinite(q[d] / absmax)) codes[d] = static_cast<int16_t>(std::rint(q[d] / absmax * 32766.0f));
         }
       };
     }},
    {"attend_page_f16",
     [](KernelSet& set) {  // looks at one token beyond
       set.attend_page_f16 = [](const AttentionPage& page, AttentionPart* parts) {
         std::vector<int32_t> seen(page.seen, page.seen + page.queries);
         for (int32_t& count : seen) count = std::min(count + 1, kPageTokens);
         AttentionPage wrong = page;
         wrong.seen = seen.data();
         scalar().attend_page_f16(wrong, parts);
       };
     }},
    {"attend_page_int8",
     [](KernelSet& set) {  // lets all queries see what the first one sees
       set.attend_page_int8 = [](const AttentionPage& page, AttentionPart* parts) {
         const std::vector<int32_t> seen(static_cast<size_t>(page.queries), page.seen[0]);
         AttentionPage wrong = page;
         wrong.seen = seen.data();
         scalar().attend_page_int8(wrong, parts);
       };
     }},
    {"merge_attention",
     [](KernelSet& set) {  // keeps the earlier maximum
       set.merge_attention = [](const AttentionPart& part, int64_t head_dim, AttentionPart* total) {
         const float max = total->max;
         scalar().merge_attention(part, head_dim, total);
         total->max = max;
       };
     }},
    {"finish_attention",
     [](KernelSet& set) {  // multiplies by the reciprocal
       set.finish_attention = [](const AttentionPart& total, int64_t head_dim, float* y) {
         const float reciprocal = 1.0f / total.sum;
         for (int64_t d = 0; d < head_dim; ++d) y[d] = total.values[d] * reciprocal;
       };
     }},
    {"dequantize_rows",
     [](KernelSet& set) {  // scales the sum before it multiplies the step
       set.dequantize_rows = [](const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                                const float* residual, float* y) {
         scalar().dequantize_rows(acc, count, scales, bias, residual, y);
         if (scales.divides || bias || residual) return;
         for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(acc[i]) * scales.scale[i] * scales.step;
       };
     }},
    {"activate",
     [](KernelSet& set) {  // a gelu that is the other one, with tanh
       set.activate = [](const float* x, Activation activation, int64_t count, float* y) {
         if (activation != Activation::kGelu) return scalar().activate(x, activation, count, y);
         for (int64_t i = 0; i < count; ++i) {
           y[i] = 0.5f * x[i] * (1.0f + std::tanh(0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
         }
       };
     }},
    {"softmax",
     [](KernelSet& set) {  // forgets the maximum
       set.softmax = [](const float* x, int64_t count, float* y) {
         float sum = 0.0f;
         for (int64_t i = 0; i < count; ++i) sum += y[i] = std::exp(x[i]);
         for (int64_t i = 0; i < count; ++i) y[i] /= sum;
       };
     }},
    {"layer_norm",
     [](KernelSet& set) {  // the variance in one pass
       set.layer_norm = [](const float* x, const float* weight, const float* bias, int64_t count, float eps, float* y) {
         float sum = 0.0f, squares = 0.0f;
         for (int64_t i = 0; i < count; ++i) {
           sum += x[i];
           squares += x[i] * x[i];
         }
         const float n = static_cast<float>(count), mean = sum / n;
         const float r = 1.0f / std::sqrt(squares / n - mean * mean + eps);
         for (int64_t i = 0; i < count; ++i) y[i] = (x[i] - mean) * r * weight[i] + (bias ? bias[i] : 0.0f);
       };
     }},
    {"pack_head",
     [](KernelSet& set) {  // rounds to the nearest code without a dither
       set.pack_head = [](const HeadPack& pack) {
         const std::vector<float> zeros(static_cast<size_t>(pack.columns));
         HeadPack wrong = pack;
         wrong.dither = zeros.data();
         scalar().pack_head(wrong);
       };
     }},
    {"scan_head",
     [](KernelSet& set) {  // forgets the low halves of the activations
       set.scan_head = [](const HeadScan& scan) {
         const std::vector<int8_t> zeros(static_cast<size_t>(scan.columns));
         std::vector<HeadRow> x(scan.x, scan.x + scan.tokens);
         for (HeadRow& row : x) row.low = zeros.data();
         HeadScan wrong = scan;
         wrong.x = x.data();
         scalar().scan_head(wrong);
       };
     }},
};

TEST(SelfCheck, FindsAPlantedWrongKernelAndNamesIt) {
  for (const WrongKernel& wrong : kWrongKernels) {
    KernelSet set = scalar();
    wrong.plant(set);
    for (const KernelCheck& check : check_kernel_set(set)) {
      EXPECT_EQ(check.first_difference.empty(), check.kernel != wrong.kernel)
          << wrong.kernel << " is wrong; " << check.kernel << ": " << check.first_difference;
    }
  }
}

TEST(SelfCheck, PlantsAWrongKernelForEveryKernel) {
  std::vector<std::string> planted, checked;
  for (const WrongKernel& wrong : kWrongKernels) planted.emplace_back(wrong.kernel);
  for (const KernelCheck& check : check_kernel_set(scalar())) checked.push_back(check.kernel);
  EXPECT_EQ(planted, checked);
}

TEST(SelfCheck, SaysWhereTheDifferenceLies) {
  KernelSet set = scalar();
  set.add = [](const float* x, const float* z, int64_t count, float* y) {
    scalar().add(x, z, count, y);
    y[-1] = 0.0f;
  };
  for (const KernelCheck& check : check_kernel_set(set)) {
    if (check.kernel != "add") continue;
    EXPECT_NE(check.first_difference.find("y[-1] lies outside the output"), std::string::npos)
        << check.first_difference;
  }
}

}  // namespace self_check_test
}  // namespace tritium::kernels::testing
