"""`tritium bench`: its numbers and how they hang together. None is compared with a time."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

from tritium import BatchProcessingError, InferenceEngine, ModelLoadError, _core, load
from tritium.bench import Limits, Round, run_bench, summarize
from tritium.cli.bench import as_table
from tritium.synthetic import GEOMETRIES, Geometry, make_model, write_checkpoint

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
    "peak_rss_mb": float,
    "weight_bytes_per_token": int,
    "read_bandwidth_gb_per_s": float,
    "decode_bandwidth_fraction": float,
    "integer_peak_gmac_per_s": float,
    "prefill_peak_fraction": float,
    "kernel_set": str,
    "threads": int,
}


def assert_sound(values: dict) -> None:
    assert {name: type(value) for name, value in values.items()} == KEYS
    assert all(np.isfinite(v) and v > 0 for v in values.values() if not isinstance(v, str))


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
        threads=1,
    )
    assert result.decode_bandwidth_fraction == pytest.approx(0.1)
    assert result.prefill_peak_fraction == pytest.approx(0.1)
    assert result.decode_tokens_per_s == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": 0}, "prompt is 0"),
        ({"generate": 1}, "generate is 1"),
        ({"rounds": 0}, "rounds is 0"),
        ({"prompt": True}, "prompt is True"),
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
    ],
)
def test_the_command_says_what_it_cannot_measure(arguments, message):
    done = bench(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stdout == ""


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
    assert (usage.active, usage.cached) == (0, 0)
