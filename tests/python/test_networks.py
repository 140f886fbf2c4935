"""Does a network give what the reference says, to the last bit, and refuse what cannot be?"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import reference as ref
import tritium
from reference import F32
from tritium import _core
from tritium.layers import (
    GELU,
    BitLinear,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    ReLU2,
    Residual,
    RMSNorm,
    SiLU,
    Softmax,
)

SETS = [kernels.name for kernels in _core.kernel_sets() if kernels.supported]


def run_reference(layers: Sequence[Layer], x: ref.Floats) -> ref.Floats:
    """Samples (T, ...) through the layers as the reference computes them."""
    for layer in layers:
        match layer:
            case BitLinear():
                x = bit_linear(layer)(x)
            case Linear():
                bias = None if layer.bias is None else np.asarray(layer.bias, F32)
                x = ref.DenseLinear(np.asarray(layer.weight, F32), bias)(x)
            case RMSNorm():
                x = ref.rms_norm(x, np.asarray(layer.weight, F32), layer.eps)
            case LayerNorm():
                bias = None if layer.bias is None else np.asarray(layer.bias, F32)
                x = ref.layer_norm(x, np.asarray(layer.weight, F32), bias, layer.eps)
            case Softmax():
                x = ref.softmax(x)
            case Flatten():
                x = x.reshape(x.shape[0], -1)
            case Residual():
                x = x + run_reference(layer.layers, x)
            case _:
                x = ref.activate(x, type(layer).__name__.lower())
    return x


def bit_linear(layer: BitLinear) -> ref.TernaryLinear:
    weight = np.asarray(layer.weight)
    if layer.scale is None:
        trits, scale = ref.ternarize(weight.astype(F32))
    else:
        trits, scale = weight.astype(np.int8), np.asarray(layer.scale, F32)
        scale = scale.reshape(()) if scale.size == 1 else scale
    bias = None if layer.bias is None else np.asarray(layer.bias, F32)
    norm, eps = (None, 0) if layer.norm is None else (layer.norm.weight, layer.norm.eps)
    return ref.TernaryLinear(trits, scale, layer.scale_direction == "divide", bias, norm, eps)


class Random:
    """Layers with random weights."""

    def __init__(self, seed: int) -> None:
        self.numbers = np.random.default_rng(seed)

    def floats(self, *shape: int, mean: float = 0) -> ref.Floats:
        return (mean + self.numbers.standard_normal(shape)).astype(F32)

    def trits(self, *shape: int) -> np.ndarray:
        return self.numbers.integers(-1, 2, shape, dtype=np.int8)

    def bit_linear(self, inputs: int, outputs: int) -> BitLinear:
        norm = RMSNorm(self.floats(inputs, mean=1), 1e-6) if self.coin() else None
        bias = self.floats(outputs) if self.coin() else None
        if self.coin():
            return BitLinear(self.floats(outputs, inputs), bias=bias, norm=norm)
        scale = np.abs(self.floats(*self.scales(inputs, outputs))) + F32(0.1)
        direction = "divide" if self.coin() else "multiply"
        return BitLinear(self.trits(outputs, inputs), scale, bias, direction, norm)

    def scales(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """A shape: of one scale, one an output, or one a group of inputs."""
        divisors = [groups for groups in range(1, inputs + 1) if inputs % groups == 0]
        shapes = [(), (outputs,), (outputs, int(self.numbers.choice(divisors)))]
        return shapes[self.numbers.integers(0, 3)]

    def linear(self, inputs: int, outputs: int) -> Linear:
        bias = self.floats(outputs) if self.coin() else None
        dtype = np.float16 if self.coin() else F32
        return Linear(self.floats(outputs, inputs).astype(dtype), bias)

    def network(self, width: int) -> list[Layer]:
        layers: list[Layer] = []
        for _ in range(self.numbers.integers(1, 8)):
            outputs = int(self.numbers.integers(1, 130))
            kind = self.numbers.integers(0, 9)
            if kind < 3:
                layers.append(self.bit_linear(width, outputs))
                width = outputs
            elif kind == 3:
                layers.append(self.linear(width, outputs))
                width = outputs
            elif kind == 4:
                layers.append([ReLU(), ReLU2(), SiLU(), GELU()][self.numbers.integers(0, 4)])
            elif kind == 5:
                layers.append(Softmax())
            elif kind == 6:
                layers.append(RMSNorm(self.floats(width, mean=1)))
            elif kind == 7:
                bias = self.floats(width) if self.coin() else None
                layers.append(LayerNorm(self.floats(width, mean=1), bias))
            else:
                inner = [self.bit_linear(width, outputs), GELU(), self.bit_linear(outputs, width)]
                layers.append(Residual(inner))
        return layers

    def coin(self) -> bool:
        return bool(self.numbers.integers(0, 2))


@pytest.fixture
def engine() -> tritium.InferenceEngine:
    return tritium.InferenceEngine(threads=2)


def mlp(seed: int = 1) -> list[Layer]:
    random = Random(seed)
    return [BitLinear(random.trits(40, 24), 0.5), ReLU(), BitLinear(random.trits(9, 40), 0.25)]


# The same bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_have_the_bits_of_the_reference(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    width = int(random.numbers.integers(1, 100))
    layers = random.network(width)
    model = tritium.build_model(layers, input_shape=(width,))
    x = random.floats(37, width)
    with np.errstate(all="ignore"):
        expected = run_reference(layers, x)
    for kernels in SETS:
        monkeypatch.setenv("TRITIUM_KERNELS", kernels)
        for threads in (1, 3):
            engine = tritium.InferenceEngine(threads=threads)
            y = engine.infer(model, x)
            np.testing.assert_array_equal(y, expected, err_msg=f"{kernels} {threads} {layers}")
            np.testing.assert_array_equal(engine.infer(model, x[5]), expected[5])


@pytest.mark.parametrize("seed", range(20))
def test_every_optimization_level_gives_the_same_bits(seed: int) -> None:
    random = Random(seed)
    model = tritium.build_model(random.network(50), input_shape=(50,))
    x = random.floats(9, 50)
    none = _core.InferenceEngine(optimization_level="none").infer_samples(model.core, x)
    basic = _core.InferenceEngine(optimization_level="basic").infer_samples(model.core, x)
    np.testing.assert_array_equal(none, basic)


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200])
def test_a_sample_gives_the_same_bits_in_every_batch(
    engine: tritium.InferenceEngine, samples: int
) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    x = Random(2).floats(200, 24)
    expected = run_reference(mlp(), x)
    np.testing.assert_array_equal(engine.infer(model, x[:samples]), expected[:samples])


def test_samples_of_several_dimensions_are_flattened(engine: tritium.InferenceEngine) -> None:
    layers = [ReLU(), Flatten(), BitLinear(Random(1).trits(10, 64), 0.5), Softmax()]
    model = tritium.build_model(layers, input_shape=(8, 8), name="digits")
    x = Random(2).floats(5, 8, 8)
    expected = run_reference(layers, x)
    assert model.input_shape == (8, 8)
    assert model.output_shape == (10,)
    np.testing.assert_array_equal(engine.infer(model, x), expected)
    assert engine.infer(model, x[0]).shape == (10,)


NOT_FINITE: dict[str, list[Layer]] = {
    "network": [BitLinear(Random(1).trits(40, 24), 0.5), GELU(), Linear(Random(2).floats(3, 40))],
    "BitLinear": [BitLinear(Random(1).trits(40, 24), 0.5)],
    "BitLinear with norm": [BitLinear(Random(1).floats(40, 24), norm=RMSNorm(np.ones(24, F32)))],
    "ReLU": [ReLU()],
    "ReLU2": [ReLU2()],
    "SiLU": [SiLU()],
    "GELU": [GELU()],
    "Softmax": [Softmax()],
    "RMSNorm": [RMSNorm(np.ones(24))],
    "LayerNorm": [LayerNorm(np.ones(24))],
    "Linear": [Linear(Random(2).floats(3, 24))],
}


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("layers", NOT_FINITE.values(), ids=NOT_FINITE)
def test_nan_and_infinity_stay_in_their_sample(
    layers: list[Layer], kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITIUM_KERNELS", kernels)
    x = Random(3).floats(40, 24)
    x[1, 3], x[2, 5], x[3, 0], x[4, 7:9] = np.nan, np.inf, -np.inf, (np.inf, -np.inf)
    model = tritium.build_model(layers, input_shape=(24,))
    with np.errstate(all="ignore"):
        expected = run_reference(layers, x)
    for threads in (1, 2):
        engine = tritium.InferenceEngine(threads=threads)
        np.testing.assert_array_equal(engine.infer(model, x), expected)
        for sample in range(5):
            np.testing.assert_array_equal(engine.infer(model, x[sample]), expected[sample])
    assert np.isfinite(np.delete(expected, range(1, 5), axis=0)).all()


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (ReLU(), [0, INF, 0]),
        (ReLU2(), [0, INF, 0]),
        (SiLU(), [NAN, INF, NAN]),
        (GELU(), [NAN, INF, 0]),
    ],
    ids=["ReLU", "ReLU2", "SiLU", "GELU"],
)
def test_activations_of_nan_and_infinity_are_those_of_the_documentation(
    engine: tritium.InferenceEngine, layer: Layer, expected: list[float]
) -> None:
    model = tritium.build_model([layer], input_shape=(3,))
    np.testing.assert_array_equal(engine.infer(model, [NAN, INF, -INF]), F32(expected))


def test_rows_of_nan_and_infinity_are_those_of_the_documentation(
    engine: tritium.InferenceEngine,
) -> None:
    def infer(layer: Layer, value: float) -> ref.Floats:
        model = tritium.build_model([layer], input_shape=(4,))
        return engine.infer(model, [1, value, 2, 3])

    ones = BitLinear(np.ones((2, 4), np.int8), 1)
    # The scale, 3 / 127, ignores NaN, whose code is -128.
    codes = np.rint(F32([1, 2, 3]) * (F32(1) / F32(3) * F32(127))).sum() - 128
    np.testing.assert_allclose(infer(ones, NAN), [codes * 3 / 127] * 2, rtol=1e-6)
    for value in (INF, -INF):
        assert not np.isfinite(infer(ones, value)).any()
        norm = infer(RMSNorm(np.ones(4)), value)
        assert np.isnan(norm[1])
        assert np.isfinite(np.delete(norm, 1)).all()
        assert np.isnan(infer(LayerNorm(np.ones(4)), value)).all()
    for layer in (Softmax(), RMSNorm(np.ones(4)), LayerNorm(np.ones(4))):
        assert np.isnan(infer(layer, NAN)).all()
    assert np.isnan(infer(Softmax(), INF)).all()
    without = infer(Softmax(), -INF)
    assert without[1] == 0
    np.testing.assert_allclose(without.sum(), 1, rtol=1e-6)


# What goes in and comes out -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.tolist(),
        lambda x: list(x),
    ],
    ids=["float64", "float16", "big-endian", "fortran", "strided", "lists", "rows"],
)
def test_array_likes_are_converted(engine: tritium.InferenceEngine, convert: Any) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    x = Random(4).floats(6, 24).astype(np.float16).astype(F32)
    np.testing.assert_array_equal(engine.infer(model, convert(x)), engine.infer(model, x))


def test_integers_are_converted(engine: tritium.InferenceEngine) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    x = np.arange(48).reshape(2, 24)
    np.testing.assert_array_equal(engine.infer(model, x), engine.infer(model, x.astype(F32)))
    np.testing.assert_array_equal(
        engine.infer(model, x > 20), engine.infer(model, (x > 20).astype(F32))
    )


def test_the_result_owns_its_memory(engine: tritium.InferenceEngine) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    x = Random(5).floats(6, 24)
    first = engine.infer(model, x)
    kept = first.copy()
    assert first.flags.owndata
    assert first.flags.writeable
    engine.infer(model, x + 1)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(23), r"a sample of shape \(24,\) or a batch \(n, 24\), got shape \(23,\)"),
        (np.zeros((3, 25)), r"or a batch \(n, 24\), got shape \(3, 25\)"),
        (np.zeros((2, 3, 24)), r"got shape \(2, 3, 24\)"),
        (np.zeros((0, 24)), "0 samples given, at least 1 is needed"),
        (1.5, r"got shape \(\)"),
        (np.zeros(24, complex), "must be real numbers, got complex128"),
        (np.zeros(24, object), "must be real numbers, got object"),
        (["a"] * 24, "must be real numbers, got <U1"),
        ([[1.0] * 24, [1.0] * 23], "got rows of different lengths"),
    ],
)
def test_what_does_not_fit_is_refused(
    engine: tritium.InferenceEngine, x: Any, message: str
) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    with pytest.raises(tritium.BatchProcessingError, match=message):
        engine.infer(model, x)
    assert engine.infer(model, np.zeros(24)).shape == (9,)


def test_a_batch_of_items_keeps_their_order_and_shapes(engine: tritium.InferenceEngine) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    x = Random(6).floats(70, 24)
    items = [x[0], x[1:4], x[4:5], x[5:65], x[65].tolist(), x[66:70]]
    results = engine.infer_batch(model, items)
    assert [result.shape for result in results] == [(9,), (3, 9), (1, 9), (60, 9), (9,), (4, 9)]
    for item, result in zip(items, results, strict=True):
        np.testing.assert_array_equal(result, engine.infer(model, item))
    assert engine.infer_batch(model, []) == []
    with pytest.raises(tritium.BatchProcessingError, match=r"infer_batch, item 1.*got shape"):
        engine.infer_batch(model, [x[0], x[0][1:]])


def test_a_batch_of_sequences_gives_the_logits_of_each(engine: tritium.InferenceEngine) -> None:
    model = tritium.load()
    sequences = [[1, 2, 3], [4], [5, 6]]
    results = engine.infer_batch(model, sequences)
    for ids, result in zip(sequences, results, strict=True):
        np.testing.assert_array_equal(result, engine.infer(model, ids))
    with pytest.raises(tritium.BatchProcessingError, match=r"infer_batch, item 1.*out of range"):
        engine.infer_batch(model, [[1], [-1]])


def test_networks_and_language_models_take_turns_on_one_engine(
    engine: tritium.InferenceEngine,
) -> None:
    network, language = tritium.build_model(mlp(), input_shape=(24,)), tritium.load()
    x = Random(7).floats(3, 24)
    expected = engine.infer(network, x), engine.infer(language, [1, 2])
    for _ in range(2):
        np.testing.assert_array_equal(engine.infer(network, x), expected[0])
        np.testing.assert_array_equal(engine.infer(language, [1, 2]), expected[1])


def test_calls_from_several_threads_queue(engine: tritium.InferenceEngine) -> None:
    models = [tritium.build_model(mlp(seed), input_shape=(24,)) for seed in range(2)]
    x = Random(8).floats(50, 24)
    expected = [engine.infer(model, x) for model in models]
    failures: list[BaseException] = []

    def work(which: int) -> None:
        try:
            for _ in range(30):
                np.testing.assert_array_equal(engine.infer(models[which], x), expected[which])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# Models -------------------------------------------------------------------------------------------


def test_a_model_says_what_it_is() -> None:
    model = tritium.build_model(mlp(), input_shape=(24,), name="small")
    assert model.name == "small"
    assert (model.input_shape, model.output_shape) == ((24,), (9,))
    assert model.parameter_count == 40 * 24 + 9 * 40
    assert repr(model) == "<tritium.Model 'small': (24,) -> (9,), 1,320 parameters, packed>"
    assert not isinstance(model, tritium.LanguageModel)
    language = tritium.load()
    assert isinstance(language, tritium.LanguageModel)
    assert (language.input_shape, language.output_shape) == ((), (language.config.vocab_size,))


def test_the_graph_shows_each_layer_and_the_plan_its_fusions(
    engine: tritium.InferenceEngine,
) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    assert model.core.graph.splitlines() == [
        "0: ternary_linear(samples) -> 0 [samples, 40]",
        "1: relu(0) -> 1 [samples, 40]",
        "2: ternary_linear(1) -> 2 [samples, 9]",
    ]
    plan = engine.plan(model)
    assert plan.steps == ["quantize", "ternary_matmul_act", "quantize", "ternary_matmul"]
    assert plan.fusions == ["activation_into_matmul x1"]
    assert "samples a pass" in plan.describe()
    none = _core.InferenceEngine(optimization_level="none").plan(model.core)
    assert none.steps == ["quantize", "ternary_matmul", "relu", "quantize", "ternary_matmul"]


def test_arrays_are_lent_where_they_fit() -> None:
    weight = Random(1).floats(4, 6)
    alive = weakref.ref(weight)
    model = tritium.build_model([Linear(weight)], input_shape=(6,))
    engine = tritium.InferenceEngine(threads=1)
    assert engine.infer(model, np.ones(6)).shape == (4,)
    del weight
    gc.collect()
    assert alive() is not None  # the model reads it where it is
    del model, engine
    gc.collect()
    assert alive() is None


TRITS = np.zeros((4, 24), np.int8)
HAS, NEEDS = r"0.weight .* has shape", "the model needs"

IMPOSSIBLE: list[tuple[list[Any], str]] = [
    ([], "'network' has 0 layers; it needs at least 1"),
    ([Flatten()], "has 0 layers"),
    ([BitLinear(TRITS[:, 1:], 1)], rf"{HAS} \[4, 23\], {NEEDS} \[4, 24\]"),
    ([Linear(np.zeros((4, 23)))], rf"{HAS} \[4, 23\], {NEEDS} \[4, 24\]"),
    ([Linear(np.zeros(24))], r"must have 2 dimensions .*, got 1 with shape \(24,\)"),
    ([Linear(np.zeros((4, 24)), np.zeros(5))], rf"0.bias .* has shape \[5\], {NEEDS} \[4\]"),
    ([Linear(np.zeros((4, 24), complex))], "0: real numbers are needed, got complex128"),
    ([BitLinear(TRITS)], "weights of int8 and none given; trits need a scale"),
    ([BitLinear(np.zeros((4, 24)), 1)], "of float64 and one given; masters bring their own"),
    ([BitLinear(np.full((4, 24), 257), 1)], "96 of 96 weights are not -1, 0 or 1, .* is 257"),
    ([BitLinear(TRITS, [1, 2])], rf"weight_scale .* has shape \[2\], {NEEDS} \[1\], \[4\] or"),
    ([BitLinear(TRITS, np.ones((4, 5)))], r"has shape \[4, 5\], .* groups a divisor of 24"),
    ([BitLinear(TRITS, -1)], "must be a finite scale > 0, got -1"),
    ([BitLinear(TRITS, [1, 2, 3, np.nan])], "must be a finite scale > 0, got nan"),
    ([BitLinear(TRITS, 1, None, "add")], "unknown scale direction 'add'"),
    ([RMSNorm(np.ones(23))], rf"{HAS} \[23\], {NEEDS} \[24\]"),
    ([LayerNorm(np.ones(24), np.ones(23))], rf"0.bias .* has shape \[23\], {NEEDS} \[24\]"),
    ([RMSNorm(np.ones(24), eps=0)], r"0: eps must lie in \(0, 1\), got 0"),
    ([Residual([Linear(np.zeros((4, 24)))])], r"0 adds samples of shape \[24\] and \[4\]"),
    (["relu"], "0: str is no layer of a network"),
    ([ReLU(), Residual([ReLU(), 5])], "1.1: int is no layer"),
]


@pytest.mark.parametrize(("layers", "message"), IMPOSSIBLE)
def test_impossible_layers_are_refused(layers: Any, message: str) -> None:
    with pytest.raises(tritium.ModelLoadError, match=message):
        tritium.build_model(layers, input_shape=(24,))


@pytest.mark.parametrize("layer", [BitLinear(np.zeros((4, 8), np.int8), 1), Softmax()])
def test_linears_need_flat_samples(layer: Layer) -> None:
    with pytest.raises(tritium.ModelLoadError, match=r"1 dimension, got 2 with shape \[3, 8\]"):
        tritium.build_model([layer], input_shape=(3, 8))


@pytest.mark.parametrize("shape", [(), (0,), (4, -1)])
def test_impossible_input_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(tritium.ModelLoadError, match="at least 1 dimension, none less than 1"):
        tritium.build_model([ReLU()], input_shape=shape)


def test_weights_that_are_no_trits_are_found_when_they_are_packed(
    engine: tritium.InferenceEngine,
) -> None:
    weight = Random(1).trits(4, 24)
    weight[2, 7] = 2
    model = tritium.build_model([BitLinear(weight, 1)], input_shape=(24,))
    with pytest.raises(tritium.ModelLoadError, match="2 at row 2, column 7; ternary weights are"):
        engine.infer(model, np.zeros(24))


def test_a_network_is_no_language_model(engine: tritium.InferenceEngine) -> None:
    model = tritium.build_model(mlp(), input_shape=(24,), name="small")
    with pytest.raises(tritium.ModelLoadError, match=r"'small' is a network .* \(24,\)"):
        tritium.LLM(model)
    with pytest.raises(tritium.BatchProcessingError, match=r"'small' is a network .* \[24\]"):
        _core.Session(engine.core, model.core)
    with pytest.raises(tritium.BatchProcessingError, match=r"'small' is a network .* token ids"):
        engine.core.infer(model.core, np.zeros(3, np.int32))
    with pytest.raises(tritium.BatchProcessingError, match="takes token ids, not float32 samples"):
        engine.core.infer_samples(tritium.load().core, np.zeros(3, F32))
    with pytest.raises(tritium.BatchProcessingError, match="has no context; context_size 5"):
        engine.plan(model, context_size=5)


def test_the_memory_limit_holds_for_networks() -> None:
    model = tritium.build_model(mlp(), input_shape=(24,))
    engine = tritium.InferenceEngine(threads=1, memory_limit=1000)
    with pytest.raises(tritium.MemoryLimitError, match=r"needs \d+ bytes .* of 1000"):
        engine.infer(model, np.zeros(24))
