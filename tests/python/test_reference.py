"""Is the reference itself right?  Known vectors, float64, properties that need no other code."""

from __future__ import annotations

import numpy as np
import pytest

import reference as ref
from reference import F32

# Rounding errors of n float32 additions grow like sqrt(n) units of 2^-24; here n <= 300.
FLOAT_SUM_TOLERANCE = 2e-6
# `exp` is a polynomial in float32: the last operation rounds, the ones before may add as much.
EXP_ULPS = 1.0


def random_floats(seed: int, *shape: int) -> ref.Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def random_trits(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, (rows, columns), dtype=np.int8)


# Packing ------------------------------------------------------------------------------------------


def test_four_known_rows_pack_into_the_bytes_that_transformers_writes() -> None:
    row = np.array([-1, 0, 1, -1, 0, 1, -1, 0], np.int8)
    trits = np.stack([row, -row, np.zeros(8, np.int8), np.ones(8, np.int8)])
    packed = ref.pack_stripes(trits)
    assert packed.tolist() == [[152, 149, 146, 152, 149, 146, 152, 149]]
    np.testing.assert_array_equal(ref.unpack_stripes(packed, 4), trits)


def test_rows_lie_in_stripes_and_not_next_to_each_other() -> None:
    trits = np.full((8, 1), -1, np.int8)
    trits[3] = 1  # row 3 of 8 is row 1 of stripe 1
    assert ref.pack_stripes(trits).tolist() == [[0], [2 << 2]]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 100])
def test_packing_is_undone_by_unpacking(rows: int) -> None:
    trits = random_trits(rows, rows, 13)
    packed = ref.pack_stripes(trits)
    assert packed.shape == (-(-rows // 4), 13)
    np.testing.assert_array_equal(ref.unpack_stripes(packed, rows), trits)


def test_stored_rows_beyond_the_matrix_decode_as_minus_one_and_are_dropped() -> None:
    packed = ref.pack_stripes(np.ones((5, 3), np.int8))
    assert (ref.unpack_stripes(packed, 8)[5:] == -1).all()
    assert ref.unpack_stripes(packed, 5).shape == (5, 3)


def test_code_three_is_an_error_that_names_the_place() -> None:
    packed = ref.pack_stripes(np.zeros((8, 3), np.int8))
    packed[1, 2] |= 3 << 4  # stripe 2 of 4, two rows each: row 5
    with pytest.raises(ValueError, match="row 5, column 2"):
        ref.unpack_stripes(packed, 8)


# Quantisation -------------------------------------------------------------------------------------


def test_halves_round_to_the_even_code() -> None:
    x = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 63.5]], F32)
    q, absmax = ref.quantize_activations(x)
    assert absmax.tolist() == [127]
    assert q.tolist() == [[127, 0, 2, 2, 0, -2, -2, 64]]


def test_a_row_of_zeros_gives_zeros_and_a_finite_scale() -> None:
    q, absmax = ref.quantize_activations(np.zeros((2, 5), F32))
    assert not q.any()
    assert absmax.tolist() == [F32(1e-5)] * 2


def test_tiny_rows_are_measured_against_the_floor_of_absmax() -> None:
    q, absmax = ref.quantize_activations(np.array([[5e-6, -1e-6]], F32))
    assert absmax.tolist() == [F32(1e-5)]
    assert q.tolist() == [[64, -13]]  # 63.5 rounds to even


def test_minus_128_never_occurs_and_every_row_reaches_127() -> None:
    x = random_floats(0, 2000, 37) * np.exp(np.abs(random_floats(1, 2000, 1)) * F32(20))
    q, _ = ref.quantize_activations(x)
    assert q.min() == -127
    assert (np.abs(q.astype(int)).max(axis=1) == 127).all()


def test_each_token_has_its_own_scale() -> None:
    x = random_floats(2, 3, 16)
    q, absmax = ref.quantize_activations(x)
    for t in range(3):
        alone, absmax_alone = ref.quantize_activations(x[t : t + 1])
        np.testing.assert_array_equal(alone[0], q[t])
        assert absmax_alone[0] == absmax[t]


def test_nan_becomes_minus_128_and_does_not_spoil_the_scale() -> None:
    q, absmax = ref.quantize_activations(np.array([[1, np.nan, -2]], F32))
    assert absmax.tolist() == [2]
    assert q.tolist() == [[64, -128, -127]]  # 63.5 rounds to even


def test_masters_are_compared_with_half_of_their_mean_magnitude() -> None:
    masters = np.array([[0.4, -0.6, 1.0, -2.0], [0.0, 0.5, 0.5, 3.0]], F32)  # mean |W| = 1
    trits, scale = ref.ternarize(masters)
    assert scale == 1
    assert trits.tolist() == [[0, -1, 1, -1], [0, 0, 0, 1]]


def test_masters_of_zeros_give_zeros_and_a_finite_scale() -> None:
    trits, scale = ref.ternarize(np.zeros((3, 4), F32))
    assert not trits.any()
    assert scale == F32(1e-5)


# The linear layer ---------------------------------------------------------------------------------


def test_sums_are_exact_where_float32_would_not_be() -> None:
    columns = 1 << 18
    q = np.full((1, columns), 127, np.int8)
    trits = np.ones((2, columns), np.int8)
    trits[1, 0] = 0
    acc = ref.ternary_matmul(trits, q)
    assert acc.tolist() == [[127 * columns, 127 * (columns - 1)]]
    assert int(F32(acc[0, 1])) != acc[0, 1]  # float32 has no such number


def test_sums_equal_those_of_python_integers() -> None:
    trits, q = random_trits(3, 7, 50), random_trits(4, 3, 50) * np.int8(127)
    expected = [
        [sum(int(w) * int(v) for w, v in zip(row, token, strict=True)) for row in trits]
        for token in q
    ]
    assert ref.ternary_matmul(trits, q).tolist() == expected


def test_a_scale_that_divides_is_the_inverse_of_one_that_multiplies() -> None:
    trits, x = random_trits(5, 6, 40), random_floats(6, 4, 40)
    multiplies = ref.TernaryLinear(trits, F32(0.25))(x)
    divides = ref.TernaryLinear(trits, F32(4), divides=True)(x)
    np.testing.assert_allclose(multiplies, divides, rtol=3e-7)  # three roundings instead of two
    assert multiplies.dtype == divides.dtype == F32


def test_a_linear_layer_is_near_its_float_product() -> None:
    trits, x = random_trits(7, 30, 200), random_floats(8, 5, 200)
    y = ref.TernaryLinear(trits, F32(1.5))(x)
    exact = 1.5 * x.astype(np.float64) @ trits.T
    step = np.abs(x).max(axis=1, keepdims=True) / 127  # of the codes; errors are half of it at most
    bound = 1.5 * step / 2 * np.abs(trits).sum(axis=1)
    assert (np.abs(y - exact) <= bound * (1 + FLOAT_SUM_TOLERANCE)).all()


def test_bias_and_residual_are_added_after_the_scale_and_in_that_order() -> None:
    acc = np.array([[3]], np.int32)
    y = ref.dequantize(
        acc, np.array([0.5], F32), np.array([2**24], F32), np.array([[-(2**24)]], F32)
    )
    assert y.tolist() == [[2.0]]  # 1.5 + 2^24 rounds to 2^24 + 2


# Floats -------------------------------------------------------------------------------------------


def test_fma_rounds_once() -> None:
    a = F32((1 + 2**-11) * 2**-12)
    b = F32((1 - 2**-11 + 2**-22) * 2**-12)
    # a b = 2^-24 (1 + 2^-33): a hair above half a unit of 1, which float64 cannot hold beside 1.
    assert F32(np.float64(a) * np.float64(b) + 1) == 1
    assert ref.fma(a, b, F32(1)) == F32(1 + 2**-23)
    assert ref.fma(-a, b, F32(-1)) == F32(-1 - 2**-23)


def test_fma_passes_infinities_and_nan_through() -> None:
    with np.errstate(invalid="ignore"):
        got = ref.fma([np.inf, np.nan, 0.0, 2.0], [1, 1, np.inf, 3], [1, 1, 1, -np.inf])
    np.testing.assert_array_equal(got, np.array([np.inf, np.nan, np.nan, -np.inf], F32))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_lane_sums_follow_the_sixteen_lanes(count: int) -> None:
    x = random_floats(count, count)
    lanes = [F32(0)] * 16
    for i, term in enumerate(x):
        lanes[i % 16] = F32(lanes[i % 16] + term)
    for half in (8, 4, 2, 1):
        lanes = [F32(lanes[i] + lanes[i + half]) for i in range(half)]
    assert ref.lane_sum(x) == lanes[0]


def test_exp_is_within_one_unit_of_the_true_value() -> None:
    x = np.linspace(ref.EXP_SMALLEST, ref.EXP_LARGEST, 100_001).astype(F32)
    true = np.exp(x.astype(np.float64))
    assert (np.abs(ref.exp(x) - true) <= EXP_ULPS * np.spacing(true.astype(F32))).all()


def test_exp_ends_in_zero_one_and_infinity() -> None:
    got = ref.exp([-np.inf, -100, 0, 89, np.inf, np.nan])
    np.testing.assert_array_equal(got, np.array([0, 0, 1, np.inf, np.inf, np.nan], F32))


def test_dense_products_are_near_float64() -> None:
    x, weights = random_floats(9, 4, 100), random_floats(10, 7, 100)
    exact = x.astype(np.float64) @ weights.T
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(weights.T)
    assert (np.abs(ref.dense_matmul(x, weights) - exact) <= FLOAT_SUM_TOLERANCE * magnitude).all()


def test_rms_norm_gives_rows_of_unit_mean_square() -> None:
    y = ref.rms_norm(random_floats(11, 5, 300) * F32(7), np.ones(300, F32), 1e-5)
    np.testing.assert_allclose(
        (y.astype(np.float64) ** 2).mean(axis=1), 1, rtol=FLOAT_SUM_TOLERANCE
    )


def test_rms_norm_keeps_a_row_of_zeros() -> None:
    assert not ref.rms_norm(np.zeros((1, 20), F32), np.ones(20, F32), 1e-5).any()


def test_relu2_squares_what_is_positive() -> None:
    x = np.array([-3, -0.0, 0.5, 3], F32)
    assert ref.gate(x, np.full(4, 2, F32), "relu2").tolist() == [0, 0, 0.5, 18]


def test_silu_is_near_float64_and_survives_extremes() -> None:
    x = np.concatenate([np.linspace(-80, 80, 999), [-1e30, 1e30]]).astype(F32)
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        exact = wide / (1 + np.exp(-wide))
    np.testing.assert_allclose(ref.activate(x, "silu"), exact, rtol=5e-7, atol=0)


def test_an_unknown_activation_is_an_error() -> None:
    with pytest.raises(ValueError, match="tanh"):
        ref.activate(np.zeros(1, F32), "tanh")


def test_rope_keeps_lengths_and_makes_products_depend_on_distance_alone() -> None:
    q, k = random_floats(12, 1, 8), random_floats(13, 1, 8)

    def product(query_position: int, key_position: int) -> float:
        rotated = [
            ref.rope(x, *ref.rope_tables(np.array([position]), ref.Rope(1e4).frequencies(8)))
            for x, position in ((q, query_position), (k, key_position))
        ]
        return float((rotated[0].astype(np.float64) @ rotated[1].T)[0, 0])

    assert product(9, 4) == pytest.approx(product(105, 100), abs=1e-5)
    assert product(0, 0) == pytest.approx(float(q[0].astype(np.float64) @ k[0]), abs=1e-6)


def plain_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal softmax attention in float64, written the textbook way."""
    tokens, heads, head_dim = q.shape
    out = np.empty(q.shape)
    for h in range(heads):
        kv = h * k.shape[1] // heads
        scores = q[:, h].astype(np.float64) @ k[:, kv].T / np.sqrt(head_dim)
        scores[np.triu_indices(tokens, 1)] = -np.inf
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, h] = p / p.sum(axis=1, keepdims=True) @ v[:, kv]
    return out


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 130])
def test_attention_in_pages_is_near_plain_softmax(tokens: int) -> None:
    q = random_floats(14, tokens, 4, 6) * F32(3)
    k, v = random_floats(15, tokens, 2, 6), random_floats(16, tokens, 2, 6)
    halves = [x.astype(np.float16).astype(F32) for x in (k, v)]
    error = np.abs(ref.attention(q, *halves) - plain_attention(q, *halves)).max()
    assert error <= 4 * FLOAT_SUM_TOLERANCE  # values of size 4, weights that sum to 1
    exact = plain_attention(q, k, v)
    # Errors of numbers of size 4 are 2^-10 in float16 and 4 / 254 in int8; scores pass theirs on.
    assert np.abs(ref.attention(q, k, v, "f16") - exact).max() <= 5e-3
    assert np.abs(ref.attention(q, k, v, "int8") - exact).max() <= 0.06


@pytest.mark.parametrize("kv_dtype", ["f16", "int8"])
def test_keys_and_values_beyond_float16_are_limited(kv_dtype: str) -> None:
    q = random_floats(20, 3, 2, 4)
    k, v = random_floats(21, 3, 1, 4) * F32(1e9), random_floats(22, 3, 1, 4) * F32(1e30)
    result = ref.attention(q, k, v, kv_dtype)
    assert np.abs(result).max() <= 65504 * (1 + 1e-6)
    assert np.isfinite(result).all()


def test_later_tokens_do_not_change_what_earlier_ones_see() -> None:
    q, k, v = (random_floats(seed, 70, 2, 4) for seed in (17, 18, 19))
    np.testing.assert_array_equal(
        ref.attention(q, k, v)[:66], ref.attention(q[:66], k[:66], v[:66])
    )
