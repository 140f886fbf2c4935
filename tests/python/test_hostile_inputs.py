"""Do networks treat every input as documented: numbers that are none, extremes, odd arrays?"""

from __future__ import annotations

import math

import numpy as np
import pytest

import tritium
from tritium import BatchProcessingError, _core
from tritium.layers import (
    GELU,
    BitLinear,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    ReLU2,
    RMSNorm,
    SiLU,
    Softmax,
)

F32 = np.float32
NAN, INF = math.nan, math.inf
SETS = [kernels.name for kernels in _core.kernel_sets() if kernels.supported]
WIDTH = 37  # no multiple of a vector


@pytest.fixture(params=SETS)
def engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tritium.InferenceEngine:
    monkeypatch.setenv("TRITIUM_KERNELS", request.param)
    return tritium.InferenceEngine(threads=2)


@pytest.fixture
def plain() -> tritium.InferenceEngine:
    return tritium.InferenceEngine(threads=1)


def network(*layers: Layer, width: int = WIDTH) -> tritium.Model:
    return tritium.build_model(layers, input_shape=(width,))


def batch(value: float, places: tuple[int, ...] = (0, 16, 35, 36)) -> np.ndarray:
    """Ordinary samples, and between them one for each place that has the value there."""
    x = np.random.default_rng(1).standard_normal((2 * len(places) + 1, WIDTH)).astype(F32)
    for sample, place in enumerate(places):
        x[2 * sample + 1, place] = value
    return x


def bit_linear() -> BitLinear:
    return BitLinear(np.random.default_rng(2).integers(-1, 2, (50, WIDTH), dtype=np.int8), 0.5)


# The table of docs/networks.md --------------------------------------------------------------------

PLACES = (0, 16, 35, 36)


@pytest.mark.parametrize(
    ("layer", "nan", "inf", "minus_inf"),
    [
        (ReLU(), 0, INF, 0),
        (ReLU2(), 0, INF, 0),
        (SiLU(), NAN, INF, NAN),
        (GELU(), NAN, INF, 0),
    ],
)
def test_activations_map_each_number_by_itself(
    engine: tritium.InferenceEngine, layer: Layer, nan: float, inf: float, minus_inf: float
) -> None:
    model = network(layer)
    ordinary = engine.infer(model, batch(0.5))
    for value, expected in ((NAN, nan), (INF, inf), (-INF, minus_inf)):
        y = engine.infer(model, batch(value))
        for sample, place in enumerate(PLACES):
            np.testing.assert_equal(y[2 * sample + 1, place], F32(expected))
            ordinary[2 * sample + 1, place] = y[2 * sample + 1, place]
        np.testing.assert_array_equal(y, ordinary)


def norms() -> list[Layer]:
    return [RMSNorm(np.ones(WIDTH)), LayerNorm(np.ones(WIDTH), np.ones(WIDTH))]


@pytest.mark.parametrize("layer", [Softmax(), *norms()], ids=["softmax", "rms", "layer"])
def test_a_nan_takes_its_sample_and_no_other(engine: tritium.InferenceEngine, layer: Layer) -> None:
    model = network(layer)
    y = engine.infer(model, batch(NAN))
    assert np.isnan(y[1::2]).all()
    np.testing.assert_array_equal(y[::2], engine.infer(model, batch(NAN)[::2]))
    assert np.isfinite(y[::2]).all()


def test_infinity_in_a_softmax(engine: tritium.InferenceEngine) -> None:
    model = network(Softmax())
    assert np.isnan(engine.infer(model, batch(INF))[1::2]).all()
    x = batch(-INF)
    y = engine.infer(model, x)
    for sample, place in enumerate(PLACES):
        assert y[2 * sample + 1, place] == 0
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    assert np.isnan(engine.infer(model, np.full(WIDTH, -INF))).all()


@pytest.mark.parametrize("value", [INF, -INF])
def test_infinity_in_a_norm(engine: tritium.InferenceEngine, value: float) -> None:
    rms, layer = (engine.infer(network(norm), batch(value)) for norm in norms())
    for sample, place in enumerate(PLACES):
        assert np.flatnonzero(np.isnan(rms[2 * sample + 1])).tolist() == [place]
    assert np.isnan(layer[1::2]).all()
    assert np.isfinite(rms[::2]).all()
    assert np.isfinite(layer[::2]).all()


def test_a_nan_is_a_code_of_its_own_in_a_bit_linear(engine: tritium.InferenceEngine) -> None:
    layer = bit_linear()
    x = batch(NAN)
    y = engine.infer(network(layer), x)
    absmax = np.nanmax(np.abs(x), axis=1, keepdims=True).astype(F32)
    codes = np.rint(x * (F32(127) / absmax))
    codes[np.isnan(x)] = -128
    sums = codes.astype(np.int64) @ np.asarray(layer.weight).T.astype(np.int64)
    np.testing.assert_allclose(y, sums * (absmax / 127 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(y[::2], engine.infer(network(layer), x[::2]))


@pytest.mark.parametrize("value", [INF, -INF])
def test_infinity_in_a_bit_linear_leaves_nothing_finite(
    engine: tritium.InferenceEngine, value: float
) -> None:
    x = batch(value)
    y = engine.infer(network(bit_linear()), x)
    assert not np.isfinite(y[1::2]).any()
    np.testing.assert_array_equal(y[::2], engine.infer(network(bit_linear()), x[::2]))
    assert np.isfinite(y[::2]).all()


EVERY_LAYER = [
    bit_linear(), Linear(np.random.default_rng(3).standard_normal((9, WIDTH))), ReLU(), ReLU2(),
    SiLU(), GELU(), Softmax(), *norms(),
]  # fmt: skip


@pytest.mark.parametrize("layer", EVERY_LAYER, ids=lambda layer: type(layer).__name__)
def test_every_kernel_set_gives_the_same_bits_for_numbers_at_the_edge(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = np.finfo(F32)
    edges = [
        0.0, -0.0, NAN, INF, -INF, info.max, -info.max, info.tiny, -info.tiny,
        info.smallest_subnormal, -info.smallest_subnormal, 1e30, -1e30, 1e-30, 88.0, -104.0,
    ]  # fmt: skip
    numbers = np.random.default_rng(4)
    x = np.concatenate(
        [
            [np.full(WIDTH, edge) for edge in edges],
            numbers.choice(edges, (60, WIDTH)),
            np.where(numbers.random((60, WIDTH)) < 0.1, numbers.choice(edges, (60, WIDTH)), 1.5),
        ]
    ).astype(F32)
    results = {}
    for kernels in SETS:
        monkeypatch.setenv("TRITIUM_KERNELS", kernels)
        for threads in (1, 3):
            engine = tritium.InferenceEngine(threads=threads)
            y = engine.infer(network(layer), x)
            # A NaN has no sign and no payload that a result would depend on.
            results[kernels, threads] = np.where(np.isnan(y), F32(NAN), y).view(np.uint32)
    first, *others = results.values()
    for other in others:
        np.testing.assert_array_equal(other, first)


# Arrays -------------------------------------------------------------------------------------------


def test_a_double_beyond_float32_is_infinite(plain: tritium.InferenceEngine) -> None:
    x = np.ones((2, WIDTH))
    x[1, 3] = 1e39
    with np.errstate(over="ignore"):
        y = plain.infer(network(ReLU()), x)
    assert y[1, 3] == INF
    assert (y[0] == 1).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(WIDTH, "M8[s]"),
        np.zeros(WIDTH, "m8[s]"),
        np.zeros(WIDTH, "V4"),
        np.zeros(WIDTH, [("a", F32)]),
        np.zeros(WIDTH, "S3"),
        np.zeros(WIDTH, np.complex64),
        np.full(WIDTH, None),
        [None] * WIDTH,
        ["1"] * WIDTH,
        "1" * WIDTH,
        b"1" * WIDTH,
        {"x": 1},
        object(),
        None,
    ],
    ids=lambda array: str(getattr(array, "dtype", type(array).__name__)),
)
def test_what_holds_no_real_numbers_is_refused(
    plain: tritium.InferenceEngine, array: object
) -> None:
    model = network(ReLU())
    with pytest.raises(BatchProcessingError, match="samples must be real numbers, got"):
        plain.infer(model, array)
    with pytest.raises(BatchProcessingError, match=r"infer_batch, item 1\] samples must be real"):
        plain.infer_batch(model, [np.ones(WIDTH), array])
    assert (plain.infer(model, np.ones(WIDTH)) == 1).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[::-1],
        lambda x: x[:, ::-1][:, ::-1],
        lambda x: np.broadcast_to(x[0], (3, WIDTH)),
        lambda x: np.array(x)[None][0],
        lambda x: np.ma.masked_array(x),
        lambda x: np.ndarray(x.shape, F32, bytearray(b"\0" + x.tobytes()), offset=1),
        lambda x: memoryview(np.array(x)),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(">f8"),
    ],
    ids=[
        "reversed", "reversed twice", "broadcast", "view", "masked", "unaligned", "memoryview",
        "longdouble", "big-endian double",
    ],
)  # fmt: skip
def test_odd_arrays_are_read_as_numpy_reads_them(plain: tritium.InferenceEngine, make) -> None:
    x = np.random.default_rng(5).standard_normal((3, WIDTH)).astype(F32)
    x.flags.writeable = False
    given = make(x)
    model = network(bit_linear(), width=WIDTH)
    expected = plain.infer(model, np.array(np.asarray(given), F32))
    np.testing.assert_array_equal(plain.infer(model, given), expected)


@pytest.mark.parametrize("shape", [(0, WIDTH), (0,), (2, 0), (WIDTH, 0), (0, 0, WIDTH)])
def test_an_empty_batch_is_refused(plain: tritium.InferenceEngine, shape: tuple[int, ...]) -> None:
    model = network(ReLU())
    with pytest.raises(BatchProcessingError, match=r"0 samples given|got shape"):
        plain.infer(model, np.zeros(shape, F32))
    with pytest.raises(BatchProcessingError, match="item 0"):
        plain.infer_batch(model, [np.zeros(shape, F32)])


def test_a_batch_as_wide_as_the_samples_are_long_is_no_sample(
    plain: tritium.InferenceEngine,
) -> None:
    """What the shape leaves open is decided by the model's, never by the numbers."""
    square = tritium.build_model([ReLU()], input_shape=(3, 3))
    assert plain.infer(square, np.ones((3, 3))).shape == (3, 3)
    assert plain.infer(square, np.ones((3, 3, 3))).shape == (3, 3, 3)
    with pytest.raises(BatchProcessingError, match=r"got shape \(9,\)"):
        plain.infer(square, np.ones(9))
