// Random problems at awkward sizes and with extreme values. Outputs lie between guards and start as poison; the whole
// buffers of both sets are compared, so that a missing write and a write outside the output show as well.
#include "kernels/self_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <sstream>
#include <utility>

#include "kernels/dispatch.h"

namespace tritium::kernels {

namespace {

constexpr unsigned char kPoison = 0xA5;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  // In [-1, 1).
  float uniform() { return static_cast<float>(static_cast<int32_t>(bits() >> 32)) * 0x1p-31f; }

 private:
  uint64_t state_;
};

// An output between two guards, misaligned on purpose.
template <class T>
class Output {
 public:
  explicit Output(int64_t count) : count_(count), all_(static_cast<size_t>(count + 2 * kGuard)) {
    std::memset(all_.data(), kPoison, all_.size() * sizeof(T));
  }
  T* data() { return all_.data() + kGuard; }
  void assign(const std::vector<T>& values) { std::copy(values.begin(), values.end(), data()); }

  // What differs from `expected`, or "".
  std::string difference(const Output& expected, const char* name) const {
    for (int64_t i = 0; i < count_ + 2 * kGuard; ++i) {
      const T& got = all_[static_cast<size_t>(i)];
      const T& wanted = expected.all_[static_cast<size_t>(i)];
      if (std::memcmp(&got, &wanted, sizeof(T)) == 0 || (is_nan(got) && is_nan(wanted))) continue;
      std::ostringstream text;
      text.precision(9);
      text << name << '[' << i - kGuard << "] ";
      if (i < kGuard || i >= count_ + kGuard) {
        text << "lies outside the output and was written";
      } else {
        text << "is " << +got << ", scalar gives " << +wanted;
      }
      return text.str();
    }
    return "";
  }

 private:
  static constexpr int64_t kGuard = 67;

  static bool is_nan(T value) { return value != value; }

  int64_t count_;
  std::vector<T> all_;
};

enum class Values { kPlain, kWide, kTiny, kLarge, kTies, kSpecial, kZero };
constexpr Values kAllValues[] = {Values::kPlain, Values::kWide,    Values::kTiny, Values::kLarge,
                                 Values::kTies,  Values::kSpecial, Values::kZero};

constexpr Activation kAllActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kRelu2,
                                          Activation::kSilu, Activation::kGelu};
constexpr int64_t kRowWidths[] = {1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 100, 640, 2560};

float value_of(Random& random, Values kind) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float u = random.uniform();
  switch (kind) {
    case Values::kPlain:
      return 4.0f * u * random.uniform();
    case Values::kWide:
      return std::ldexp(u, static_cast<int>(random.below(60)) - 30);
    case Values::kTiny:
      return u * 0x1p-126f;
    case Values::kLarge:
      return u * std::numeric_limits<float>::max();
    case Values::kTies:
      return static_cast<float>(random.below(255) - 127) + 0.5f * static_cast<float>(random.below(3) - 1);
    case Values::kSpecial: {
      const float special[] = {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), -0.0f, 100.0f, -100.0f};
      const int64_t choice = random.below(32);
      return choice < 6 ? special[choice] : 4.0f * u;
    }
    case Values::kZero:
      break;
  }
  return u < 0.0f ? -0.0f : 0.0f;
}

std::vector<float> floats(Random& random, int64_t count, Values kind) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = value_of(random, kind);
  return values;
}

enum class Weights { kMixed, kOnes, kMinusOnes, kZeros };
constexpr Weights kAllWeights[] = {Weights::kMixed, Weights::kOnes, Weights::kMinusOnes, Weights::kZeros};

std::vector<int8_t> trits(Random& random, int64_t count, Weights kind) {
  std::vector<int8_t> values(static_cast<size_t>(count), kind == Weights::kOnes ? 1 : kind == Weights::kZeros ? 0 : -1);
  if (kind != Weights::kMixed) return values;
  for (int8_t& value : values) value = static_cast<int8_t>(random.below(3) - 1);
  return values;
}

enum class Codes { kMixed, kLeast, kMost, kZeros, kOutlier };
constexpr Codes kAllCodes[] = {Codes::kMixed, Codes::kLeast, Codes::kMost, Codes::kZeros, Codes::kOutlier};

std::vector<int8_t> codes(Random& random, int64_t count, Codes kind) {
  std::vector<int8_t> values(static_cast<size_t>(count), kind == Codes::kLeast ? -128 : kind == Codes::kMost ? 127 : 0);
  if (kind == Codes::kMixed) {
    for (int8_t& value : values) value = static_cast<int8_t>(random.below(256) - 128);
  }
  if (kind == Codes::kOutlier) values[static_cast<size_t>(random.below(count))] = random.below(2) ? 127 : -127;
  return values;
}

// Rows and columns of the matrices of published models.
constexpr int64_t kRealShapes[][2] = {{2560, 2560}, {640, 2560},  {6912, 2560},
                                      {2560, 6912}, {3200, 8640}, {1536, 4096}};
constexpr int kFuzzedShapes = 48;
constexpr int64_t kFuzzedSize = 300;

class Checker {
 public:
  Checker(const KernelSet& set, const KernelSet& scalar, uint64_t seed) : set_(set), scalar_(scalar), random_(seed) {}

  std::vector<KernelCheck> run() {
    for (int format = 0; format < kTernaryFormats; ++format) {
      if (!set_.ternary[format].layout.name) continue;
      pack_panel(format);
      ternary_gemv(format);
      ternary_gemm(format);
    }
    quantize();
    dequantize();
    dense_matmul();
    widen();
    rms_norm();
    add();
    gate();
    rope();
    narrow();
    quantize_query();
    attend_page_f16();
    attend_page_int8();
    merge_attention();
    finish_attention();
    dequantize_rows();
    activate();
    softmax();
    layer_norm();
    pack_head();
    scan_head();
    return std::move(checks_);
  }

 private:
  void begin(const char* kernel) { checks_.push_back({kernel, 0, ""}); }
  void begin(const char* kernel, int format) {
    checks_.push_back({std::string(kernel) + " " + scalar_.ternary[format].layout.name, 0, ""});
  }

  // `run` computes the problem with a set into an output. `description` says its sizes.
  template <class T, class Run>
  void compare(const char* output, int64_t count, Run run, const std::function<std::string()>& description,
               const std::vector<T>* start = nullptr) {
    KernelCheck& check = checks_.back();
    ++check.problems;
    Output<T> got(count), wanted(count);
    if (start) {
      got.assign(*start);
      wanted.assign(*start);
    }
    run(scalar_, wanted.data());
    run(set_, got.data());
    if (!check.first_difference.empty()) return;
    const std::string difference = got.difference(wanted, output);
    if (!difference.empty()) check.first_difference = difference + " (" + description() + ")";
  }

  template <class... Args>
  static std::function<std::string()> sizes(Args... args) {
    return [args...] {
      std::ostringstream text;
      (text << ... << args);
      return text.str();
    };
  }

  void pack_panel(int format) {
    begin("pack_panel", format);
    for (int64_t rows : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16}) {
      for (int64_t columns : {1, 15, 16, 17, 31, 32, 33, 48, 79, 80, 81, 100, 319, 320, 336, 640, 2560, 6912}) {
        pack_problem(format, rows, columns, Weights::kMixed);
      }
    }
    for (int i = 0; i < kFuzzedShapes; ++i) {
      pack_problem(format, 1 + random_.below(kPanelRows), 1 + random_.below(kFuzzedSize), Weights::kMixed);
    }
    for (Weights weights : kAllWeights) pack_problem(format, kPanelRows, 1040, weights);
  }

  void pack_problem(int format, int64_t rows, int64_t columns, Weights kind) {
    const auto weights = trits(random_, rows * columns, kind);
    compare<uint8_t>(
        "panel", scalar_.ternary[format].layout.panel_bytes(columns),
        [&](const KernelSet& set, uint8_t* panel) {
          set.ternary[format].pack_panel(weights.data(), rows, columns, panel);
        },
        sizes("rows ", rows, ", columns ", columns));
  }

  void quantize() {
    begin("quantize");
    for (int64_t columns : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 640, 2560, 3200}) {
      for (Values kind : kAllValues) {
        auto x = floats(random_, columns, kind);
        if (kind == Values::kTies) x[static_cast<size_t>(random_.below(columns))] = 127.0f;
        compare<int8_t>(
            "q", padded_columns(columns),
            [&](const KernelSet& set, int8_t* q) {
              QuantizedRow row;
              set.quantize(x.data(), columns, q, &row);
            },
            sizes("columns ", columns));
        std::vector<int8_t> q(static_cast<size_t>(padded_columns(columns)));
        compare<float>(
            "absmax and sum", 2,
            [&](const KernelSet& set, float* result) {
              QuantizedRow row;
              set.quantize(x.data(), columns, q.data(), &row);
              result[0] = row.absmax;
              std::memcpy(result + 1, &row.sum, sizeof row.sum);
            },
            sizes("columns ", columns));
      }
    }
  }

  void ternary_gemv(int format) {
    begin("ternary_gemv", format);
    for (const auto& [rows, columns] : kRealShapes) {
      ternary_problem(format, &TernaryFormat::gemv, rows, columns, 1, Weights::kMixed, Codes::kMixed);
    }
    check_products(format, &TernaryFormat::gemv, {1});
  }

  void ternary_gemm(int format) {
    begin("ternary_gemm", format);
    for (const auto& [rows, columns] : kRealShapes) {
      ternary_problem(format, &TernaryFormat::gemm, 128 + rows % 100, columns, 4, Weights::kMixed, Codes::kMixed);
    }
    check_products(format, &TernaryFormat::gemm, {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 33});
  }

  using Product = void (*TernaryFormat::*)(const TernaryMatmul&);

  void check_products(int format, Product product, const std::vector<int64_t>& tokens) {
    const auto count = [&] { return tokens[static_cast<size_t>(random_.below(static_cast<int64_t>(tokens.size())))]; };
    for (int64_t columns : {1, 16, 32, 64, 80, 96, 112, 128, 144, 160, 256, 272, 640, 1040}) {
      for (int64_t panels : {1, 2, 3, 4, 5}) {
        ternary_problem(format, product, panels * kPanelRows, columns, count(), Weights::kMixed, Codes::kMixed);
      }
      for (int64_t m : tokens) ternary_problem(format, product, 40, columns, m, Weights::kMixed, Codes::kMixed);
    }
    for (int i = 0; i < kFuzzedShapes; ++i) {
      const int64_t rows = 1 + random_.below(kFuzzedSize), columns = 1 + random_.below(kFuzzedSize);
      ternary_problem(format, product, rows, columns, count(), Weights::kMixed, Codes::kMixed);
    }
    for (Weights weights : kAllWeights) {
      for (Codes q : kAllCodes) {
        for (int64_t m : tokens) ternary_problem(format, product, kPanelRows, m > 6 ? 1040 : 8640, m, weights, q);
      }
    }
  }

  void ternary_problem(int format, Product product, int64_t rows, int64_t columns, int64_t tokens, Weights weight_kind,
                       Codes code_kind) {
    const TernaryFormat& scalar = scalar_.ternary[format];
    const int64_t panels = panel_count(rows), bytes = scalar.layout.panel_bytes(columns);
    const int64_t padded = padded_columns(columns);
    const auto weights = trits(random_, rows * columns, weight_kind);
    std::vector<uint8_t> packed(static_cast<size_t>(panels * bytes));
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t first = panel * kPanelRows;
      scalar.pack_panel(weights.data() + first * columns, std::min<int64_t>(kPanelRows, rows - first), columns,
                        packed.data() + panel * bytes);
    }
    std::vector<int8_t> q(static_cast<size_t>(tokens * padded));
    std::vector<int32_t> q_sum(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) {
      const auto token = codes(random_, columns, code_kind);
      std::copy(token.begin(), token.end(), q.begin() + t * padded);
      q_sum[static_cast<size_t>(t)] = std::accumulate(token.begin(), token.end(), 0);
    }
    compare<int32_t>(
        "acc", tokens * panels * kPanelRows,
        [&](const KernelSet& set, int32_t* acc) {
          (set.ternary[format].*product)({packed.data(), panels, padded, q.data(), q_sum.data(), tokens, acc});
        },
        sizes("rows ", rows, ", columns ", columns, ", tokens ", tokens));
  }

  void dequantize() {
    begin("dequantize");
    for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 100, 2560}) {
      for (int64_t with : {0, 1, 2, 3}) {
        std::vector<int32_t> acc(static_cast<size_t>(count));
        for (int32_t& value : acc) value = static_cast<int32_t>(random_.bits()) >> random_.below(24);
        const auto bias = floats(random_, count, Values::kPlain), residual = floats(random_, count, Values::kSpecial);
        const float multiplier = random_.uniform() * 1e-3f;
        compare<float>(
            "y", count,
            [&](const KernelSet& set, float* y) {
              set.dequantize(acc.data(), count, multiplier, with & 1 ? bias.data() : nullptr,
                             with & 2 ? residual.data() : nullptr, y);
            },
            sizes("count ", count, with & 1 ? ", bias" : "", with & 2 ? ", residual" : ""));
        if (!(with & 2)) continue;
        compare<float>(
            "y", count,
            [&](const KernelSet& set, float* y) {
              set.dequantize(acc.data(), count, multiplier, with & 1 ? bias.data() : nullptr, y, y);
            },
            sizes("count ", count, with & 1 ? ", bias" : "", ", in place"), &residual);
      }
    }
  }

  // Elements as stored: floats, or their upper halves, or float16 of every kind.
  std::vector<uint32_t> stored(Element element, int64_t count, Values kind) {
    std::vector<uint32_t> words(static_cast<size_t>(count));  // more than enough for the halves
    auto* bytes = reinterpret_cast<unsigned char*>(words.data());
    for (int64_t i = 0; i < count; ++i) {
      const float value = value_of(random_, kind);
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      if (element == Element::kF32) {
        std::memcpy(bytes + 4 * i, &bits, 4);
        continue;
      }
      uint16_t half = static_cast<uint16_t>(bits >> 16);
      if (element == Element::kF16) {
        half = static_cast<uint16_t>(random_.bits());
        if ((half & 0x7C00) == 0x7C00 && kind != Values::kSpecial) half = static_cast<uint16_t>(half & ~0x4000);
      }
      std::memcpy(bytes + 2 * i, &half, 2);
    }
    return words;
  }

  void dense_matmul() {
    begin("dense_matmul");
    for (Element element : {Element::kF32, Element::kF16, Element::kBF16}) {
      for (int64_t columns : {1, 7, 8, 9, 15, 16, 17, 31, 33, 100}) {
        for (int64_t rows : {1, 2, 3, 4, 5, 7}) {
          for (int64_t tokens : {1, 2, 3, 4, 5}) dense_problem(element, columns, rows, tokens, Values::kPlain);
        }
        for (Values kind : kAllValues) dense_problem(element, columns, 5, 4, kind);
      }
      for (int64_t columns : {640, 2560}) dense_problem(element, columns, 9, 4, Values::kWide);
    }
  }

  void dense_problem(Element element, int64_t columns, int64_t rows, int64_t tokens, Values kind) {
    const auto weights = stored(element, rows * columns, kind);
    const auto x = floats(random_, tokens * columns, kind);
    const int64_t stride = rows + random_.below(3);
    compare<float>(
        "y", (tokens - 1) * stride + rows,
        [&](const KernelSet& set, float* y) {
          set.dense_matmul({weights.data(), element, columns, rows, x.data(), tokens, y, stride});
        },
        sizes("rows ", rows, ", columns ", columns, ", tokens ", tokens, ", element ", static_cast<int>(element)));
  }

  void widen() {
    begin("widen");
    for (Element element : {Element::kF32, Element::kF16, Element::kBF16}) {
      for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 100, 2560}) {
        for (Values kind : kAllValues) {
          const auto x = stored(element, count, kind);
          compare<float>(
              "y", count, [&](const KernelSet& set, float* y) { set.widen(x.data(), element, count, y); },
              sizes("count ", count, ", element ", static_cast<int>(element)));
        }
      }
    }
  }

  void rms_norm() {
    begin("rms_norm");
    for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 100, 640, 2560, 6912}) {
      for (Values kind : kAllValues) {
        const auto x = floats(random_, count, kind), weight = floats(random_, count, Values::kPlain);
        compare<float>(
            "y", count, [&](const KernelSet& set, float* y) { set.rms_norm(x.data(), weight.data(), count, 1e-5f, y); },
            sizes("count ", count));
        compare<float>(
            "y", count, [&](const KernelSet& set, float* y) { set.rms_norm(y, weight.data(), count, 1e-5f, y); },
            sizes("count ", count, ", in place"), &x);
      }
    }
  }

  void add() {
    begin("add");
    for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 100, 2560}) {
      for (Values kind : kAllValues) {
        const auto x = floats(random_, count, kind), z = floats(random_, count, kind);
        compare<float>(
            "y", count, [&](const KernelSet& set, float* y) { set.add(x.data(), z.data(), count, y); },
            sizes("count ", count));
        compare<float>(
            "y", count, [&](const KernelSet& set, float* y) { set.add(y, z.data(), count, y); },
            sizes("count ", count, ", in place"), &x);
      }
    }
  }

  void gate() {
    begin("gate");
    for (Activation act : kAllActivations) {
      for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 100, 2560}) {
        for (Values kind : kAllValues) {
          const auto gate = floats(random_, count, kind), up = floats(random_, count, Values::kPlain);
          const auto description = sizes("count ", count, ", activation ", static_cast<int>(act));
          compare<float>(
              "y", count, [&](const KernelSet& set, float* y) { set.gate(gate.data(), up.data(), act, count, y); },
              description);
          compare<float>(
              "y", count, [&](const KernelSet& set, float* y) { set.gate(y, up.data(), act, count, y); }, description,
              &gate);
        }
      }
    }
  }

  void rope() {
    begin("rope");
    for (int64_t half : {1, 4, 7, 8, 9, 16, 17, 50, 64}) {
      for (Values kind : kAllValues) {
        const auto x = floats(random_, 2 * half, kind);
        const auto cosine = floats(random_, half, Values::kPlain), sine = floats(random_, half, Values::kPlain);
        compare<float>(
            "x", 2 * half, [&](const KernelSet& set, float* y) { set.rope(y, cosine.data(), sine.data(), half); },
            sizes("half ", half), &x);
      }
    }
  }

  void narrow() {
    begin("narrow");
    for (int64_t count : {1, 7, 8, 9, 15, 16, 17, 100, 640}) {
      for (Values kind : kAllValues) {
        auto x = floats(random_, count, kind);
        for (float& value : x) {  // all exponents of a float16
          if (kind == Values::kPlain) value = std::ldexp(value, static_cast<int>(random_.below(44)) - 27);
        }
        compare<float>(
            "y, widened", count,
            [&](const KernelSet& set, float* y) {
              std::vector<uint16_t> halves(static_cast<size_t>(count));
              set.narrow(x.data(), count, halves.data());
              scalar_.widen(halves.data(), Element::kF16, count, y);
            },
            sizes("count ", count));
      }
    }
  }

  void quantize_query() {
    begin("quantize_query");
    for (int64_t head_dim : {1, 2, 7, 8, 9, 15, 16, 17, 64, 100, 128, 511, 512}) {
      for (Values kind : kAllValues) {
        const auto q = floats(random_, head_dim, kind);
        compare<int16_t>(
            "codes", 2 * key_pairs(head_dim),
            [&](const KernelSet& set, int16_t* codes) {
              float multiplier;
              set.quantize_query(q.data(), head_dim, 0.09f, codes, &multiplier);
            },
            sizes("head_dim ", head_dim));
        std::vector<int16_t> codes(static_cast<size_t>(2 * key_pairs(head_dim)));
        compare<float>(
            "multiplier", 1,
            [&](const KernelSet& set, float* multiplier) {
              set.quantize_query(q.data(), head_dim, 0.09f, codes.data(), multiplier);
            },
            sizes("head_dim ", head_dim));
      }
    }
  }

  void attend_page_f16() {
    begin("attend_page_f16");
    for (int64_t head_dim : {1, 7, 8, 9, 31, 64, 100, 128}) {
      for (int64_t queries : {1, 2, 3, 4, 5, 9}) {
        for (Values kind : {Values::kPlain, Values::kWide, Values::kSpecial, Values::kZero}) {
          const auto q = floats(random_, queries * head_dim, kind);
          auto numbers = stored(Element::kF16, f16_page_bytes(head_dim) / 2, kind);
          attend_problem(&KernelSet::attend_page_f16, reinterpret_cast<uint8_t*>(numbers.data()), q.data(), nullptr,
                         queries, head_dim);
        }
      }
    }
  }

  void attend_page_int8() {
    begin("attend_page_int8");
    for (int64_t head_dim : {1, 2, 7, 8, 9, 31, 64, 100, 128, 512}) {
      for (int64_t queries : {1, 2, 3, 4, 5, 9}) {
        for (int64_t extreme : {0, 1, 2}) {
          const auto code = [&](int64_t most) {
            return extreme == 0 ? random_.below(2 * most + 1) - most : extreme == 1 ? most : -most;
          };
          std::vector<int16_t> q(static_cast<size_t>(queries * 2 * key_pairs(head_dim)));
          for (int16_t& value : q) value = static_cast<int16_t>(code(32767));
          auto multipliers = floats(random_, queries, Values::kPlain);
          for (float& multiplier : multipliers) multiplier *= 1e-6f;
          std::vector<float> page(static_cast<size_t>(int8_page_bytes(head_dim)) / sizeof(float));
          auto* codes = reinterpret_cast<int8_t*>(page.data());
          for (int64_t i = 0; i < int8_scales_offset(head_dim); ++i) codes[i] = static_cast<int8_t>(code(127));
          for (size_t i = page.size() - 2 * kPageTokens; i < page.size(); ++i) {
            page[i] = value_of(random_, random_.below(8) ? Values::kPlain : Values::kWide);
          }
          attend_problem(&KernelSet::attend_page_int8, reinterpret_cast<uint8_t*>(page.data()), q.data(),
                         multipliers.data(), queries, head_dim);
        }
      }
    }
  }

  // values, then maxima and sums, of queries that see various numbers of tokens.
  void attend_problem(void (*KernelSet::*kernel)(const AttentionPage&, AttentionPart*), const uint8_t* page,
                      const void* q, const float* multipliers, int64_t queries, int64_t head_dim) {
    for (int64_t tokens : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 40, 57, 63, 64}) {
      std::vector<int32_t> seen(static_cast<size_t>(queries), static_cast<int32_t>(tokens));
      for (int32_t& count : seen)
        count += static_cast<int32_t>(random_.below(std::min<int64_t>(kPageTokens - tokens, 3) + 1));
      compare<float>(
          "values, maxima, sums", queries * (head_dim + 2),
          [&](const KernelSet& set, float* y) {
            std::vector<AttentionPart> parts;
            for (int64_t i = 0; i < queries; ++i) parts.push_back({0.0f, 0.0f, y + i * head_dim});
            (set.*kernel)({page, page, q, multipliers, queries, seen.data(), head_dim, 0.09f}, parts.data());
            for (int64_t i = 0; i < queries; ++i) {
              y[queries * head_dim + i] = parts[static_cast<size_t>(i)].max;
              y[queries * (head_dim + 1) + i] = parts[static_cast<size_t>(i)].sum;
            }
          },
          sizes("head_dim ", head_dim, ", queries ", queries, ", tokens from ", tokens));
    }
  }

  void merge_attention() {
    begin("merge_attention");
    for (int64_t head_dim : {1, 7, 8, 9, 64, 100, 128}) {
      for (Values kind : kAllValues) {
        auto earlier = floats(random_, head_dim + 2, kind), later = floats(random_, head_dim + 2, kind);
        for (bool first : {true, false}) {
          const float total_max = first ? -std::numeric_limits<float>::infinity() : earlier[0];
          compare<float>(
              "values, max, sum", head_dim + 2,
              [&](const KernelSet& set, float* y) {
                AttentionPart total = {total_max, first ? 0.0f : earlier[1], y};
                set.merge_attention({later[0], later[1], later.data() + 2}, head_dim, &total);
                y[head_dim] = total.max;
                y[head_dim + 1] = total.sum;
              },
              sizes("head_dim ", head_dim), &earlier);
        }
      }
    }
  }

  void finish_attention() {
    begin("finish_attention");
    for (int64_t head_dim : {1, 7, 8, 9, 64, 100, 128}) {
      for (Values kind : kAllValues) {
        auto values = floats(random_, head_dim, kind);
        const float sum = 1.0f + random_.uniform();
        compare<float>(
            "y", head_dim,
            [&](const KernelSet& set, float* y) { set.finish_attention({0.0f, sum, values.data()}, head_dim, y); },
            sizes("head_dim ", head_dim));
      }
    }
  }

  void dequantize_rows() {
    begin("dequantize_rows");
    for (int64_t count : kRowWidths) {
      for (int64_t with = 0; with < 8; ++with) {
        std::vector<int32_t> acc(static_cast<size_t>(count));
        for (int32_t& value : acc) value = static_cast<int32_t>(random_.bits()) >> random_.below(24);
        const auto bias = floats(random_, count, Values::kPlain), residual = floats(random_, count, Values::kSpecial);
        const auto scale = floats(random_, count, Values::kWide);
        const RowScales scales = {scale.data(), random_.uniform(), (with & 4) != 0};
        compare<float>(
            "y", count,
            [&](const KernelSet& set, float* y) {
              set.dequantize_rows(acc.data(), count, scales, with & 1 ? bias.data() : nullptr,
                                  with & 2 ? residual.data() : nullptr, y);
            },
            sizes("count ", count, with & 1 ? ", bias" : "", with & 2 ? ", residual" : "",
                  with & 4 ? ", divides" : ""));
      }
    }
  }

  // A kernel from a row to a row, also in place.
  template <class Kernel>
  void row_kernel(const std::vector<float>& x, const std::function<std::string()>& description, Kernel kernel) {
    const int64_t count = static_cast<int64_t>(x.size());
    compare<float>("y", count, [&](const KernelSet& set, float* y) { kernel(set, x.data(), y); }, description);
    compare<float>("y in place", count, [&](const KernelSet& set, float* y) { kernel(set, y, y); }, description, &x);
  }

  void activate() {
    begin("activate");
    for (Activation act : kAllActivations) {
      for (int64_t count : kRowWidths) {
        for (Values kind : kAllValues) {
          row_kernel(floats(random_, count, kind), sizes("count ", count, ", activation ", static_cast<int>(act)),
                     [&](const KernelSet& set, const float* x, float* y) { set.activate(x, act, count, y); });
        }
      }
    }
  }

  void softmax() {
    begin("softmax");
    for (int64_t count : kRowWidths) {
      for (Values kind : kAllValues) {
        row_kernel(floats(random_, count, kind), sizes("count ", count),
                   [&](const KernelSet& set, const float* x, float* y) { set.softmax(x, count, y); });
      }
    }
  }

  void layer_norm() {
    begin("layer_norm");
    for (int64_t count : kRowWidths) {
      for (Values kind : kAllValues) {
        const auto weight = floats(random_, count, Values::kPlain), bias = floats(random_, count, Values::kPlain);
        for (const float* added : {static_cast<const float*>(nullptr), bias.data()}) {
          row_kernel(floats(random_, count, kind), sizes("count ", count, added ? ", bias" : ""),
                     [&](const KernelSet& set, const float* x, float* y) {
                       set.layer_norm(x, weight.data(), added, count, 1e-5f, y);
                     });
        }
      }
    }
  }

  std::vector<float> dither(int64_t columns) {
    std::vector<float> values(static_cast<size_t>(columns));
    for (float& value : values) value = 0.499f * random_.uniform();
    return values;
  }

  void pack_head() {
    begin("pack_head");
    for (int bits : {4, 8}) {
      for (int64_t rows : {1, 7, 16}) {
        for (int64_t columns : {1, 17, 127, 128, 129, 300, 640}) {
          for (Values kind : kAllValues) {
            const auto weights = floats(random_, rows * columns, kind), u = dither(columns);
            std::vector<float> lengths(2 * kPanelRows);
            compare<uint8_t>(
                "panel", head_panel_bytes(columns, bits),
                [&](const KernelSet& set, uint8_t* panel) {
                  set.pack_head({weights.data(), rows, columns, bits, u.data(), panel, lengths.data(),
                                 lengths.data() + kPanelRows});
                },
                sizes("bits ", bits, ", rows ", rows, ", columns ", columns));
            std::vector<uint8_t> panel(static_cast<size_t>(head_panel_bytes(columns, bits)));
            compare<float>(
                "norms and residuals", (bits == 8 ? 2 : 1) * kPanelRows,
                [&](const KernelSet& set, float* y) {
                  set.pack_head({weights.data(), rows, columns, bits, u.data(), panel.data(), y, y + kPanelRows});
                },
                sizes("bits ", bits, ", rows ", rows, ", columns ", columns));
          }
        }
      }
    }
  }

  void scan_head() {
    begin("scan_head");
    for (int bits : {4, 8}) {
      for (int64_t groups : {1, 2, 5, 20}) {
        for (int64_t panels : {1, 2, 3}) {
          for (int64_t tokens : {1, 2, 5}) {
            for (bool extreme : {false, true}) head_problem(bits, groups, panels, tokens, extreme);
          }
        }
      }
    }
  }

  // extreme: the largest codes and the largest activations of one sign.
  void head_problem(int bits, int64_t groups, int64_t panels, int64_t tokens, bool extreme) {
    const int64_t columns = groups * kHeadGroup, rows = panels * kPanelRows;
    std::vector<uint8_t> packed(static_cast<size_t>(panels * head_panel_bytes(columns, bits)));
    for (uint8_t& byte : packed) byte = static_cast<uint8_t>(extreme ? 255 : random_.bits());
    for (int64_t panel = 0; panel < panels; ++panel) {
      for (int64_t i = 0; i < groups * kPanelRows; ++i) {
        const float scale = std::fabs(value_of(random_, Values::kPlain));
        uint32_t word;
        std::memcpy(&word, &scale, sizeof word);
        const auto half = static_cast<uint16_t>(word >> 16);
        std::memcpy(packed.data() + panel * head_panel_bytes(columns, bits) + 2 * i, &half, sizeof half);
      }
    }
    const int sign = random_.below(2) ? 1 : -1;
    std::vector<int8_t> high, low;
    std::vector<int16_t> q;
    std::vector<int32_t> zeros(static_cast<size_t>(tokens * groups));
    for (int64_t k = 0; k < tokens * columns; ++k) {
      const auto value = static_cast<int>(extreme ? sign * 32512 : random_.below(2 * 32512 + 1) - 32512);
      high.push_back(static_cast<int8_t>((value + 128) >> 8));
      low.push_back(static_cast<int8_t>(value - 256 * high.back()));
      q.push_back(static_cast<int16_t>(value));
      zeros[static_cast<size_t>(k / kHeadGroup)] += value * (bits == 4 ? 8 : 128);
      if (k % 4 == 3) std::swap(q[static_cast<size_t>(k - 2)], q[static_cast<size_t>(k - 1)]);
    }
    const auto offsets = floats(random_, tokens * groups, Values::kTies);
    const auto squares = floats(random_, tokens * groups, Values::kPlain);
    const auto norms = floats(random_, rows, Values::kPlain), residuals = floats(random_, rows, Values::kPlain);
    std::vector<HeadRow> x;
    for (int64_t t = 0; t < tokens; ++t) {
      x.push_back({high.data() + t * columns, low.data() + t * columns, q.data() + t * columns,
                   zeros.data() + t * groups, offsets.data() + t * groups, squares.data() + t * groups,
                   random_.uniform(), random_.uniform(), random_.uniform()});
    }
    for (bool bounded : {false, true}) {
      const int64_t half = tokens * rows;
      compare<float>(
          "estimates and bounds", bounded ? 2 * half : half,
          [&](const KernelSet& set, float* y) {
            set.scan_head({packed.data(), panels, columns, bits, norms.data(), residuals.data(), x.data(), tokens, y,
                           bounded ? y + half : nullptr, rows});
          },
          sizes("bits ", bits, ", panels ", panels, ", columns ", columns, ", tokens ", tokens));
    }
  }

  const KernelSet& set_;
  const KernelSet& scalar_;
  Random random_;
  std::vector<KernelCheck> checks_;
};

}  // namespace

std::vector<KernelCheck> check_kernel_set(const KernelSet& set, uint64_t seed) {
  return Checker(set, *find_kernel_set("scalar"), seed).run();
}

}  // namespace tritium::kernels
