"""Do networks take numbers at the edge and odd arrays as documented, and refuse the rest?"""

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


@pytest.fixture
def plain() -> tritium.InferenceEngine:
    return tritium.InferenceEngine(threads=1)


def network(layer: Layer) -> tritium.Model:
    return tritium.build_model([layer], input_shape=(WIDTH,))


def bit_linear() -> BitLinear:
    return BitLinear(np.random.default_rng(2).integers(-1, 2, (50, WIDTH), dtype=np.int8), 0.5)


EVERY_LAYER = [
    bit_linear(), Linear(np.random.default_rng(3).standard_normal((9, WIDTH))), ReLU(), ReLU2(),
    SiLU(), GELU(), Softmax(),
    RMSNorm(np.ones(WIDTH)), LayerNorm(np.ones(WIDTH), np.ones(WIDTH)),
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
    model = network(bit_linear())
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
