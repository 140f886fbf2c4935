// The text of RowwiseKernels. `V` gives a register of V::kWidth floats and what can be done with it:
//   load, store, load_integers (as floats)  of all lanes, or of the first few; lanes not loaded are +0
//   set, add, sub, mul, div, fma (a * b + c), greater (a > b ? a : b), magnitude, negate
//   is_greater, is_nan, select (mask, yes, no); first (x, n, other): lanes n and above are `other`
//   exponential, inverse_root (of one float);  fold(lanes): the fold of 16 lanes
#pragma once

#include <math.h>

#include "kernels/compiler.h"
#include "kernels/rowwise.h"

namespace tritium::kernels {

// Which lanes of a register are meant: all, or the first few.
struct AllOfThem {};
struct FirstOfThem {
  int64_t count;
};

template <class V>
struct Rowwise {
  using Register = typename V::Register;
  static constexpr int kWidth = V::kWidth;
  static constexpr int kRegisters = 16 / kWidth;

  // Calls function(i, lanes) for i = 0, kWidth, …; lanes are those of the register below count.
  template <class Function>
  TRITIUM_INLINE void for_each(int64_t count, Function function) {
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) function(i, AllOfThem{});
    if (i < count) function(i, FirstOfThem{count - i});
  }

  // Calls function(register, i, lanes) in the order of the 16 lanes of a sum.
  template <class Function>
  TRITIUM_INLINE void for_each_in_lanes(int64_t count, Function function) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      TRITIUM_UNROLL
      for (int r = 0; r < kRegisters; ++r) function(r, i + r * kWidth, AllOfThem{});
    }
    TRITIUM_UNROLL
    for (int r = 0; r < kRegisters; ++r, i += kWidth) {
      if (i + kWidth <= count) {
        function(r, i, AllOfThem{});
      } else if (i < count) {
        function(r, i, FirstOfThem{count - i});
      }
    }
  }

  TRITIUM_INLINE Register only(Register x, AllOfThem, float) { return x; }
  TRITIUM_INLINE Register only(Register x, FirstOfThem lanes, float other) {
    return V::first(x, lanes.count, V::set(other));
  }

  TRITIUM_INLINE Register relu(Register v) { return V::greater(v, V::set(0.0f)); }

  TRITIUM_INLINE Register gelu(Register v) {
    const Register magnitude = V::magnitude(v), limit = V::set(16.0f);
    const Register a = V::select(V::is_greater(limit, magnitude), magnitude, limit);
    const Register u = V::div(V::set(1.0f), V::add(a, V::set(3.5f)));
    const Register t = V::fma(u, V::set(-7.0f), V::set(1.0f));
    Register p = V::set(0x1.e36caep-14f);
    p = V::fma(p, t, V::set(0x1.c3563ap-12f));
    p = V::fma(p, t, V::set(-0x1.0301f8p-11f));
    p = V::fma(p, t, V::set(-0x1.a0e89ap-9f));
    p = V::fma(p, t, V::set(0x1.a96c24p-8f));
    p = V::fma(p, t, V::set(0x1.1d345ep-6f));
    p = V::fma(p, t, V::set(-0x1.db5a14p-4f));
    p = V::fma(p, t, V::set(0x1.42fec4p-2f));
    p = V::fma(p, t, V::set(-0x1.219150p-1f));
    p = V::fma(p, t, V::set(0x1.7d241ap-1f));
    Register w = V::mul(V::mul(a, u), p);
    const Register square = V::mul(a, a), half = V::set(-0.5f);
    const Register lost = V::fma(a, a, V::negate(square));
    w = V::fma(V::mul(half, w), lost, w);
    const Register tail = V::mul(w, V::exponential(V::mul(half, square)));
    return V::select(V::is_nan(v), v, V::sub(relu(v), tail));
  }

  template <Activation kActivation>
  TRITIUM_INLINE Register apply(Register v) {
    if constexpr (kActivation == Activation::kRelu) return relu(v);
    if constexpr (kActivation == Activation::kRelu2) return V::mul(relu(v), relu(v));
    if constexpr (kActivation == Activation::kSilu) {
      return V::div(v, V::add(V::set(1.0f), V::exponential(V::negate(v))));
    }
    if constexpr (kActivation == Activation::kGelu) return gelu(v);
    return v;
  }

  template <Activation kActivation>
  static void gate(const float* gate, const float* up, int64_t count, float* y) {
    for_each(count, [&](int64_t i, auto lanes) {
      V::store(y + i, lanes, V::mul(apply<kActivation>(V::load(gate + i, lanes)), V::load(up + i, lanes)));
    });
  }

  template <Activation kActivation>
  static void activate(const float* x, int64_t count, float* y) {
    for_each(count, [&](int64_t i, auto lanes) { V::store(y + i, lanes, apply<kActivation>(V::load(x + i, lanes))); });
  }

  template <bool kDivides>
  static void dequantize(const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                         const float* residual, float* y) {
    const Register step = V::set(scales.step);
    for_each(count, [&](int64_t i, auto lanes) {
      const Register scale = V::load(scales.scale + i, lanes);
      const Register multiplier = kDivides ? V::div(step, scale) : V::mul(scale, step);
      Register value = V::mul(V::load_integers(acc + i, lanes), multiplier);
      if (bias) value = V::add(value, V::load(bias + i, lanes));
      if (residual) value = V::add(value, V::load(residual + i, lanes));
      V::store(y + i, lanes, value);
    });
  }

  // The largest of x; see KernelSet::softmax.
  static float maximum(const float* x, int64_t count) {
    Register max[kRegisters];
    TRITIUM_UNROLL
    for (int r = 0; r < kRegisters; ++r) max[r] = V::set(-HUGE_VALF);
    for_each_in_lanes(count, [&](int r, int64_t i, auto lanes) {
      max[r] = V::greater(only(V::load(x + i, lanes), lanes, -HUGE_VALF), max[r]);
    });
    float all[16];
    TRITIUM_UNROLL
    for (int r = 0; r < kRegisters; ++r) V::store(all + r * kWidth, AllOfThem{}, max[r]);
    float largest = all[0];
    for (float value : all) largest = value > largest ? value : largest;
    return largest + 0.0f;
  }

  // Sums over lanes of term(i, lanes). A sum is never -0, so that adding the +0 of an absent term changes nothing.
  template <class Term>
  TRITIUM_INLINE float sum(int64_t count, Term term) {
    Register sums[kRegisters];
    TRITIUM_UNROLL
    for (int r = 0; r < kRegisters; ++r) sums[r] = V::set(0.0f);
    for_each_in_lanes(
        count, [&](int r, int64_t i, auto lanes) { sums[r] = V::add(sums[r], only(term(i, lanes), lanes, 0.0f)); });
    return V::fold(sums);
  }
};

template <class V>
void RowwiseKernels<V>::gate(const float* gate, const float* up, Activation activation, int64_t count, float* y) {
  switch (activation) {
    case Activation::kIdentity:
      return Rowwise<V>::template gate<Activation::kIdentity>(gate, up, count, y);
    case Activation::kRelu:
      return Rowwise<V>::template gate<Activation::kRelu>(gate, up, count, y);
    case Activation::kRelu2:
      return Rowwise<V>::template gate<Activation::kRelu2>(gate, up, count, y);
    case Activation::kSilu:
      return Rowwise<V>::template gate<Activation::kSilu>(gate, up, count, y);
    case Activation::kGelu:
      return Rowwise<V>::template gate<Activation::kGelu>(gate, up, count, y);
  }
}

template <class V>
void RowwiseKernels<V>::activate(const float* x, Activation activation, int64_t count, float* y) {
  switch (activation) {
    case Activation::kIdentity:
      return Rowwise<V>::template activate<Activation::kIdentity>(x, count, y);
    case Activation::kRelu:
      return Rowwise<V>::template activate<Activation::kRelu>(x, count, y);
    case Activation::kRelu2:
      return Rowwise<V>::template activate<Activation::kRelu2>(x, count, y);
    case Activation::kSilu:
      return Rowwise<V>::template activate<Activation::kSilu>(x, count, y);
    case Activation::kGelu:
      return Rowwise<V>::template activate<Activation::kGelu>(x, count, y);
  }
}

template <class V>
void RowwiseKernels<V>::dequantize_rows(const int32_t* acc, int64_t count, const RowScales& scales, const float* bias,
                                        const float* residual, float* y) {
  const auto dequantize =
      scales.divides ? Rowwise<V>::template dequantize<true> : Rowwise<V>::template dequantize<false>;
  dequantize(acc, count, scales, bias, residual, y);
}

template <class V>
void RowwiseKernels<V>::softmax(const float* x, int64_t count, float* y) {
  using R = Rowwise<V>;
  const auto max = V::set(R::maximum(x, count));
  const auto total = V::set(R::sum(count, [&](int64_t i, auto lanes) {
    const auto p = V::exponential(V::sub(V::load(x + i, lanes), max));
    V::store(y + i, lanes, p);
    return p;
  }));
  R::for_each(count, [&](int64_t i, auto lanes) { V::store(y + i, lanes, V::div(V::load(y + i, lanes), total)); });
}

template <class V>
void RowwiseKernels<V>::layer_norm(const float* x, const float* weight, const float* bias, int64_t count, float eps,
                                   float* y) {
  using R = Rowwise<V>;
  const float n = static_cast<float>(count);
  const auto mean = V::set(R::sum(count, [&](int64_t i, auto lanes) { return V::load(x + i, lanes); }) / n);
  const float squares = R::sum(count, [&](int64_t i, auto lanes) {
    const auto d = V::sub(V::load(x + i, lanes), mean);
    return V::mul(d, d);
  });
  const auto r = V::set(V::inverse_root(squares / n + eps));
  R::for_each(count, [&](int64_t i, auto lanes) {
    auto value = V::mul(V::mul(V::sub(V::load(x + i, lanes), mean), r), V::load(weight + i, lanes));
    if (bias) value = V::add(value, V::load(bias + i, lanes));
    V::store(y + i, lanes, value);
  });
}

}  // namespace tritium::kernels
