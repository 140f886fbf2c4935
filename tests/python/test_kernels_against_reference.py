"""Does every kernel set of this build compute what the reference says, bit for bit?

The sizes are those at which a tile, a panel or a vector just fits, just does not, or is mostly
padding, and those of real models.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import reference as ref
from reference import F32
from tritium import _core

SUPPORTED = [kernels for kernels in _core.kernel_sets() if kernels.supported]

COLUMNS = [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 640, 3200, 8640]
ROWS = [1, 15, 16, 17, 32, 33, 100]
TOKENS = [1, 2, 5, 9]
# (N, K) of real models, but for 640 x 2560 only the first rows: a row knows nothing of the others.
REAL_SHAPES = [(640, 2560), (130, 2560), (135, 6912), (97, 3200), (100, 8640), (144, 14336)]


@pytest.fixture(params=SUPPORTED, ids=lambda kernels: kernels.name)
def kernels(request: pytest.FixtureRequest) -> _core.KernelSet:
    return request.param


def floats(seed: int, *shape: int) -> ref.Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def trits(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, shape, dtype=np.int8)


def codes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape, dtype=np.int8)


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal to the last bit, the sign of zero included."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    bits = f"u{expected.dtype.itemsize}"
    different = np.argwhere(got.view(bits) != np.ascontiguousarray(expected).view(bits))
    if len(different):
        place = tuple(different[0])
        pytest.fail(
            f"{len(different)} of {got.size} differ, first at {place}: "
            f"got {got[place]!r}, expected {expected[place]!r}"
        )


def test_the_scalar_set_is_always_supported_and_every_name_is_used_once() -> None:
    assert "scalar" in [kernels.name for kernels in SUPPORTED]
    names = [kernels.name for kernels in _core.kernel_sets()]
    assert len(set(names)) == len(names)


# Quantisation -------------------------------------------------------------------------------------


def assert_quantizes_like_the_reference(kernels: _core.KernelSet, x: ref.Floats) -> None:
    q, absmax, sums = kernels.quantize(x)
    expected_q, expected_absmax = ref.quantize_activations(x)
    assert_same_bits(q, expected_q)
    assert_same_bits(absmax, expected_absmax)
    np.testing.assert_array_equal(sums, expected_q.sum(axis=1, dtype=np.int32))


@pytest.mark.parametrize("columns", COLUMNS)
def test_quantize_gives_the_codes_of_the_reference(kernels: _core.KernelSet, columns: int) -> None:
    magnitudes = np.geomspace(1e-8, 1e30, 9, dtype=F32)[:, None]
    assert_quantizes_like_the_reference(kernels, floats(columns, 9, columns) * magnitudes)


def test_quantize_rounds_halves_to_even(kernels: _core.KernelSet) -> None:
    halves = np.arange(-126.5, 127, 1, dtype=F32)
    assert_quantizes_like_the_reference(kernels, np.append(halves, F32(127))[None])


def test_quantize_meets_zeros_subnormals_and_the_floor(kernels: _core.KernelSet) -> None:
    rows = np.zeros((4, 37), F32)
    rows[1] = np.linspace(-1e-40, 1e-40, 37)
    rows[2] = np.linspace(-1e-5, 1e-5, 37)
    rows[3, 5] = np.finfo(F32).max
    assert_quantizes_like_the_reference(kernels, rows)


@pytest.mark.parametrize("place", [0, 1, 15, 16, 35, 36])
def test_quantize_turns_nan_into_minus_128_wherever_it_is(
    kernels: _core.KernelSet, place: int
) -> None:
    x = floats(place, 2, 37)
    x[0, place] = np.nan
    assert_quantizes_like_the_reference(kernels, x)


@pytest.mark.parametrize("place", [0, 1, 15, 16, 35, 36])
def test_quantize_finds_the_largest_magnitude_wherever_it_is(
    kernels: _core.KernelSet, place: int
) -> None:
    x = floats(place, 2, 37)
    x[0, place], x[1, place] = 50, -50
    assert_quantizes_like_the_reference(kernels, x)


# Ternary products ---------------------------------------------------------------------------------


def assert_multiplies_like_the_reference(
    kernels: _core.KernelSet, weights: np.ndarray, q: np.ndarray
) -> None:
    expected = ref.ternary_matmul(weights, q).astype(np.int32)
    for form in kernels.ternary_formats:
        for gemm in (False, True):
            acc = kernels.ternary_matmul(weights, q, gemm=gemm, format=form)
            np.testing.assert_array_equal(acc, expected, err_msg=f"{form}, gemm={gemm}")


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("columns", COLUMNS)
def test_ternary_sums_equal_the_reference_at_awkward_sizes(
    kernels: _core.KernelSet, columns: int, tokens: int
) -> None:
    for rows in ROWS:
        weights = trits(rows, rows, columns)
        assert_multiplies_like_the_reference(kernels, weights, codes(columns, tokens, columns))


@pytest.mark.parametrize(("rows", "columns"), REAL_SHAPES)
def test_ternary_sums_equal_the_reference_at_the_shapes_of_real_models(
    kernels: _core.KernelSet, rows: int, columns: int
) -> None:
    assert_multiplies_like_the_reference(
        kernels, trits(rows, rows, columns), codes(columns, 3, columns)
    )


@pytest.mark.parametrize("columns", [16, 64, 129, 8640, 1 << 17])
def test_ternary_sums_do_not_saturate(kernels: _core.KernelSet, columns: int) -> None:
    weights = np.repeat(np.array([[-1], [0], [1]], np.int8), columns, axis=1)
    q = np.repeat(np.array([[-128], [-127], [0], [127]], np.int8), columns, axis=1)
    assert_multiplies_like_the_reference(kernels, weights, q)


def test_each_weight_meets_its_own_column(kernels: _core.KernelSet) -> None:
    columns = 83
    weights = np.eye(columns, dtype=np.int8)
    assert_multiplies_like_the_reference(kernels, weights, codes(1, 2, columns))


# Dequantisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("biased", "residual"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 100, 2560])
def test_dequantize_rounds_like_the_reference(
    kernels: _core.KernelSet, rows: int, biased: bool, residual: bool
) -> None:
    generator = np.random.default_rng(rows)
    acc = generator.integers(-(2**30), 2**30, (3, rows), dtype=np.int32)  # float32 rounds many
    acc[0] >>= 16
    multiplier = np.array([1e-3, 7.25e-4, 1e-20], F32)
    bias = floats(1, rows) if biased else None
    added = floats(2, 3, rows) * F32(100) if residual else None
    assert_same_bits(
        kernels.dequantize(acc, multiplier, bias, added),
        ref.dequantize(acc, multiplier, bias, added),
    )


# Floats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", COLUMNS)
def test_rms_norm_has_the_bits_of_the_reference(kernels: _core.KernelSet, columns: int) -> None:
    weight = floats(1, columns)
    for magnitude in (1e-6, 1.0, 1e6):
        x = floats(columns, columns) * F32(magnitude)
        assert_same_bits(kernels.rms_norm(x, weight, 1e-5), ref.rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("activation", ["relu", "relu2", "silu", "gelu"])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 100, 6912])
def test_gates_have_the_bits_of_the_reference(
    kernels: _core.KernelSet, count: int, activation: str
) -> None:
    gate, up = floats(count, count) * F32(20), floats(count + 1, count)
    gate[0] = -0.0
    assert_same_bits(kernels.gate(gate, up, activation), ref.gate(gate, up, activation))


def test_silu_has_the_bits_of_the_reference_over_the_whole_range_of_exp(
    kernels: _core.KernelSet,
) -> None:
    gate = np.linspace(-120, 120, 100_003).astype(F32)
    up = np.ones_like(gate)
    assert_same_bits(kernels.gate(gate, up, "silu"), ref.gate(gate, up, "silu"))


SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, -3e38], F32)


@pytest.mark.parametrize("activation", ["relu", "relu2", "silu", "gelu"])
def test_activations_have_the_bits_of_the_reference(
    kernels: _core.KernelSet, activation: str
) -> None:
    x = np.linspace(-20, 20, 100_003).astype(F32)
    assert_same_bits(kernels.activate(x, activation), ref.activate(x, activation))
    with np.errstate(all="ignore"):
        expected = ref.activate(SPECIAL, activation)
    np.testing.assert_array_equal(kernels.activate(SPECIAL, activation), expected)


def test_gelu_lies_within_6_units_in_the_last_place_of_the_true_value(
    kernels: _core.KernelSet,
) -> None:
    x = np.concatenate([np.linspace(-12.9, 13, 20_001), np.geomspace(1e-30, 1, 2000)]).astype(F32)
    true = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.astype(np.float64)])
    errors = np.abs(kernels.activate(x, "gelu") - true) / np.spacing(np.abs(true).astype(F32))
    assert errors.max() < 6
    assert np.abs(kernels.activate(np.linspace(-40, -12.9, 999, dtype=F32), "gelu")).max() < 2**-120


@pytest.mark.parametrize("columns", COLUMNS)
def test_softmax_has_the_bits_of_the_reference(kernels: _core.KernelSet, columns: int) -> None:
    for magnitude in (1e-3, 1.0, 30.0, 1e30):
        x = floats(columns, 3, columns) * F32(magnitude)
        x[1, columns // 2] = -np.inf if columns > 1 else 0
        assert_same_bits(kernels.softmax(x), ref.softmax(x))


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_softmax_of_a_row_with_nan_or_infinity_is_nan(
    kernels: _core.KernelSet, special: float
) -> None:
    x = floats(1, 2, 37)
    x[0, 20] = special
    y = kernels.softmax(x)
    assert np.isnan(y[0]).any()
    np.testing.assert_array_equal(y, ref.softmax(x))


@pytest.mark.parametrize("columns", COLUMNS)
def test_layer_norm_has_the_bits_of_the_reference(kernels: _core.KernelSet, columns: int) -> None:
    weight, bias = floats(1, columns), floats(2, columns)
    for magnitude in (1e-6, 1.0, 1e6):
        x = (floats(columns, 3, columns) + F32(2)) * F32(magnitude)
        for added in (None, bias):
            expected = ref.layer_norm(x, weight, added, 1e-5)
            assert_same_bits(kernels.layer_norm(x, weight, added, 1e-5), expected)


@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 100])
def test_scales_of_rows_round_like_the_reference(
    kernels: _core.KernelSet, rows: int, divides: bool
) -> None:
    acc = np.random.default_rng(rows).integers(-(2**30), 2**30, (3, rows), dtype=np.int32)
    scale, absmax = np.abs(floats(1, rows)) + F32(0.1), np.array([1e-3, 7.0, 1e20], F32)
    expected = ref.dequantize(acc, ref.multiplier(absmax, scale, divides))
    step = absmax if divides else absmax / F32(127)
    got = kernels.dequantize_rows(acc, F32(127) * scale if divides else scale, step, divides)
    assert_same_bits(got, expected)


@pytest.mark.parametrize("half", [1, 3, 4, 7, 8, 9, 16, 50, 64])
def test_rope_has_the_bits_of_the_reference(kernels: _core.KernelSet, half: int) -> None:
    x = floats(half, 2 * half)
    frequencies = ref.Rope(5e5).frequencies(2 * half)
    cosine, sine = (table[0] for table in ref.rope_tables(np.array([977]), frequencies))
    assert_same_bits(kernels.rope(x, cosine, sine), ref.rope(x, cosine, sine))


def stored_as(element: str, values: ref.Floats) -> tuple[np.ndarray, ref.Floats]:
    """What a file holds for the values, cut to the element's precision, and its float32 meaning."""
    if element == "float16":
        half = values.astype(np.float16)
        return half.view(np.uint16), half.astype(F32)
    if element == "bfloat16":
        top = values.view(np.uint32) >> 16
        return top.astype(np.uint16), (top << 16).view(F32)
    return values, values


@pytest.mark.parametrize("element", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 31, 32, 33, 100, 640])
def test_dense_products_have_the_bits_of_the_reference(
    kernels: _core.KernelSet, columns: int, element: str
) -> None:
    for rows, tokens in product([1, 5, 16, 33], [1, 2, 5]):
        stored, weights = stored_as(element, floats(rows, rows, columns))
        x = floats(columns, tokens, columns)
        assert_same_bits(kernels.dense_matmul(stored, element, x), ref.dense_matmul(x, weights))


def test_float16_weights_are_widened_exactly(kernels: _core.KernelSet) -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    finite = every[np.isfinite(every.view(np.float16))][:, None]
    ones = np.ones((1, 1), F32)
    widened = finite.view(np.float16).astype(F32)
    np.testing.assert_array_equal(kernels.dense_matmul(finite, "float16", ones), widened.T)


KV_DTYPES = ["f16", "int8"]


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 63, 64, 65, 128, 130])
@pytest.mark.parametrize("head_dim", [2, 8, 15, 16, 18, 64, 100, 128])
def test_attention_has_the_bits_of_the_reference(
    kernels: _core.KernelSet, head_dim: int, tokens: int, kv_dtype: str
) -> None:
    queries = min(tokens, 7)  # of the last tokens: some pages are seen by some of them only
    q, k, v = floats(1, queries, head_dim), floats(2, tokens, head_dim), floats(3, tokens, head_dim)
    q *= F32(4)  # some weights are near 0, some near 1
    seen = np.arange(tokens - queries, tokens) + 1
    expected = ref.attend(q, k, v, 0.3, seen, kv_dtype)
    assert_same_bits(kernels.attend(q, k, v, 0.3, kv_dtype), expected)


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("magnitude", [1e-42, 1e-8, 1e-5, 1.0, 1e3, 1e5, 1e37])
def test_attention_has_the_bits_of_the_reference_at_every_magnitude(
    kernels: _core.KernelSet, magnitude: float, kv_dtype: str
) -> None:
    k, v = floats(5, 100, 16) * F32(magnitude), floats(6, 100, 16) * F32(magnitude)
    for q in (floats(4, 1, 16), floats(4, 1, 16) * F32(1000), np.zeros((1, 16), F32)):
        expected = ref.attend(q, k, v, 1.0, np.array([100]), kv_dtype)
        assert np.isfinite(expected).all()
        assert_same_bits(kernels.attend(q, k, v, 1.0, kv_dtype), expected)


@pytest.mark.parametrize("tokens", [64, 1024])
@pytest.mark.parametrize(
    ("scores", "column", "bounds"),
    [
        (1, 1, {"f16": 0.0004, "int8": 0.01}),
        (4, 1, {"f16": 0.0008, "int8": 0.025}),
        (1, 20, {"f16": 0.0015, "int8": 0.1}),
    ],
    ids=["normal", "larger scores", "one large column"],
)
def test_attention_is_as_exact_as_the_documentation_says(
    kernels: _core.KernelSet, scores: float, column: float, bounds: dict[str, float], tokens: int
) -> None:
    """docs/architecture.md: rms of the difference to float64, by the rms of the result."""
    squares: dict[str, list[float]] = {dtype: [] for dtype in ("exact", *KV_DTYPES)}
    for seed in range(4):
        q, k, v = (floats(10 * seed + i, n, 128) for i, n in enumerate((8, tokens, tokens)))
        k *= F32(scores)
        k[:, 5] *= F32(column)
        exponents = q.astype(np.float64) @ k.T.astype(np.float64) / np.sqrt(128)
        exponents[np.arange(tokens) > np.arange(tokens - 8, tokens)[:, None]] = -np.inf
        p = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        exact = (p / p.sum(axis=1, keepdims=True)) @ v.astype(np.float64)
        squares["exact"].append(float((exact**2).mean()))
        for dtype in KV_DTYPES:
            ours = kernels.attend(q, k, v, float(F32(1) / np.sqrt(F32(128))), dtype)
            squares[dtype].append(float(((ours - exact) ** 2).mean()))
    for dtype, bound in bounds.items():
        assert np.sqrt(np.mean(squares[dtype]) / np.mean(squares["exact"])) < bound, dtype


def test_the_sets_find_no_difference_to_scalar_themselves(kernels: _core.KernelSet) -> None:
    for kernel, problems, difference in kernels.check(seed=1):
        assert difference == "", kernel
        assert problems > 0, kernel
