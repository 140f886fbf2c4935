"""What an engine is told, what it holds, and that it goes on after every error."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tritium
from tritium.layers import GELU, BitLinear, Layer, Linear, ReLU, Residual, RMSNorm, Softmax

F32 = np.float32


def mlp(seed: int = 1, hidden: int = 40) -> list[Layer]:
    random = np.random.default_rng(seed)
    return [
        BitLinear(random.integers(-1, 2, (hidden, 24), dtype=np.int8), 0.5),
        ReLU(),
        BitLinear(random.integers(-1, 2, (9, hidden), dtype=np.int8), 0.25),
    ]


def build(seed: int = 1, **options: Any) -> tritium.Model:
    return tritium.build_model(mlp(seed, **options), input_shape=(24,), name=f"mlp{seed}")


def samples(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 24)).astype(F32)


# Options ------------------------------------------------------------------------------------------


def test_an_engine_without_options_has_the_defaults() -> None:
    engine = tritium.InferenceEngine()
    assert engine.device == "cpu"
    assert engine.batch_size == 16
    assert engine.optimization_level == "basic"
    usage = engine.memory_usage()
    assert usage.pool.limit == 512_000_000
    assert usage.total.active == 0  # nothing is taken before it is needed


def test_the_builder_and_the_keywords_are_the_same() -> None:
    built = (
        tritium.InferenceEngine.builder()
        .device("cpu")
        .enable_gpu_acceleration(False)
        .threads(2)
        .batch_size(5)
        .memory_pool_size("1.5MiB")
        .memory_limit(3_000_000)
        .optimization_level("none")
        .ternary_format("2bit")
        .cache(None)
        .build()
    )
    named = tritium.InferenceEngine(
        "cpu",
        gpu_acceleration=False,
        threads=2,
        batch_size=5,
        memory_pool_size=3 << 19,
        memory_limit="3MB",
        optimization_level="none",
        ternary_format="2bit",
        cache_dir=None,
    )
    assert isinstance(built, tritium.InferenceEngine)
    model = build()
    for engine in (built, named):
        assert (engine.device, engine.threads, engine.batch_size) == ("cpu", 2, 5)
        assert engine.optimization_level == "none"
        usage = engine.memory_usage()
        assert (usage.pool.limit, usage.total.limit) == (1_572_864, 3_000_000)
        assert engine.plan(model).rows_per_pass == 5
    np.testing.assert_array_equal(built.infer(model, samples(20)), named.infer(model, samples(20)))


def test_the_builder_says_every_option_of_the_engine() -> None:
    """An option that only one of them knows would be two ways that differ."""
    import inspect

    keywords = set(inspect.signature(tritium.InferenceEngine).parameters)
    builder = tritium.EngineBuilder()
    for name, method in inspect.getmembers(builder, inspect.ismethod):
        if name in ("build", "__init__", "_set"):
            continue
        given = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
        method(*(() for _ in given))
    assert set(builder._options) == keywords


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"batch_size": 0}, tritium.BatchProcessingError, r"\[1, 65536\] samples, got 0"),
        ({"memory_pool_size": "5 parsecs"}, tritium.MemoryLimitError, "'parsecs' is no unit"),
        ({"memory_pool_size": "-1MB"}, tritium.MemoryLimitError, "begin with a number"),
        ({"memory_pool_size": -5}, tritium.MemoryLimitError, "at least 1 byte, got -5"),
        ({"memory_limit": "0B"}, tritium.MemoryLimitError, "at least 1 byte"),
        ({"optimization_level": "fast"}, tritium.OptimizationError, "unknown .* 'fast'"),
        ({"threads": 5000}, tritium.DeviceError, "got 5000"),
        pytest.param(
            {"device": "metal"},
            tritium.DeviceError,
            "metal is not .*; available: .*cpu",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS has Metal"),
        ),
        ({"device": "tpu"}, tritium.DeviceError, "unknown device 'tpu'; known are cpu"),
        ({"device": "abacus"}, tritium.DeviceError, "unknown device 'abacus'"),
        ({"device": "cpu", "gpu_acceleration": True}, tritium.DeviceError, "cpu is no GPU"),
        ({"device": "mlx", "gpu_acceleration": False}, tritium.DeviceError, "mlx is a GPU"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tritium.InferenceEngine(**options)


def test_devices_are_listed_with_what_is_missing() -> None:
    devices = tritium.devices()
    assert [device.name for device in devices] == ["mlx", "metal", "cpu"]
    assert [device.is_gpu for device in devices] == [True, True, False]
    for device in devices:
        assert device.is_available == (device.missing is None)
    automatic = [device.name for device in devices if device.is_available and not device.not_chosen]
    assert tritium.InferenceEngine().device in automatic
    assert repr(devices[2]) == "<tritium.Device 'cpu': available>"


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    model, x = build(), samples(70)
    expected = tritium.InferenceEngine(threads=1).infer(model, x)
    for threads in (1, 3):
        engine = tritium.InferenceEngine(threads=threads, batch_size=batch_size)
        np.testing.assert_array_equal(engine.infer(model, x), expected)


# Memory -------------------------------------------------------------------------------------------


def test_memory_is_counted_by_kind_and_by_model() -> None:
    engine = tritium.InferenceEngine(threads=2)
    small, large = build(1), build(2, hidden=400)
    engine.infer(small, samples(3))
    engine.infer(large, samples(3))
    usage = engine.memory_usage()
    models = {model.name: model for model in usage.models}
    assert set(models) == {"mlp1", "mlp2"}
    for model in (small, large):
        assert models[model.name].weights == engine.plan(model).weight_bytes
        assert models[model.name].arena == engine.plan(model).arena_bytes
    assert usage.weights == models["mlp1"].weights + models["mlp2"].weights
    assert usage.mapped_weights == usage.kv_cache == 0
    assert usage.pool.active == models["mlp2"].arena  # the networks share the largest
    assert usage.total.active == usage.weights + usage.pool.active
    assert "pool=MemoryStats(active=" in repr(usage)
    assert "ModelMemory(name='mlp" in repr(usage.models[0])


def test_a_pool_that_is_too_small_says_what_to_do() -> None:
    model = build(hidden=4000)
    engine = tritium.InferenceEngine(threads=1, memory_pool_size="100kB")
    with pytest.raises(
        tritium.MemoryLimitError,
        match=r"a pass of 'mlp1' needs \d+ bytes .* of 100000 are free; a smaller batch_size",
    ):
        engine.infer(model, samples(1))
    smaller = tritium.InferenceEngine(threads=1, memory_pool_size="100kB", batch_size=2)
    expected = tritium.InferenceEngine().infer(model, samples(9))
    np.testing.assert_array_equal(smaller.infer(model, samples(9)), expected)
    assert smaller.memory_usage().pool.peak <= 100_000


def test_the_pool_covers_the_logits_of_language_models() -> None:
    model = tritium.load()
    needed = 8 * model.config.vocab_size * 4
    engine = tritium.InferenceEngine(threads=1)
    engine.infer(model, range(8))
    usage = engine.memory_usage()
    assert usage.pool.peak >= needed
    assert usage.pool.cached >= needed
    assert usage.kv_cache == 0
    small = tritium.InferenceEngine(threads=1, memory_pool_size=engine.plan(model).arena_bytes + 9)
    with pytest.raises(tritium.MemoryLimitError, match="a larger memory_pool_size gives"):
        small.infer(model, range(8))


def test_calls_after_the_first_take_no_memory() -> None:
    engine = tritium.InferenceEngine(threads=2)
    models = [build(1), build(2)]
    for model in models:
        engine.infer(model, samples(100))
    before = repr(engine.memory_usage().total)
    for _ in range(5):
        for model in models:
            engine.infer(model, samples(100))
    assert repr(engine.memory_usage().total) == before


# Several models -----------------------------------------------------------------------------------


def test_a_model_stays_prepared_until_it_is_gone() -> None:
    engine = tritium.InferenceEngine(threads=1)
    first, second = build(1), build(2)
    x = samples(5)
    expected = engine.infer(first, x), engine.infer(second, x)
    both = engine.memory_usage()
    for _ in range(3):
        np.testing.assert_array_equal(engine.infer(first, x), expected[0])
        np.testing.assert_array_equal(engine.infer(second, x), expected[1])
    assert engine.memory_usage().total.peak == both.total.peak  # nothing was packed again
    del first
    gc.collect()
    np.testing.assert_array_equal(engine.infer(second, x), expected[1])
    assert [model.name for model in engine.memory_usage().models] == ["mlp2"]


def test_an_engine_does_not_keep_a_model_alive() -> None:
    weight = np.ones((4, 6), F32)
    alive = weakref.ref(weight)
    model = tritium.build_model([Linear(weight)], input_shape=(6,))
    engine = tritium.InferenceEngine(threads=1)
    engine.infer(model, np.ones(6))
    del weight, model
    gc.collect()
    assert alive() is None
    assert engine.memory_usage().models == []


def test_a_model_is_forgotten_when_asked() -> None:
    engine = tritium.InferenceEngine(threads=1)
    first, second = build(1), build(2)
    expected = engine.infer(first, samples(5))
    engine.infer(second, samples(5))
    engine.release(first)
    assert [model.name for model in engine.memory_usage().models] == ["mlp2"]
    engine.release()
    usage = engine.memory_usage()
    assert (usage.models, usage.total.active, usage.total.cached) == ([], 0, 0)
    np.testing.assert_array_equal(engine.infer(first, samples(5)), expected)


LEAKS = """
import json, re
import numpy as np
import tritium
from tritium.layers import BitLinear, Linear, ReLU

def resident():
    return 1024 * int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1])

engine = tritium.InferenceEngine(threads=1)
random = np.random.default_rng(0)
x = random.standard_normal((3, 64)).astype(np.float32)
weight = random.integers(-1, 2, (128, 64), dtype=np.int8)
head = random.standard_normal((10, 128)).astype(np.float32)

def load_and_unload():
    layers = [BitLinear(weight, 0.1), ReLU(), Linear(head)]
    engine.infer(tritium.build_model(layers, input_shape=(64,)), x)

for _ in range(1000):
    load_and_unload()
before = resident()
for _ in range(10_000):
    load_and_unload()
loads = resident() - before

model = tritium.build_model([BitLinear(weight[:8, :16], 0.1)], input_shape=(16,))
one = x[0, :16].copy()
infer = engine.core.infer_samples
for _ in range(10_000):
    infer(model.core, one)
before = resident()
for _ in range(1_000_000):
    infer(model.core, one)
print(json.dumps({"loads": loads, "inferences": resident() - before}))
"""
SLACK = 2_000_000  # bytes; 200 a load would pass it, and 2 an inference


def test_ten_thousand_loads_and_a_million_inferences_leave_memory_flat() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which only Linux has")
    done = subprocess.run(
        [sys.executable, "-c", LEAKS], capture_output=True, text=True, timeout=300, check=True
    )
    grown = json.loads(done.stdout)
    assert grown["loads"] < SLACK
    assert grown["inferences"] < SLACK


# Errors -------------------------------------------------------------------------------------------


def _wrong_weight() -> tritium.Model:
    weight = np.zeros((4, 24), np.int8)
    weight[1, 2] = 2
    return tritium.build_model([BitLinear(weight, 1)], input_shape=(24,))


ERRORS: dict[str, tuple[type[Exception], Any, str]] = {
    "load": (
        tritium.ModelLoadError,
        lambda engine, model: engine.infer(_wrong_weight(), np.zeros(24)),
        "2 at row 1, column 2",
    ),
    "batch": (
        tritium.BatchProcessingError,
        lambda engine, model: engine.infer(model, np.zeros(23)),
        r"got shape \(23,\)",
    ),
    "memory": (
        tritium.MemoryLimitError,
        lambda engine, model: engine.infer(build(5, hidden=8000), samples(1)),
        r"needs \d+ bytes .* of 200000 are free",
    ),
    "optimization": (
        tritium.OptimizationError,
        lambda engine, model: engine.plan(model, head="half"),
        "unknown head 'half'",
    ),
    "device": (
        tritium.DeviceError,
        lambda engine, model: tritium.InferenceEngine(device="tpu"),
        "unknown device 'tpu'",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_engine_goes_on_after_every_kind_of_error(name: str) -> None:
    kind, action, message = ERRORS[name]
    engine = tritium.InferenceEngine(threads=2, memory_pool_size=200_000)
    model, x = build(), samples(20)
    expected = engine.infer(model, x)
    for _ in range(2):
        with pytest.raises(kind, match=message):
            action(engine, model)
        np.testing.assert_array_equal(engine.infer(model, x), expected)


# Plans --------------------------------------------------------------------------------------------


def _residual_network() -> tritium.Model:
    random = np.random.default_rng(1)
    inner = [RMSNorm(np.ones(24)), BitLinear(random.standard_normal((24, 24))), GELU()]
    return tritium.build_model(
        [Residual(inner), BitLinear(random.standard_normal((5, 24))), Softmax()],
        input_shape=(24,),
        name="residual",
    )


@pytest.mark.parametrize("level", ["none", "basic", "aggressive"])
@pytest.mark.parametrize("source", [_residual_network, tritium.load], ids=["network", "language"])
def test_a_plan_can_be_inspected(source: Any, level: str) -> None:
    engine = tritium.InferenceEngine(threads=2, optimization_level=level)
    model = source()
    plan = engine.plan(model)
    assert plan.optimization_level == level
    assert (plan.fusions == []) == (level == "none")
    assert [step.kind for step in plan.layers] == plan.steps
    is_network = not isinstance(model, tritium.LanguageModel)
    assert plan.rows_per_pass == (16 if is_network else 256)
    assert plan.estimated_memory == (
        plan.arena_bytes + plan.weight_bytes + plan.kv_bytes + plan.output_bytes
    )
    arena = plan.arena_bytes // 2 if is_network else plan.arena_bytes  # on each thread
    text = plan.describe()
    assert str(plan) == text
    for step in plan.layers:
        assert step.kind in text
        assert step.outputs
        for value in (*step.inputs, *step.outputs):
            assert value.storage in ("token_ids", "float32", "quantized")
            per_row = value.nbytes // plan.rows_per_pass
            if value.storage == "quantized":
                assert per_row >= value.width + 8
            else:
                assert per_row == 4 * value.width
            if value.offset is not None:
                assert 0 <= value.offset <= arena - value.nbytes
                assert f"{value.name}@{value.offset}" in text
    assert plan.layers[0].inputs[0].offset is None
    assert plan.layers[-1].outputs[-1].offset is None
    assert plan.layers[-1].outputs[-1].width == model.output_shape[0]


def test_the_steps_of_a_plan_say_what_they_do() -> None:
    """All that a backend needs to carry them out."""
    plan = tritium.InferenceEngine("cpu").plan(tritium.load())
    embedding, *_, head = plan.layers
    assert (embedding.operator, embedding.inputs[0].id) == ("embedding", plan.input.id)
    assert (head.operator, head.outputs[0].id) == ("dense_matmul", plan.output.id)
    assert (embedding.outputs[0].rows, head.outputs[0].rows) == ("tokens", "outputs")
    steps = {step.operator: step.attributes for step in plan.layers}
    assert steps["rms_norm_quantize"]["eps"] == pytest.approx(1e-5)
    assert steps["gate"] == {"activation": "relu2"}
    attention = steps["attention"]
    assert len(attention.pop("frequencies")) == 16
    assert attention == {"layer": 7, "heads": 8, "kv_heads": 2, "head_dim": 32, "rotates": True}
    matmul = steps["ternary_matmul"]
    assert (len(matmul["weights"]), matmul["adds_residual"], matmul["activation"]) == (
        1,
        True,
        None,
    )
    assert plan.context_size == 512


def test_every_level_gives_the_same_bits() -> None:
    model, x = _residual_network(), samples(40)
    engines = [
        tritium.InferenceEngine(threads=2, optimization_level=level)
        for level in ("none", "basic", "aggressive")
    ]
    expected = engines[0].infer(model, x)
    for engine in engines[1:]:
        np.testing.assert_array_equal(engine.infer(model, x), expected)


# Threads ------------------------------------------------------------------------------------------


def test_other_python_threads_run_while_an_engine_works() -> None:
    """The interpreter is free: the engine's memory can be asked for in the middle of a call."""
    engine = tritium.InferenceEngine(threads=1)
    model = build(hidden=2000)
    x = samples(20_000)
    engine.infer(model, x[:1])
    done = threading.Event()
    asked = []

    def ask() -> None:
        started.wait()
        while not done.is_set():
            asked.append(engine.memory_usage().weights)

    started = threading.Event()
    asker = threading.Thread(target=ask)
    asker.start()
    started.set()
    for _ in range(3):
        engine.infer(model, x)
    done.set()
    asker.join()
    assert len(asked) > 0
    assert set(asked) == {engine.memory_usage().weights}
