// KernelSet, cpu_features and kernel_sets of tritium._core: kernels on numpy arrays, for tests and `tritium doctor`.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "bindings.h"
#include "kernels/cpu_features.h"
#include "kernels/dispatch.h"
#include "kernels/kv_page.h"
#include "kernels/self_check.h"

namespace py = pybind11;

namespace tritium {

namespace {

using namespace kernels;

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

void require(bool condition, const std::string& message) {
  if (!condition) throw py::value_error("[kernels] " + message);
}

template <class T>
void require_dimensions(const Array<T>& array, py::ssize_t dimensions, const char* name) {
  require(array.ndim() == dimensions, concat(name, ": ", array.ndim(), " dimensions given, ", dimensions, " needed"));
}

void require_equal(py::ssize_t got, py::ssize_t wanted, const char* what) {
  require(got == wanted, concat(what, ": ", got, " given, ", wanted, " needed"));
}

template <class T>
void require_same_shape(const Array<T>& a, const Array<T>& b, const char* what) {
  require_equal(b.ndim(), a.ndim(), (std::string(what) + " dimensions").c_str());
  for (py::ssize_t i = 0; i < a.ndim(); ++i) require_equal(b.shape(i), a.shape(i), what);
}

template <class T>
Array<T> array_like(const Array<T>& x) {
  return Array<T>(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
}

Activation activation_of(const std::string& name) {
  if (name == "identity") return Activation::kIdentity;
  if (name == "relu") return Activation::kRelu;
  if (name == "relu2") return Activation::kRelu2;
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  throw py::value_error("[kernels] activation \"" + name + "\" is none of identity, relu, relu2, silu, gelu");
}

class BoundKernelSet {
 public:
  explicit BoundKernelSet(const KernelSet& set) : set_(set) {}

  std::string name() const { return set_.name; }
  bool supported() const { return is_supported(set_); }

  std::tuple<Array<int8_t>, Array<float>, Array<int32_t>> quantize(const Array<float>& x) const {
    require_dimensions(x, 2, "x");
    const int64_t tokens = x.shape(0), columns = x.shape(1);
    Array<int8_t> q({tokens, columns});
    Array<float> absmax(tokens);
    Array<int32_t> sum(tokens);
    const float* in = x.data();
    int8_t* out = q.mutable_data();
    float* absmax_out = absmax.mutable_data();
    int32_t* sum_out = sum.mutable_data();
    run([&](const KernelSet& set) {
      std::vector<int8_t> padded(static_cast<size_t>(padded_columns(columns)));
      for (int64_t t = 0; t < tokens; ++t) {
        QuantizedRow row;
        set.quantize(in + t * columns, columns, padded.data(), &row);
        std::copy_n(padded.data(), columns, out + t * columns);
        absmax_out[t] = row.absmax;
        sum_out[t] = row.sum;
      }
    });
    return {q, absmax, sum};
  }

  std::vector<std::string> ternary_formats() const {
    std::vector<std::string> names;
    for (const TernaryFormat& format : set_.ternary) {
      if (format.layout.name) names.emplace_back(format.layout.name);
    }
    return names;
  }

  Array<int32_t> ternary_matmul(const Array<int8_t>& weights, const Array<int8_t>& q, bool gemm,
                                const std::string& format) const {
    require_dimensions(weights, 2, "weights");
    require_dimensions(q, 2, "q");
    const int64_t rows = weights.shape(0), columns = weights.shape(1), tokens = q.shape(0);
    require_equal(q.shape(1), columns, "columns of q");
    require(columns >= 1 && columns <= kMaxColumns, concat(columns, " columns given, 1 to ", kMaxColumns, " allowed"));
    for (int64_t i = 0; i < rows * columns; ++i) {
      const int weight = weights.data()[i];
      if (weight < -1 || weight > 1) require(false, concat("weight ", i, " is ", weight, ", not -1, 0 or 1"));
    }
    const TernaryFormat* found = find_ternary_format(set_, format.c_str());
    require(found != nullptr, concat("the kernel set ", set_.name, " has no ternary format '", format, "'"));
    Array<int32_t> acc({tokens, rows});
    const int8_t* trits = weights.data();
    const int8_t* in = q.data();
    int32_t* out = acc.mutable_data();
    run([&](const KernelSet&) {
      const TernaryFormat& form = *found;
      const int64_t padded = padded_columns(columns), panels = panel_count(rows), width = panels * kPanelRows;
      std::vector<uint8_t> packed(static_cast<size_t>(panels * form.layout.panel_bytes(columns)));
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t first = panel * kPanelRows;
        form.pack_panel(trits + first * columns, std::min<int64_t>(kPanelRows, rows - first), columns,
                        packed.data() + panel * form.layout.panel_bytes(columns));
      }
      std::vector<int8_t> padded_q(static_cast<size_t>(tokens * padded));
      std::vector<int32_t> sums(static_cast<size_t>(tokens)), wide(static_cast<size_t>(tokens * width));
      for (int64_t t = 0; t < tokens; ++t) {
        std::copy_n(in + t * columns, columns, padded_q.data() + t * padded);
        for (int64_t k = 0; k < columns; ++k) sums[static_cast<size_t>(t)] += in[t * columns + k];
      }
      TernaryMatmul problem = {packed.data(), panels, padded, padded_q.data(), sums.data(), tokens, wide.data()};
      if (gemm) {
        form.gemm(problem);
      } else {
        problem.tokens = 1;
        for (int64_t t = 0; t < tokens; ++t) {
          form.gemv(problem);
          problem.q += padded;
          problem.q_sum += 1;
          problem.acc += width;
        }
      }
      for (int64_t t = 0; t < tokens; ++t) std::copy_n(wide.data() + t * width, rows, out + t * rows);
    });
    return acc;
  }

  Array<float> dequantize(const Array<int32_t>& acc, const Array<float>& multiplier,
                          const std::optional<Array<float>>& bias, const std::optional<Array<float>>& residual) const {
    require_dimensions(acc, 2, "acc");
    require_dimensions(multiplier, 1, "multiplier");
    const int64_t tokens = acc.shape(0), rows = acc.shape(1);
    require_equal(multiplier.shape(0), tokens, "multipliers");
    if (bias) {
      require_dimensions(*bias, 1, "bias");
      require_equal(bias->shape(0), rows, "bias");
    }
    if (residual) {
      require_dimensions(*residual, 2, "residual");
      require_equal(residual->shape(0), tokens, "tokens of residual");
      require_equal(residual->shape(1), rows, "rows of residual");
    }
    Array<float> y({tokens, rows});
    const int32_t* in = acc.data();
    const float* multipliers = multiplier.data();
    const float* biases = bias ? bias->data() : nullptr;
    const float* residuals = residual ? residual->data() : nullptr;
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      for (int64_t t = 0; t < tokens; ++t) {
        set.dequantize(in + t * rows, rows, multipliers[t], biases, residuals ? residuals + t * rows : nullptr,
                       out + t * rows);
      }
    });
    return y;
  }

  Array<float> rms_norm(const Array<float>& x, const Array<float>& weight, float eps) const {
    require_dimensions(weight, 1, "weight");
    require(x.ndim() >= 1, "x: 0 dimensions given, at least 1 needed");
    const int64_t count = x.shape(x.ndim() - 1);
    require_equal(weight.shape(0), count, "weight");
    Array<float> y = array_like(x);
    const int64_t tokens = count ? x.size() / count : 0;
    const float* in = x.data();
    const float* weights = weight.data();
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      for (int64_t t = 0; t < tokens; ++t) set.rms_norm(in + t * count, weights, count, eps, out + t * count);
    });
    return y;
  }

  Array<float> gate(const Array<float>& gate, const Array<float>& up, const std::string& activation) const {
    require_same_shape(gate, up, "up");
    const Activation kind = activation_of(activation);
    Array<float> y = array_like(gate);
    const float* gates = gate.data();
    const float* ups = up.data();
    float* out = y.mutable_data();
    const int64_t count = gate.size();
    run([&](const KernelSet& set) { set.gate(gates, ups, kind, count, out); });
    return y;
  }

  Array<float> activate(const Array<float>& x, const std::string& activation) const {
    const Activation kind = activation_of(activation);
    Array<float> y = array_like(x);
    const float* in = x.data();
    float* out = y.mutable_data();
    const int64_t count = x.size();
    run([&](const KernelSet& set) { set.activate(in, kind, count, out); });
    return y;
  }

  Array<float> softmax(const Array<float>& x) const {
    require_dimensions(x, 2, "x");
    Array<float> y = array_like(x);
    const int64_t rows = x.shape(0), count = x.shape(1);
    const float* in = x.data();
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      for (int64_t row = 0; row < rows; ++row) set.softmax(in + row * count, count, out + row * count);
    });
    return y;
  }

  Array<float> layer_norm(const Array<float>& x, const Array<float>& weight, const std::optional<Array<float>>& bias,
                          float eps) const {
    require_dimensions(x, 2, "x");
    require_dimensions(weight, 1, "weight");
    const int64_t rows = x.shape(0), count = x.shape(1);
    require_equal(weight.shape(0), count, "weight");
    if (bias) require_same_shape(weight, *bias, "bias");
    Array<float> y = array_like(x);
    const float* in = x.data();
    const float* weights = weight.data();
    const float* biases = bias ? bias->data() : nullptr;
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      for (int64_t row = 0; row < rows; ++row) {
        set.layer_norm(in + row * count, weights, biases, count, eps, out + row * count);
      }
    });
    return y;
  }

  Array<float> dequantize_rows(const Array<int32_t>& acc, const Array<float>& scale, const Array<float>& step,
                               bool divides) const {
    require_dimensions(acc, 2, "acc");
    require_dimensions(scale, 1, "scale");
    require_dimensions(step, 1, "step");
    const int64_t tokens = acc.shape(0), rows = acc.shape(1);
    require_equal(scale.shape(0), rows, "scale");
    require_equal(step.shape(0), tokens, "step");
    Array<float> y({tokens, rows});
    const int32_t* in = acc.data();
    const float* scales = scale.data();
    const float* steps = step.data();
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      for (int64_t t = 0; t < tokens; ++t) {
        set.dequantize_rows(in + t * rows, rows, {scales, steps[t], divides}, nullptr, nullptr, out + t * rows);
      }
    });
    return y;
  }

  Array<float> rope(const Array<float>& x, const Array<float>& cosine, const Array<float>& sine) const {
    require_dimensions(x, 1, "x");
    require_dimensions(cosine, 1, "cosine");
    require_dimensions(sine, 1, "sine");
    const int64_t half = cosine.shape(0);
    require_equal(sine.shape(0), half, "sine");
    require_equal(x.shape(0), 2 * half, "x");
    Array<float> y = array_like(x);
    float* out = y.mutable_data();
    std::copy_n(x.data(), 2 * half, out);
    const float* cosines = cosine.data();
    const float* sines = sine.data();
    run([&](const KernelSet& set) { set.rope(out, cosines, sines, half); });
    return y;
  }

  Array<float> dense_matmul(const py::array& weights, const std::string& element, const Array<float>& x) const {
    Element kind = Element::kF32;
    if (element == "float16") {
      kind = Element::kF16;
    } else if (element == "bfloat16") {
      kind = Element::kBF16;
    } else {
      require(element == "float32", "element \"" + element + "\" is none of float32, float16, bfloat16");
    }
    py::array stored;
    if (kind == Element::kF32) {
      stored = Array<float>::ensure(weights);
    } else {
      require(weights.dtype().kind() == 'u' && weights.itemsize() == 2,
              "weights of " + element + " must be the bits as uint16, " +
                  py::cast<std::string>(py::str(weights.dtype())) + " given");
      stored = Array<uint16_t>::ensure(weights);
    }
    if (!stored) throw py::error_already_set();
    require(stored.ndim() == 2, concat("weights: ", stored.ndim(), " dimensions given, 2 needed"));
    require_dimensions(x, 2, "x");
    const int64_t rows = stored.shape(0), columns = stored.shape(1), tokens = x.shape(0);
    require_equal(x.shape(1), columns, "columns of x");
    Array<float> y({tokens, rows});
    const DenseMatmul problem = {stored.data(), kind, columns, rows, x.data(), tokens, y.mutable_data(), rows};
    run([&](const KernelSet& set) { set.dense_matmul(problem); });
    return y;
  }

  Array<float> attend(const Array<float>& q, const Array<float>& k, const Array<float>& v, float scale,
                      const std::string& kv_dtype) const {
    require_dimensions(q, 2, "q");
    require_dimensions(k, 2, "k");
    require_dimensions(v, 2, "v");
    const int64_t queries = q.shape(0), head_dim = q.shape(1), tokens = k.shape(0);
    require(queries >= 1 && tokens >= queries,
            concat(tokens, " keys given for ", queries, " queries; the queries are those of the last tokens"));
    require_equal(k.shape(1), head_dim, "head_dim of k");
    require_equal(v.shape(0), tokens, "tokens of v");
    require_equal(v.shape(1), head_dim, "head_dim of v");
    require(kv_dtype == "f16" || kv_dtype == "int8", "kv_dtype \"" + kv_dtype + "\" is none of f16, int8");
    const bool int8 = kv_dtype == "int8";
    require(!int8 || head_dim <= kMaxInt8HeadDim,
            concat("head_dim ", head_dim, " given, int8 takes at most ", kMaxInt8HeadDim));
    Array<float> y({queries, head_dim});
    const float* query = q.data();
    const float* keys = k.data();
    const float* values = v.data();
    float* out = y.mutable_data();
    run([&](const KernelSet& set) {
      const size_t width = static_cast<size_t>(head_dim), count = static_cast<size_t>(queries);
      std::vector<int16_t> codes(count * static_cast<size_t>(2 * key_pairs(head_dim)));
      std::vector<float> multipliers(count), numbers(2 * count * width);
      std::vector<AttentionPart> totals, parts;
      for (size_t i = 0; i < count; ++i) {
        if (int8) {
          set.quantize_query(query + i * width, head_dim, scale,
                             codes.data() + i * static_cast<size_t>(2 * key_pairs(head_dim)), &multipliers[i]);
        }
        totals.push_back({-std::numeric_limits<float>::infinity(), 0.0f, numbers.data() + i * width});
        parts.push_back({0.0f, 0.0f, numbers.data() + (count + i) * width});
      }
      std::vector<uint8_t> page(static_cast<size_t>(int8 ? int8_page_bytes(head_dim) : f16_page_bytes(head_dim)));
      for (int64_t first = 0; first < tokens; first += kPageTokens) {
        for (int64_t j = first; j < std::min(tokens, first + kPageTokens); ++j) {
          (int8 ? append_token_int8 : append_token_f16)(set, keys + j * head_dim, values + j * head_dim, head_dim,
                                                        j - first, page.data());
        }
        const int64_t before = tokens - queries;  // tokens before the first query's
        const int64_t skipped = std::clamp<int64_t>(first - before, 0, queries);
        std::vector<int32_t> seen;
        for (int64_t i = skipped; i < queries; ++i) {
          seen.push_back(static_cast<int32_t>(std::min<int64_t>(kPageTokens, before + i + 1 - first)));
        }
        if (seen.empty()) break;
        const void* read = int8 ? static_cast<const void*>(codes.data() + skipped * 2 * key_pairs(head_dim))
                                : static_cast<const void*>(query + skipped * head_dim);
        const AttentionPage problem = {page.data(),       page.data(), read,     multipliers.data() + skipped,
                                       queries - skipped, seen.data(), head_dim, scale};
        (int8 ? set.attend_page_int8 : set.attend_page_f16)(problem, parts.data() + skipped);
        for (size_t i = static_cast<size_t>(skipped); i < count; ++i) {
          set.merge_attention(parts[i], head_dim, &totals[i]);
        }
      }
      for (size_t i = 0; i < count; ++i) set.finish_attention(totals[i], head_dim, out + i * width);
    });
    return y;
  }

  std::vector<std::tuple<std::string, int64_t, std::string>> check(uint64_t seed) const {
    std::vector<KernelCheck> checks;
    run([&](const KernelSet& set) { checks = check_kernel_set(set, seed); });
    std::vector<std::tuple<std::string, int64_t, std::string>> result;
    for (KernelCheck& check : checks) result.emplace_back(check.kernel, check.problems, check.first_difference);
    return result;
  }

 private:
  // Runs without the interpreter's lock.
  template <class Work>
  void run(Work work) const {
    if (!supported()) throw DeviceError(concat("[kernels] this CPU cannot run the kernel set \"", set_.name, "\""));
    python::ReleasedInterpreter released;
    work(set_);
  }

  const KernelSet& set_;
};

std::vector<std::string> feature_names() {
  std::vector<std::string> names;
  const uint32_t features = cpu_features();
  for (uint32_t bit = 1; bit != 0; bit <<= 1) {
    if (features & bit) names.emplace_back(cpu_feature_name(static_cast<CpuFeature>(bit)));
  }
  return names;
}

std::vector<BoundKernelSet> bound_kernel_sets() {
  std::vector<BoundKernelSet> sets;
  for (const KernelSet* const* set = compiled_kernel_sets(); *set; ++set) sets.emplace_back(**set);
  return sets;
}

}  // namespace

void bind_kernels(py::module_& m) {
  py::class_<BoundKernelSet>(m, "KernelSet",
                             "One kernel set, for tests and `tritium doctor`. Arrays are numpy; see "
                             "csrc/kernels/kernel_set.h.")
      .def_property_readonly("name", &BoundKernelSet::name)
      .def_property_readonly("supported", &BoundKernelSet::supported)
      .def_property_readonly("ternary_formats", &BoundKernelSet::ternary_formats)
      .def("quantize", &BoundKernelSet::quantize, py::arg("x"),
           "x (tokens, K) -> q (tokens, K), absmax (tokens,), sum (tokens,).")
      .def("ternary_matmul", &BoundKernelSet::ternary_matmul, py::arg("weights"), py::arg("q"), py::arg("gemm") = false,
           py::arg("format") = "2bit",
           "weights (N, K) in {-1, 0, 1}, q (tokens, K) -> acc (tokens, N). gemm=False: row by row through gemv.")
      .def("dequantize", &BoundKernelSet::dequantize, py::arg("acc"), py::arg("multiplier"),
           py::arg("bias") = py::none(), py::arg("residual") = py::none(),
           "acc (tokens, N), multiplier (tokens,), bias (N,), residual (tokens, N) -> y (tokens, N).")
      .def("rms_norm", &BoundKernelSet::rms_norm, py::arg("x"), py::arg("weight"), py::arg("eps"),
           "x (..., K), weight (K,) -> y (..., K).")
      .def("gate", &BoundKernelSet::gate, py::arg("gate"), py::arg("up"), py::arg("activation"),
           "act(gate) * up, elementwise; activation is identity, relu, relu2, silu or gelu.")
      .def("activate", &BoundKernelSet::activate, py::arg("x"), py::arg("activation"), "act(x), elementwise.")
      .def("softmax", &BoundKernelSet::softmax, py::arg("x"), "x (rows, K) -> y (rows, K).")
      .def("layer_norm", &BoundKernelSet::layer_norm, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("eps"),
           "x (rows, K), weight (K,), bias (K,) or None -> y (rows, K).")
      .def("dequantize_rows", &BoundKernelSet::dequantize_rows, py::arg("acc"), py::arg("scale"), py::arg("step"),
           py::arg("divides"), "acc (tokens, N), scale (N,), step (tokens,) -> y (tokens, N).")
      .def("rope", &BoundKernelSet::rope, py::arg("x"), py::arg("cosine"), py::arg("sine"),
           "x (2 * half,) -> rotated copy.")
      .def("dense_matmul", &BoundKernelSet::dense_matmul, py::arg("weights"), py::arg("element"), py::arg("x"),
           "weights (rows, K) as float32, or uint16 bits of \"float16\" / \"bfloat16\"; x (tokens, K) -> "
           "(tokens, rows).")
      .def("attend", &BoundKernelSet::attend, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("scale"),
           py::arg("kv_dtype") = "f16",
           "q (queries, head_dim) of the last tokens, k and v (tokens, head_dim) -> (queries, head_dim): causal "
           "attention over pages of 64, merged in order.")
      .def("check", &BoundKernelSet::check, py::arg("seed") = 0,
           "Each kernel against scalar on random problems: (kernel, problems compared, first difference or \"\").")
      .def("__repr__", [](const BoundKernelSet& set) { return "<KernelSet " + set.name() + ">"; });
  m.def("cpu_features", &feature_names,
        "Features that the CPU has and the operating system supports, of those that a kernel set can need.");
  m.def("kernel_sets", &bound_kernel_sets, "Kernel sets of this build, best first, supported here or not.");
}

}  // namespace tritium
