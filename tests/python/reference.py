"""The arithmetic of Tritium in numpy: the text that defines what every backend computes.

Everything is float32 and every operation rounds once, to nearest even; sums of integers are
exact. Sums of floats follow one order, the 16 virtual lanes of csrc/kernels/kernel_set.h, so that
kernels can be compared bit for bit. Nothing here is fast, and nothing here imports the package
that it checks.

Sources: BitNet b1.58 (arXiv:2402.17764), the BitNet b1.58 2B4T report (arXiv:2504.12285), Llama
(arXiv:2302.13971, arXiv:2407.21783), and what Hugging Face transformers makes of
`quant_method: bitnet`. In shapes, T counts tokens, K columns (inputs) and N rows (outputs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32 = np.float32
Floats = NDArray[np.float32]

LANES = 16
PAGE_TOKENS = 64
SMALLEST_ABSMAX = F32(1e-5)  # keeps 1 / absmax finite for a row of zeros
SMALLEST_MEAN = F32(1e-5)  # keeps 1 / mean finite for a matrix of zeros


# Float building blocks ----------------------------------------------------------------------------


def fma(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Floats:
    """a * b + c with a single rounding to float32, elementwise.

    The product of two float32 is exact in float64. Its sum with c is rounded to odd (the last bit
    tells that something was cut off), after which rounding to float32 is correct, because
    53 >= 24 + 2 bits (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    c = np.asarray(c, np.float64)
    total = np.asarray(product + c)
    virtual = total - product
    error = (product - (total - virtual)) + (c - virtual)  # TwoSum: total + error is the exact sum
    bits = np.atleast_1d(total).view(np.int64)
    cut = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    towards = np.where((error > 0) == (total > 0), 1, -1)  # away from zero or towards it
    odd = (bits + cut * towards).view(np.float64)
    return odd.astype(F32).reshape(total.shape)


def _in_lanes(x: Floats) -> Floats:
    """(..., n) -> (..., ceil(n / 16), 16), zeros beyond n."""
    padding = -x.shape[-1] % LANES
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], padding), F32)], axis=-1)
    return padded.reshape(*x.shape[:-1], -1, LANES)


def _fold_lanes(lanes: Floats) -> Floats:
    """(..., 16) -> (...): lane l += lane l + 8, then + 4, + 2, + 1."""
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def lane_sum(x: Floats) -> Floats:
    """Sum over the last axis "over lanes": (..., n) -> (...)."""
    steps = _in_lanes(x)
    lanes = np.zeros((*x.shape[:-1], LANES), F32)
    for step in range(steps.shape[-2]):
        lanes = lanes + steps[..., step, :]
    return _fold_lanes(lanes)


def dense_matmul(x: Floats, weights: Floats) -> Floats:
    """x (T, K), weights (N, K) -> (T, N): dot products over lanes by fma. Used for the head."""
    x_steps, weight_steps = _in_lanes(x), _in_lanes(weights)
    lanes = np.zeros((x.shape[0], weights.shape[0], LANES), F32)
    for step in range(x_steps.shape[-2]):
        lanes = fma(weight_steps[None, :, step], x_steps[:, None, step], lanes)
    return _fold_lanes(lanes)


EXP_SMALLEST = F32(float.fromhex("-0x1.5d589ep+6"))  # below it 2^-126 > e^x, and the result is 0
EXP_LARGEST = F32(float.fromhex("0x1.62e42ep+6"))  # above it the result is infinite
ROUNDING_SHIFT = F32(12582912)  # 1.5 * 2^23: adding it rounds to an integer, half to even
LOG2_E = F32(float.fromhex("0x1.715476p+0"))
LN2_HIGH = F32(float.fromhex("0x1.62e430p-1"))
LN2_LOW = F32(float.fromhex("-0x1.05c610p-29"))  # LN2_HIGH + LN2_LOW is ln 2 to 48 bits
EXP_POLYNOMIAL = [
    F32(float.fromhex(c))
    for c in ("0x1.6d113cp-10", "0x1.120ba2p-7", "0x1.55551ap-5", "0x1.5554dcp-3")
] + [F32(0.5), F32(1), F32(1)]


def exp(x: ArrayLike) -> Floats:
    """e to the x within one unit in the last place, built of fma alone: the same bits everywhere.

    x = n ln 2 + r with |r| <= ln(2) / 2; a polynomial of degree 6 in r, times 2^n.
    """
    x = np.asarray(x, F32)
    inside = np.clip(np.nan_to_num(x, nan=0), EXP_SMALLEST, EXP_LARGEST)
    n = fma(inside, LOG2_E, ROUNDING_SHIFT) - ROUNDING_SHIFT
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, inside))
    p = np.full_like(r, EXP_POLYNOMIAL[0])
    for coefficient in EXP_POLYNOMIAL[1:]:
        p = fma(p, r, coefficient)
    result = np.ldexp(p, n.astype(np.int32))
    result = np.where(x < EXP_SMALLEST, F32(0), result)
    return np.where(x > EXP_LARGEST, F32(np.inf), np.where(np.isnan(x), x, result))


# Ternary linear -----------------------------------------------------------------------------------


def quantize_activations(x: Floats) -> tuple[NDArray[np.int8], Floats]:
    """x (T, K) -> codes q (T, K) in -127..127 and absmax a (T,), x ~ q * a / 127.

    a = max(max |x|, 1e-5); s = (1 / a) * 127; q = rint(x * s), half to even, clipped. Only NaN
    becomes -128. PyTorch computes 127 / tensor in these two roundings, and checkpoints are trained
    with it.
    """
    absmax = np.maximum(np.fmax.reduce(np.abs(x), axis=-1, initial=F32(0)), SMALLEST_ABSMAX)
    with np.errstate(invalid="ignore"):
        scaled = x * ((F32(1) / absmax) * F32(127))[:, None]
    clipped = np.where(np.isnan(scaled), F32(-128), np.clip(scaled, F32(-128), F32(127)))
    return np.rint(clipped).astype(np.int8), absmax


def ternarize(master: Floats) -> tuple[NDArray[np.int8], np.float32]:
    """Float weights (N, K) -> weights in {-1, 0, 1} and the scale mean |W| ("absmean").

    The mean is summed in float64 and then rounded to float32. The scale multiplies.
    """
    scale = np.maximum(F32(np.abs(master).mean(dtype=np.float64)), SMALLEST_MEAN)
    trits = np.clip(np.rint(master * (F32(1) / scale)), -1, 1).astype(np.int8)
    return trits, scale


def pack_stripes(trits: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Weights (N, K) -> bytes (ceil(N / 4), K) of a Hugging Face checkpoint.

    Row i * ceil(N / 4) + r lies in bits 2i, 2i + 1 of byte row r, as weight + 1. Rows beyond N
    are code 0.
    """
    rows, columns = trits.shape
    stripe_rows = -(-rows // 4)
    codes = np.zeros((4 * stripe_rows, columns), np.uint8)
    codes[:rows] = trits + 1
    stripes = codes.reshape(4, stripe_rows, columns)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None, None]
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(stripes << shifts, axis=0)
    return packed


def unpack_stripes(packed: NDArray[np.uint8], rows: int) -> NDArray[np.int8]:
    """The inverse of pack_stripes, without the stored rows beyond `rows`. ValueError on code 3."""
    codes = np.concatenate([(packed >> shift) & 3 for shift in (0, 2, 4, 6)])[:rows]
    if (codes == 3).any():
        row, column = np.argwhere(codes == 3)[0]
        raise ValueError(f"code 3 at row {row}, column {column}: only 0, 1, 2 are weights")
    return codes.astype(np.int8) - np.int8(1)


def ternary_matmul(trits: NDArray[np.int8], q: NDArray[np.int8]) -> NDArray[np.int64]:
    """Weights (N, K), codes (T, K) -> exact sums (T, N): float64 holds all integers below 2^53."""
    return (q.astype(np.float64) @ trits.astype(np.float64).T).astype(np.int64)


def multiplier(absmax: Floats, scale: np.float32 | Floats, divides: bool = False) -> Floats:
    """Absmax a (T,) -> what turns sums into outputs, (T,), or (T, N) for scales (N,).

    scale * (a / 127), or a / (127 * scale) where the scale divides.
    """
    if scale.ndim:
        absmax = absmax[:, None]
    if divides:
        return absmax / (F32(127) * scale)
    return scale * (absmax / F32(127))


def dequantize(
    acc: NDArray[np.integer[Any]],
    multiplier: Floats,
    bias: Floats | None = None,
    residual: Floats | None = None,
) -> Floats:
    """Sums (T, N), multiplier (T,) or (T, N) -> float32(acc) * multiplier (T, N).

    Then + bias (N,) and then + residual (T, N), where there are any.
    """
    y = acc.astype(F32) * (multiplier if multiplier.ndim == 2 else multiplier[:, None])
    if bias is not None:
        y = y + bias
    if residual is not None:
        y = y + residual
    return y


# The other operators ------------------------------------------------------------------------------


def rms_norm(x: Floats, weight: Floats, eps: float) -> Floats:
    """x (T, K), weight (K,) -> (x * r) * weight with r = 1 / sqrt(mean(x^2) + eps)."""
    mean = lane_sum(x * x) / F32(x.shape[-1])
    r = F32(1) / np.sqrt(mean + F32(eps))
    y: Floats = (x * r[..., None]) * weight
    return y


def activate(x: Floats, activation: str) -> Floats:
    """relu: max(x, 0); relu2: its square; silu: x / (1 + exp(-x)); gelu: see there."""
    if activation == "relu":
        return np.where(x > 0, x, F32(0))
    if activation == "relu2":
        positive: Floats = np.where(x > 0, x, F32(0))
        return positive * positive
    if activation == "silu":
        silu: Floats = x / (F32(1) + exp(-x))
        return silu
    if activation == "gelu":
        return gelu(x)
    raise ValueError(f"unknown activation {activation!r}: relu, relu2, silu and gelu are known")


GELU_SHIFT = F32(3.5)
GELU_LARGEST = F32(16)  # beyond it the tail is 0
GELU_POLYNOMIAL = [
    F32(float.fromhex(c))
    for c in (
        "0x1.e36caep-14", "0x1.c3563ap-12", "-0x1.0301f8p-11", "-0x1.a0e89ap-9", "0x1.a96c24p-8",
        "0x1.1d345ep-6", "-0x1.db5a14p-4", "0x1.42fec4p-2", "-0x1.219150p-1", "0x1.7d241ap-1",
    )
]  # fmt: skip


def gelu(x: Floats) -> Floats:
    """x times the normal distribution at x ("erf" form), within 6 units in the last place.

    max(x, 0) - a * distribution(-a) for a = |x|. The distribution is exp(-a^2 / 2) times a smooth
    function, u * p(t) with u = 1 / (a + 3.5) and t = 1 - 7 u in ±1. What a^2 loses when it is
    rounded would be magnified by the exponential, so it is put back as a factor.
    """
    a = np.where(np.abs(x) < GELU_LARGEST, np.abs(x), GELU_LARGEST)
    u = F32(1) / (a + GELU_SHIFT)
    t = fma(u, -2 * GELU_SHIFT, F32(1))
    p = np.full_like(t, GELU_POLYNOMIAL[0])
    for coefficient in GELU_POLYNOMIAL[1:]:
        p = fma(p, t, coefficient)
    w = (a * u) * p
    square = a * a
    lost = fma(a, a, -square)
    w = fma(F32(-0.5) * w, lost, w)
    y = np.where(x > 0, x, F32(0)) - w * exp(F32(-0.5) * square)
    return np.where(np.isnan(x), x, y)


def softmax(x: Floats) -> Floats:
    """(T, K) -> (T, K): exp(x - max(x)) divided by its sum over lanes. NaN makes a row NaN."""
    with np.errstate(invalid="ignore"):
        p = exp(x - (np.fmax.reduce(x, axis=-1, initial=F32(-np.inf)) + F32(0))[:, None])
        y: Floats = p / lane_sum(p)[:, None]
    return y


def layer_norm(x: Floats, weight: Floats, bias: Floats | None, eps: float) -> Floats:
    """(T, K) -> (T, K): (d * r) * weight + bias, d = x - mean, r = 1 / sqrt(mean(d^2) + eps)."""
    count = F32(x.shape[-1])
    d = x - (lane_sum(x) / count)[:, None]
    r = F32(1) / np.sqrt(lane_sum(d * d) / count + F32(eps))
    y: Floats = (d * r[:, None]) * weight
    return y if bias is None else y + bias


def gate(gate: Floats, up: Floats, activation: str) -> Floats:
    """The two halves of a gated feed-forward network, joined."""
    return activate(gate, activation) * up


@dataclass(frozen=True)
class Rope:
    """Rotary positions: pair j turns by position * frequency j."""

    theta: float
    kind: str = "default"  # "linear" and "llama3" stretch by `factor`
    factor: float = 1
    low_freq_factor: float = 1  # these three for "llama3"
    high_freq_factor: float = 4
    original_context: float = 8192

    def frequencies(self, head_dim: int) -> Floats:
        """(head_dim / 2,): 1 / theta^(2j / head_dim), the power rounded to float32.

        linear: all divided by `factor`. llama3: only waves longer than original_context /
        low_freq_factor are; those shorter than original_context / high_freq_factor stay, and
        between the two a mean is taken.
        """
        exponents = np.arange(0, head_dim, 2, dtype=F32) / F32(head_dim)
        kept: Floats = F32(1) / (self.theta ** exponents.astype(np.float64)).astype(F32)
        stretched: Floats = kept / F32(self.factor)
        if self.kind == "default":
            return kept
        if self.kind == "linear":
            return stretched
        context, waves = F32(self.original_context), F32(2 * np.pi) / kept
        low, high = F32(self.low_freq_factor), F32(self.high_freq_factor)
        smooth = (context / waves - low) / (high - low)
        mean = (F32(1) - smooth) * stretched + smooth * kept
        mean = np.where(waves > context / low, stretched, mean)
        return np.where(waves < context / high, kept, mean)


def rope_tables(positions: NDArray[np.integer[Any]], frequencies: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine (T, head_dim / 2) of the float32 angles position * frequency.

    The cosine and the sine are those of the real numbers, rounded to float32.
    """
    angles = (positions.astype(F32)[:, None] * frequencies).astype(np.float64)
    return np.cos(angles).astype(F32), np.sin(angles).astype(F32)


def rope(x: Floats, cosine: Floats, sine: Floats) -> Floats:
    """Rotates the pairs (j, j + half) of the last axis; the tables broadcast against half of it."""
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    return np.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=-1)


LARGEST_F16 = F32(65504)  # keys and values are limited to it
CODE_15 = F32(32767)  # largest code of a query or a weight in int8 attention


class F16Cache:
    """Keys and values (L, d) rounded to float16, half to even."""

    def __init__(self, k: Floats, v: Floats) -> None:
        self.k, self.v = (
            np.clip(x, -LARGEST_F16, LARGEST_F16).astype(np.float16).astype(F32) for x in (k, v)
        )

    def scores(self, q: Floats, scale: float, page: slice) -> Floats:
        """Scaled products (T, n) of queries (T, d) with the keys of a page."""
        k = self.k[page]
        scores = np.zeros((q.shape[0], k.shape[0]), F32)
        for d in range(q.shape[1]):
            scores = fma(q[:, d, None], k[None, :, d], scores)
        return F32(scale) * scores

    def weighted(self, p: Floats, page: slice) -> Floats:
        """Values (T, d) of a page summed up with weights p (T, n)."""
        v = self.v[page]
        values = np.zeros((p.shape[0], v.shape[1]), F32)
        for j in range(v.shape[0]):
            values = fma(p[:, j, None], v[j], values)
        return values


class Int8Cache:
    """Keys and values (L, d) as int8 with a scale for each token; sums of products are integers."""

    def __init__(self, k: Floats, v: Floats) -> None:
        (self.k, self.k_scale), (self.v, self.v_scale) = map(self._quantize, (k, v))

    @staticmethod
    def _quantize(x: Floats) -> tuple[NDArray[np.int64], Floats]:
        codes, absmax = quantize_activations(x)
        limited: Floats = np.minimum(absmax, LARGEST_F16)
        return codes.astype(np.int64), limited / F32(127)

    def scores(self, q: Floats, scale: float, page: slice) -> Floats:
        """As in F16Cache; each query has 15 bits of its largest number."""
        absmax = np.maximum(np.abs(q).max(axis=1), SMALLEST_ABSMAX)
        codes = np.rint(q * (CODE_15 / absmax)[:, None]).astype(np.int64)
        multiplier = (absmax / CODE_15) * F32(scale)
        sums = (codes @ self.k[page].T).astype(F32)
        return sums * (multiplier[:, None] * self.k_scale[page])

    def weighted(self, p: Floats, page: slice) -> Floats:
        """As in F16Cache; the products of weights and scales have 15 bits of the largest one."""
        w = p * self.v_scale[page]
        largest = np.maximum(w.max(axis=1), F32(2**-100))
        codes = np.rint(w * (CODE_15 / largest)[:, None]).astype(np.int64)
        return (codes @ self.v[page]).astype(F32) * (largest / CODE_15)[:, None]


CACHES: dict[str, type[F16Cache | Int8Cache]] = {"f16": F16Cache, "int8": Int8Cache}


def attend(
    q: Floats,
    k: Floats,
    v: Floats,
    scale: float,
    seen: NDArray[np.integer[Any]],
    kv_dtype: str = "f16",
) -> Floats:
    """Softmax attention of queries q (T, d) over keys and values (L, d) -> (T, d).

    Query t sees the first seen[t] >= 1 keys. Pages of 64 keys are summed up each by itself and
    merged in order (online softmax), so the result does not depend on how the context was fed.
    """
    cache = CACHES[kv_dtype](k, v)
    total_max = np.full(q.shape[0], -np.inf, F32)
    total_sum = np.zeros(q.shape[0], F32)
    total_values = np.zeros(q.shape, F32)
    for start in range(0, k.shape[0], PAGE_TOKENS):
        page = slice(start, min(start + PAGE_TOKENS, k.shape[0]))
        visible = np.arange(page.start, page.stop) < seen[:, None]
        rows = visible.any(axis=1)  # queries that see something of this page
        scores = np.where(visible, cache.scores(q, scale, page), F32(-np.inf))[rows]
        page_max = scores.max(axis=1)
        p = exp(scores - page_max[:, None])
        page_values = cache.weighted(p, page)
        new_max = np.maximum(total_max[rows], page_max)
        keep, add = exp(total_max[rows] - new_max), exp(page_max - new_max)
        total_sum[rows] = total_sum[rows] * keep + lane_sum(p) * add
        total_values[rows] = total_values[rows] * keep[:, None] + page_values * add[:, None]
        total_max[rows] = new_max
    return total_values / total_sum[:, None]


def attention(q: Floats, k: Floats, v: Floats, kv_dtype: str = "f16") -> Floats:
    """Causal grouped-query attention: q (T, heads, d), k, v (T, kv_heads, d) -> (T, heads, d)."""
    tokens, heads, head_dim = q.shape
    scale = F32(1) / np.sqrt(F32(head_dim))
    group = heads // k.shape[1]
    seen = np.arange(1, tokens + 1)
    out = [
        attend(q[:, h], k[:, h // group], v[:, h // group], scale, seen, kv_dtype)
        for h in range(heads)
    ]
    return np.stack(out, axis=1)


# Linear layers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TernaryLinear:
    """Weights (N, K) in {-1, 0, 1} and their scale, one for each row, or one for each group of
    K / G columns of each row."""

    trits: NDArray[np.int8]
    scale: np.float32 | Floats  # or (N,), or (N, G)
    divides: bool = False
    bias: Floats | None = None  # (N,), added after the scale
    norm: Floats | None = None  # (K,), weights of a norm in front
    norm_eps: float = 0

    def __call__(self, x: Floats, residual: Floats | None = None) -> Floats:
        """x (T, K) -> (T, N)."""
        if self.norm is not None:
            x = rms_norm(x, self.norm, self.norm_eps)
        q, absmax = quantize_activations(x)
        return self.from_codes(q, absmax, residual)

    def from_codes(
        self, q: NDArray[np.int8], absmax: Floats, residual: Floats | None = None
    ) -> Floats:
        """Codes (T, K) and absmax (T,) -> (T, N)."""
        scales = self.scale.T if self.scale.ndim == 2 else [self.scale]
        y, bias = None, self.bias
        groups = len(scales)
        for scale, trits, codes in zip(
            scales, np.split(self.trits, groups, axis=1), np.split(q, groups, axis=1), strict=True
        ):
            factor = multiplier(absmax, scale, self.divides)
            y, bias = dequantize(ternary_matmul(trits, codes), factor, bias, y), None
        assert y is not None
        return y if residual is None else y + residual


@dataclass(frozen=True)
class DenseLinear:
    """Weights (N, K) in floats: a projection that was not converted."""

    weights: Floats
    bias: Floats | None = None  # (N,)

    def __call__(self, x: Floats, residual: Floats | None = None) -> Floats:
        """x (T, K) -> (T, N)."""
        y = dense_matmul(x, self.weights)
        if self.bias is not None:
            y = y + self.bias
        return y if residual is None else y + residual


# The model ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """What the forward pass of a decoder needs to know beside its tensors."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope: Rope
    activation: str
    sub_norms: bool  # in front of o_proj and down_proj
    tied_head: bool

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Config:
        """From a Hugging Face config.json."""
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            rms_norm_eps=config["rms_norm_eps"],
            rope=_rope_rule(config),
            activation=config["hidden_act"],
            sub_norms=config["architectures"] != ["LlamaForCausalLM"],
            tied_head=config["tie_word_embeddings"],
        )


def _rope_rule(config: Mapping[str, Any]) -> Rope:
    rule = config.get("rope_scaling") or config.get("rope_parameters") or {}
    theta = rule.get("rope_theta") or config["rope_theta"]
    kind = rule.get("rope_type") or rule.get("type") or "default"
    if kind == "default":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, kind, rule["factor"])
    assert kind == "llama3", kind
    original = config.get("original_max_position_embeddings") or rule.get(
        "original_max_position_embeddings", config["max_position_embeddings"]
    )
    low, high = rule["low_freq_factor"], rule["high_freq_factor"]
    return Rope(theta, kind, rule["factor"], low, high, original)


@dataclass(frozen=True)
class Model:
    """A decoder: tensors by their Hugging Face names, `linears` without the trailing `.weight`."""

    config: Config
    floats: Mapping[str, Floats]
    linears: Mapping[str, TernaryLinear | DenseLinear]

    def forward(self, token_ids: ArrayLike, kv_dtype: str = "f16") -> Floats:
        """Token ids (T,) of one sequence -> logits (T, vocab)."""
        x = self.floats["model.embed_tokens.weight"][np.asarray(token_ids)]
        frequencies = self.config.rope.frequencies(self.config.head_dim)
        tables = rope_tables(np.arange(x.shape[0]), frequencies)
        for layer in range(self.config.layers):
            x = self._attention_block(f"model.layers.{layer}.", x, *tables, kv_dtype)
            x = self._feed_forward_block(f"model.layers.{layer}.", x)
        x = self._norm("model.norm", x)
        head = "model.embed_tokens.weight" if self.config.tied_head else "lm_head.weight"
        return dense_matmul(x, self.floats[head])

    def _attention_block(
        self, layer: str, x: Floats, cosine: Floats, sine: Floats, kv_dtype: str
    ) -> Floats:
        c = self.config
        z = self._norm(layer + "input_layernorm", x)
        q = self.linears[layer + "self_attn.q_proj"](z).reshape(-1, c.heads, c.head_dim)
        k = self.linears[layer + "self_attn.k_proj"](z).reshape(-1, c.kv_heads, c.head_dim)
        v = self.linears[layer + "self_attn.v_proj"](z).reshape(-1, c.kv_heads, c.head_dim)
        cosine, sine = cosine[:, None], sine[:, None]  # the same for every head
        q, k = rope(q, cosine, sine), rope(k, cosine, sine)
        a = attention(q, k, v, kv_dtype).reshape(x.shape[0], -1)
        if c.sub_norms:
            a = self._norm(layer + "self_attn.attn_sub_norm", a)
        return self.linears[layer + "self_attn.o_proj"](a, residual=x)

    def _feed_forward_block(self, layer: str, x: Floats) -> Floats:
        z = self._norm(layer + "post_attention_layernorm", x)
        gated = self.linears[layer + "mlp.gate_proj"](z)
        up = self.linears[layer + "mlp.up_proj"](z)
        h = gate(gated, up, self.config.activation)
        if self.config.sub_norms:
            h = self._norm(layer + "mlp.ffn_sub_norm", h)
        return self.linears[layer + "mlp.down_proj"](h, residual=x)

    def _norm(self, name: str, x: Floats) -> Floats:
        return rms_norm(x, self.floats[name + ".weight"], self.config.rms_norm_eps)


# Reading a checkpoint -----------------------------------------------------------------------------


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a file; bfloat16 and float16 become float32."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = (start + offset for offset in entry["data_offsets"])
        stored = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "U8": "u1"}[entry["dtype"]]
        array = np.frombuffer(data[begin:end], stored).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(F32)
        tensors[name] = array if entry["dtype"] == "U8" else array.astype(F32)
    return tensors


# The reproductions' names of what the 2B4T model renamed.
_RENAMED = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}


def load_folder(folder: Path) -> Model:
    """A Hugging Face folder, packed or with master weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors: dict[str, NDArray[Any]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in read_safetensors(file).items():
            for theirs, ours in _RENAMED.items():
                name = name.replace(theirs, ours)
            tensors[name] = tensor
    names = [name.removesuffix(".weight") for name in tensors if name.endswith("_proj.weight")]
    linears = {name: _take_linear(name, tensors, config) for name in names}
    return Model(Config.from_json(config), tensors, linears)


def _take_linear(
    name: str, tensors: dict[str, NDArray[Any]], config: Mapping[str, Any]
) -> TernaryLinear | DenseLinear:
    quantization = config.get("quantization_config") or {"linear_class": "autobitlinear"}
    stored = tensors.pop(name + ".weight")
    bias = tensors.pop(name + ".bias", None)
    if is_kept(name, quantization.get("modules_to_not_convert")):
        return DenseLinear(stored, bias)
    norm = tensors.pop(name + ".rms_norm.weight", None)
    norm_eps = quantization.get("rms_norm_eps", 1e-6)
    if stored.dtype != np.uint8:
        return TernaryLinear(*ternarize(stored), False, bias, norm, norm_eps)
    trits = unpack_stripes(stored, _linear_rows(config)[name.rpartition(".")[2]])
    scale = tensors.pop(name + ".weight_scale").reshape(1)[0]
    divides = quantization.get("linear_class", "bitlinear") == "bitlinear"
    if bias is not None and not divides:
        bias = bias * scale  # AutoBitLinear adds it before it multiplies a stored scale
    return TernaryLinear(trits, scale, divides, bias, norm, norm_eps)


def is_kept(module: str, names: Sequence[str] | None) -> bool:
    """Whether `modules_to_not_convert` leaves a module in floats."""
    until_a_dot = r"(?:(?<=\.)|(?=\.|$))"
    return any(
        module.endswith(name) or re.match(f"(?:{name}){until_a_dot}", module)
        for name in names or ()
    )


def _linear_rows(config: Mapping[str, Any]) -> dict[str, int]:
    c = Config.from_json(config)
    return {
        "q_proj": c.heads * c.head_dim,
        "k_proj": c.kv_heads * c.head_dim,
        "v_proj": c.kv_heads * c.head_dim,
        "o_proj": config["hidden_size"],
        "gate_proj": config["intermediate_size"],
        "up_proj": config["intermediate_size"],
        "down_proj": config["hidden_size"],
    }
