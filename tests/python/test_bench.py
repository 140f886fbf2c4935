"""`tritium bench`: its numbers and how they hang together. None is compared with a time."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

from tritium import (
    BatchProcessingError,
    DeviceError,
    InferenceEngine,
    ModelLoadError,
    OptimizationError,
    _core,
    load,
)
from tritium.bench import Limits, Round, run_bench, summarize
from tritium.cli.bench import as_table
from tritium.energy import joules_between, read_counters
from tritium.roofline import Point, Roofline
from tritium.synthetic import GEOMETRIES, Geometry, _embeddings, make_model, write_checkpoint

TINY = Geometry(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=100,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=24,
    context_length=64,
)
KEYS = {
    "prefill_tokens_per_s": float,
    "decode_tokens_per_s": float,
    "time_to_first_token_s": float,
    "load_s": float,
    "load_to_first_token_s": float,
    "peak_rss_mb": float,
    "private_mb": float,
    "weight_bytes_per_token": int,
    "read_bandwidth_gb_per_s": float,
    "decode_bandwidth_fraction": float,
    "integer_peak_gmac_per_s": float,
    "prefill_peak_fraction": float,
    "kernel_set": str,
    "ternary_format": str,
    "threads": int,
    "batch": int,
    "joules_per_token": (float, type(None)),
    "head_rows_per_token": (float, type(None)),
    "depth": (dict, type(None)),
}


def assert_sound(values: dict) -> None:
    assert values.keys() == KEYS.keys()
    for name, value in values.items():
        assert isinstance(value, KEYS[name]), name
        assert not isinstance(value, (int, float)) or (np.isfinite(value) and value > 0), name


def bench(*arguments: str):
    return subprocess.run(
        [sys.executable, "-m", "tritium", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")},
    )


def test_a_synthetic_model_is_measured_with_all_keys():
    lines: list[str] = []
    result = run_bench(TINY, threads=1, prompt=8, generate=4, rounds=1, report=lines.append)
    assert_sound(result.as_dict())
    assert result.threads == 1
    assert result.kernel_set == InferenceEngine().kernel_set
    assert result.time_to_first_token_s * result.prefill_tokens_per_s == pytest.approx(8)
    assert "making random weights" in lines
    assert "round 1 of 1" in lines


def test_the_command_prints_json_and_keeps_progress_off_stdout():
    done = bench("--json", "--prompt", "8", "--generate", "4", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert_sound(json.loads(done.stdout))
    assert all(line.startswith("tritium: ") for line in done.stderr.splitlines())


def test_the_command_prints_a_table():
    done = bench("--prompt", "8", "--generate", "4", "--rounds", "1", "-t", "1")
    assert done.returncode == 0, done.stderr
    for word in ("kernel set", "load", "peak memory", "first token", "prefill", "decode", "GB/s"):
        assert word in done.stdout
    assert "1 thread\n" in done.stdout


def test_the_table_says_what_the_numbers_say():
    result = summarize(
        [Round(2.0, 4.0, Limits(8e9, 5e9), Limits(12e9, 5e9))],
        prompt=100,
        generate=41,
        multiply_adds_per_token=10**7,
        weight_bytes_per_token=5 * 10**8,
        load_s=1.5,
        peak_rss=2 * 10**9,
        kernel_set="abacus",
        ternary_format="2bit",
        threads=3,
    )
    assert result.prefill_tokens_per_s == 50
    assert result.decode_tokens_per_s == 10
    assert result.read_bandwidth_gb_per_s == 10
    assert result.decode_bandwidth_fraction == pytest.approx(0.5)
    assert result.prefill_peak_fraction == pytest.approx(0.1)
    table = as_table(result)
    for text in ("abacus, 3 threads", "2000 MB", "50.0 tokens/s", "50.0% of 10.0 GB/s", "500 MB"):
        assert text in table


def test_fractions_come_from_the_limits_of_their_own_round():
    slow, fast = Limits(1e9, 1e9), Limits(2e9, 2e9)
    rounds = [
        Round(1.0, 1.0, slow, slow),
        Round(0.5, 0.5, fast, fast),
        Round(0.5, 0.5, fast, fast),
    ]
    result = summarize(
        rounds,
        prompt=10,
        generate=2,
        multiply_adds_per_token=10**7,
        weight_bytes_per_token=10**8,
        load_s=1.0,
        peak_rss=1,
        kernel_set="abacus",
        ternary_format="2bit",
        threads=1,
    )
    assert result.decode_bandwidth_fraction == pytest.approx(0.1)
    assert result.prefill_peak_fraction == pytest.approx(0.1)
    assert result.decode_tokens_per_s == 2


def test_decode_in_a_long_context_is_set_against_the_bytes_of_its_keys_and_values():
    second = Limits(10e9, 5e9)
    result = summarize(
        [Round(2.0, 4.0, second, second, deep_decode_s=5.0)],
        prompt=100,
        generate=41,
        multiply_adds_per_token=10**7,
        weight_bytes_per_token=5 * 10**8,
        load_s=1.5,
        peak_rss=2 * 10**9,
        kernel_set="abacus",
        ternary_format="2bit",
        threads=3,
        batch=2,
        depth=1140,
        kv_bytes_per_token=5 * 10**4,
    )
    deep = result.depth
    assert result.prefill_tokens_per_s == 100
    assert result.decode_tokens_per_s == 20
    assert deep.decode_tokens_per_s == 16
    assert deep.loss == pytest.approx(0.2)
    # 1000 more tokens of context for each of two sequences: 100 MB, 10 ms, after steps of 100 ms.
    assert deep.predicted_loss == pytest.approx(10 / 110)
    assert deep.time_over_bytes == pytest.approx(2.5)
    table = as_table(result)
    assert "20.0% lost, 9.1% predicted by 112 MB of keys and values a step" in table
    assert "2.50 x" in table


def test_a_long_context_and_a_batch_are_measured():
    result = run_bench(TINY, threads=1, prompt=3, generate=4, rounds=1, batch=3, depth=60)
    assert_sound(result.as_dict())
    assert result.batch == 3
    assert result.depth.tokens == 60
    assert result.depth.decode_tokens_per_s > 0
    # Keys and values of 2 heads of 24 in 2 layers, 3 sequences that see 59 tokens on average.
    elements = 2 * 2 * 24 * 2 * 3 * 59
    assert result.depth.kv_bytes_per_step >= elements
    assert result.depth.kv_bytes_per_step <= 4 * elements * 4 // 3


@pytest.mark.parametrize("name", [kernels.name for kernels in _core.kernel_sets()])
def test_a_kernel_set_can_be_named(name, monkeypatch):
    monkeypatch.setenv("TRITIUM_KERNELS", "scalar")
    if next(kernels for kernels in _core.kernel_sets() if kernels.name == name).supported:
        result = run_bench(TINY, threads=1, prompt=2, generate=2, rounds=1, kernels=name)
        assert result.kernel_set == name
    else:
        with pytest.raises(DeviceError, match=name):
            run_bench(TINY, threads=1, prompt=2, generate=2, rounds=1, kernels=name)
    assert os.environ["TRITIUM_KERNELS"] == "scalar"


@pytest.mark.parametrize("name", ["2bit", "1.6bit", "3bit"])
def test_a_ternary_format_can_be_named(name):
    sizes = {"threads": 1, "prompt": 2, "generate": 2, "rounds": 1}
    best = next(k for k in _core.kernel_sets() if k.name == InferenceEngine().kernel_set)
    if name in best.ternary_formats:
        assert run_bench(TINY, ternary_format=name, **sizes).ternary_format == name
    else:
        with pytest.raises(OptimizationError, match=f"no ternary format '{name}'; it has 2bit"):
            run_bench(TINY, ternary_format=name, **sizes)


def test_an_optimization_level_can_be_named():
    sizes = {"threads": 1, "prompt": 2, "generate": 2, "rounds": 1}
    assert run_bench(TINY, **sizes).ternary_format == "2bit"
    aggressive = run_bench(TINY, optimization_level="aggressive", **sizes)
    best = next(k for k in _core.kernel_sets() if k.name == aggressive.kernel_set)
    assert aggressive.ternary_format in best.ternary_formats
    assert f"ternary weights in {aggressive.ternary_format}" in as_table(aggressive)


def test_a_head_can_be_named_and_a_screened_one_says_how_many_rows_it_left_open():
    sizes = {"threads": 1, "prompt": 2, "generate": 4, "rounds": 1}
    assert run_bench(TINY, head="full", **sizes).head_rows_per_token is None
    screened = run_bench(TINY, head="screened", **sizes)
    assert 1 <= screened.head_rows_per_token <= TINY.vocab_size
    assert "rows of the head in full a token" in as_table(screened)


def test_heavy_tails_are_heavy():
    def kurtosis(kind: str) -> float:
        numbers = _embeddings(1 << 18, np.random.default_rng(1), kind).astype(np.uint32) << 16
        x = numbers.view(np.float32).astype(np.float64)
        return np.mean(x**4) / np.mean(x**2) ** 2

    assert kurtosis("gaussian") == pytest.approx(3, abs=0.2)
    assert kurtosis("heavy") > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": 0}, "prompt is 0"),
        ({"generate": 1}, "generate is 1"),
        ({"rounds": 0}, "rounds is 0"),
        ({"prompt": True}, "prompt is True"),
        ({"batch": 0}, "batch is 0"),
        ({"prompt": 8, "generate": 4, "depth": 12}, "depth is 12, must be an integer >= 13"),
        ({"prompt": 8, "generate": 4, "depth": 65}, "depth of 65 tokens does not fit .* of 64"),
        ({"prompt": 60, "generate": 5}, r"60 \+ 5 tokens do not fit the context of 64"),
    ],
)
def test_a_measurement_that_cannot_be_made_says_why(arguments, message):
    with pytest.raises(BatchProcessingError, match=message):
        run_bench(TINY, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--synthetic", "abacus"], "known are bitnet-2b-4t"),
        (["--synthetic", "bitnet-2b-4t", "-m", "demo"], "exclude each other"),
        (["--head-weights", "heavy"], "needs --synthetic"),
        (["--head-weights", "flat", "--synthetic", "bitnet-2b-4t"], "one of gaussian, heavy"),
    ],
)
def test_the_command_says_what_it_cannot_measure(arguments, message):
    done = bench(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stdout == ""


# Energy


def add_zone(folder, zone: str, name: str, value: str, most: str = "1000000") -> None:
    (folder / zone).mkdir(exist_ok=True)
    for file, text in (("name", name), ("energy_uj", value), ("max_energy_range_uj", most)):
        (folder / zone / file).write_text(f"{text}\n")


def test_joules_are_those_of_all_packages(tmp_path):
    add_zone(tmp_path, "intel-rapl:0", "package-0", "100")
    add_zone(tmp_path, "intel-rapl:0:0", "core", "10")
    add_zone(tmp_path, "intel-rapl:1", "package-1", "900000")
    add_zone(tmp_path, "intel-rapl:2", "psys", "10")
    (tmp_path / "intel-rapl").mkdir()
    before = read_counters(tmp_path)
    assert before.keys() == {"intel-rapl:0", "intel-rapl:1"}
    add_zone(tmp_path, "intel-rapl:0", "package-0", "250100")
    add_zone(tmp_path, "intel-rapl:1", "package-1", "150000")  # past its range
    assert joules_between(before, read_counters(tmp_path)) == pytest.approx(0.25 + 0.25)


def test_counters_that_cannot_be_read_are_none(tmp_path):
    add_zone(tmp_path, "intel-rapl:0", "package-0", "many")
    assert read_counters(tmp_path) == {}
    assert read_counters(tmp_path / "missing") == {}
    assert joules_between({}, {}) is None


def test_the_table_says_joules_where_there_are_some():
    limits = Limits(1e9, 1e9)
    sizes = {
        "prompt": 10,
        "generate": 11,
        "multiply_adds_per_token": 1,
        "weight_bytes_per_token": 1,
        "load_s": 1.0,
        "peak_rss": 1,
        "kernel_set": "abacus",
        "ternary_format": "2bit",
        "threads": 1,
    }
    known = summarize([Round(1.0, 1.0, limits, limits, joules=25.0)], **sizes)
    assert known.joules_per_token == 2.5
    assert "2.50 J a token" in as_table(known)
    unknown = summarize([Round(1.0, 1.0, limits, limits)], **sizes)
    assert unknown.joules_per_token is None
    assert "J a token" not in as_table(unknown)


# Rooflines


def test_points_lie_under_their_roofs():
    roofline = Roofline([Point(1, 1.0), Point(64, 2.0)], Limits(100.0, 1500.0), 40, 10)
    assert [roofline.intensity(p) for p in roofline.points] == [4, 256]
    assert [roofline.rate(p) for p in roofline.points] == [40, 1280]
    assert [roofline.roof(x) for x in (4, 256)] == [400, 1500]


def test_a_roofline_is_drawn_or_says_what_it_needs(tmp_path):
    file = tmp_path / "roofline.png"
    sizes = {"threads": 1, "prompt": 2, "generate": 2, "rounds": 1}
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(BatchProcessingError, match="pip install 'tritium\\[plot\\]'"):
            run_bench(TINY, plot=file, **sizes)
    else:
        run_bench(TINY, plot=file, **sizes)
        assert file.read_bytes().startswith(b"\x89PNG")


# Synthetic models


def test_a_synthetic_model_computes_and_its_seed_decides():
    engine = InferenceEngine(threads=1)
    ids = np.arange(1, 9, dtype=np.int32)
    first = engine.core.infer(make_model(TINY, seed=1), ids)
    assert first.shape == (8, 300)
    assert np.isfinite(first).all()
    assert np.array_equal(first, engine.core.infer(make_model(TINY, seed=1), ids))
    assert not np.array_equal(first, engine.core.infer(make_model(TINY, seed=2), ids))


def test_the_geometry_of_2b_4t_has_its_parameters():
    g = GEOMETRIES["bitnet-2b-4t"]
    width, kv_width = g.heads * g.head_dim, g.kv_heads * g.head_dim
    attention = g.hidden_size * (2 * width + 2 * kv_width)
    norms = 2 * g.hidden_size + width + g.intermediate_size
    layer = attention + 3 * g.hidden_size * g.intermediate_size + norms
    # The number of parameters of microsoft/bitnet-b1.58-2B-4T.
    assert g.layers * layer + (g.vocab_size + 1) * g.hidden_size == 2_412_820_480


def test_what_a_token_reads_is_every_weight_and_one_embedding():
    model = make_model(TINY)
    engine = InferenceEngine(threads=1)
    plan = engine.core.plan(model)
    width = TINY.heads * TINY.head_dim
    norms = 4 * ((4 * TINY.hidden_size + 2 * width + 2 * TINY.intermediate_size) + TINY.hidden_size)
    dense = 2 * TINY.hidden_size * (TINY.vocab_size + 1)
    session = _core.Session(engine.core, model)
    assert plan.weight_bytes_per_token == engine.core.memory_usage().weights + dense + norms
    del session


def test_a_written_checkpoint_is_the_model_of_its_geometry(tmp_path):
    engine = InferenceEngine(threads=1)
    model = load(write_checkpoint(TINY, tmp_path / "model", seed=3))
    made = make_model(TINY)
    for name in ("vocab_size", "layers", "head_dim", "context_length", "activation", "tied_head"):
        assert getattr(model.config, name) == getattr(made.config, name)
    assert model.core.parameter_count == made.parameter_count
    assert model.core.weight_form == made.weight_form
    assert engine.core.plan(model.core).describe() == engine.core.plan(made).describe()
    logits = engine.infer(model, range(1, 9))
    assert np.isfinite(logits).all()
    same = load(write_checkpoint(TINY, tmp_path / "same", seed=3))
    assert np.array_equal(engine.infer(same, range(1, 9)), logits)
    other = load(write_checkpoint(TINY, tmp_path / "other", seed=4))
    assert not np.array_equal(engine.infer(other, range(1, 9)), logits)


# Files that are buffers


def test_a_lent_buffer_lives_as_long_as_its_file():
    class Array(np.ndarray):
        """An array that can be referred to weakly."""

    array = np.arange(16, dtype=np.uint16).view(Array)
    gone = weakref.ref(array)
    file = _core.MappedFile.from_buffer(array, "lent")
    del array
    gc.collect()
    assert gone() is not None
    assert len(file) == 32
    assert file.path == "lent"
    assert bytes(file) == np.arange(16, dtype=np.uint16).tobytes()
    del file
    gc.collect()
    assert gone() is None


def test_a_buffer_with_gaps_is_refused():
    with pytest.raises(ModelLoadError, match="not contiguous"):
        _core.MappedFile.from_buffer(np.zeros(8, np.uint8)[::2], "gaps")


def test_the_engine_measures_its_limits_within_its_memory():
    engine = InferenceEngine(threads=2)
    found = engine.core.measure_limits(1 << 20)
    assert found.read_bytes_per_second > 0
    assert found.multiply_adds_per_second > 0
    usage = engine.memory_usage()
    assert (usage.total.active, usage.total.cached) == (0, 0)
