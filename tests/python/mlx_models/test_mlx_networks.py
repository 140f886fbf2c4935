"""Does a network on MLX give what it gives on the CPU?"""

from __future__ import annotations

import numpy as np
import pytest

import tritium
from tritium.layers import (
    GELU,
    BitLinear,
    Custom,
    Flatten,
    LayerNorm,
    Linear,
    ReLU,
    ReLU2,
    Residual,
    RMSNorm,
    SiLU,
    Softmax,
)

LAYER_TOLERANCE = 1e-5
"""Of one layer, by the largest output: floats are added in another order."""

NETWORK_TOLERANCE = 2e-3
"""Of several layers: a sum that differs in its last bit can move an activation to the next of its
255 codes."""


@pytest.fixture(scope="module")
def engines():
    return tritium.InferenceEngine("mlx"), tritium.InferenceEngine("cpu")


@pytest.fixture
def random():
    return np.random.default_rng(7)


def outputs(engines, layers, x):
    """What both engines make of x."""
    model = tritium.build_model(layers, input_shape=x.shape[1:])
    return [engine.infer(model, x) for engine in engines]


def difference(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def trits(random, rows, columns):
    return random.integers(-1, 2, (rows, columns), dtype=np.int8)


@pytest.mark.parametrize("direction", ["multiply", "divide"])
@pytest.mark.parametrize("scales", ["one", "rows", "groups"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("columns", [48, 80, 1296])
def test_ternary_layers_give_the_bits_of_the_cpu(engines, random, direction, scales, bias, columns):
    """Sums are integers, and what follows are the same operations on the same floats."""
    scale = {
        "one": 0.37,
        "rows": random.uniform(0.1, 2, 37),
        "groups": random.uniform(0.1, 2, (37, 2)),
    }[scales]
    layer = BitLinear(
        trits(random, 37, columns),
        scale,
        bias=random.standard_normal(37) if bias else None,
        scale_direction=direction,
    )
    ours, theirs = outputs(engines, [layer], random.standard_normal((21, columns)))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("outermost", [127 * 16384, 127 * 70000])
def test_the_largest_sums_are_exact(engines, outermost):
    """All products have one sign: sums beyond the 24 bits of a float."""
    columns = outermost // 127
    layer = BitLinear(np.ones((3, columns), np.int8), 1.0)
    x = np.full((2, columns), 1.0)
    x[:, ::3] = 0.1  # codes of 13 between those of 127
    ours, theirs = outputs(engines, [layer], x)
    np.testing.assert_array_equal(ours, theirs)


LAYERS = {
    "relu": lambda random: ReLU(),
    "relu2": lambda random: ReLU2(),
    "silu": lambda random: SiLU(),
    "gelu": lambda random: GELU(),
    "softmax": lambda random: Softmax(),
    "rms_norm": lambda random: RMSNorm(random.standard_normal(40), eps=1e-4),
    "layer_norm": lambda random: LayerNorm(
        random.standard_normal(40), random.standard_normal(40), eps=1e-4
    ),
    "layer_norm without bias": lambda random: LayerNorm(random.standard_normal(40)),
    "linear": lambda random: Linear(random.standard_normal((9, 40)), random.standard_normal(9)),
    "linear in halves": lambda random: Linear(
        random.standard_normal((9, 40)).astype(np.float16), random.standard_normal(9)
    ),
    "residual": lambda random: Residual([Linear(random.standard_normal((40, 40)))]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_other_layers_agree_with_the_cpu(engines, random, name):
    x = 3 * random.standard_normal((17, 40))
    ours, theirs = outputs(engines, [LAYERS[name](random)], x)
    assert difference(ours, theirs) <= LAYER_TOLERANCE


@pytest.mark.parametrize("name", ["relu", "relu2", "silu", "gelu", "softmax"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_gives_what_it_gives_on_the_cpu(engines, random, name, value):
    x = random.standard_normal((3, 40))
    x[1, 5] = value
    ours, theirs = outputs(engines, [LAYERS[name](random)], x)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(ours), kind(theirs))
    np.testing.assert_allclose(
        ours[np.isfinite(theirs)], theirs[np.isfinite(theirs)], atol=LAYER_TOLERANCE
    )


@pytest.mark.parametrize("level", ["none", "basic"])
def test_networks_agree_with_the_cpu(random, level):
    layers = [
        Flatten(),
        BitLinear(trits(random, 128, 64), 0.05),
        ReLU(),
        Residual([RMSNorm(np.ones(128)), BitLinear(random.standard_normal((128, 128))), SiLU()]),
        LayerNorm(np.ones(128)),
        Residual([BitLinear(trits(random, 128, 128), random.uniform(0.01, 0.1, (128, 4)))]),
        Linear(random.standard_normal((10, 128))),
        Softmax(),
    ]
    engines = [
        tritium.InferenceEngine(device, optimization_level=level) for device in ("mlx", "cpu")
    ]
    ours, theirs = outputs(engines, layers, random.standard_normal((50, 8, 8)))
    assert difference(ours, theirs) <= NETWORK_TOLERANCE


def test_passes_of_any_size_give_the_same(random):
    model = tritium.build_model([BitLinear(trits(random, 24, 32), 0.5), ReLU()], input_shape=(32,))
    x = random.standard_normal((40, 32)).astype(np.float32)
    whole = tritium.InferenceEngine("cpu").infer(model, x)
    for batch_size in (1, 7, 16, 64):
        engine = tritium.InferenceEngine("mlx", batch_size=batch_size)
        np.testing.assert_array_equal(engine.infer(model, x), whole)
        np.testing.assert_array_equal(engine.infer(model, x[3]), whole[3])
    parts = list(engine.stream(model, x))
    np.testing.assert_array_equal(np.stack(parts), whole)


def test_a_custom_operator_is_refused_or_runs_on_the_cpu(random):
    double = tritium.CustomOperator("double", lambda x: 2 * x)
    model = tritium.build_model([Custom(double), ReLU()], input_shape=(4,))
    x = random.standard_normal((3, 4)).astype(np.float32)
    engine = tritium.InferenceEngine("mlx", custom_operators=[double])
    with pytest.raises(tritium.OptimizationError, match="mlx runs no custom operators"):
        engine.infer(model, x)
    with pytest.raises(tritium.OptimizationError, match="has 'double'; the CPU does"):
        engine.plan(model)
    engine = tritium.InferenceEngine("mlx", fallback=True, custom_operators=[double])
    with pytest.warns(RuntimeWarning, match="runs on the CPU"):
        result = engine.infer(model, x)
    np.testing.assert_array_equal(result, np.maximum(2 * x, 0))
    on_device = tritium.build_model([ReLU()], input_shape=(4,))
    np.testing.assert_array_equal(engine.infer(on_device, x), np.maximum(x, 0))
    assert engine.device == "mlx"


def test_limits_are_measured():
    limits = tritium.InferenceEngine("mlx").core.measure_limits(1 << 26)
    assert limits.read_bytes_per_second > 0
    assert limits.multiply_adds_per_second > 0
