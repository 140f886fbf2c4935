"""Packed weights on disk: the second load takes them from there and computes the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from tritium import LLM, InferenceEngine, MemoryLimitError, load
from tritium.synthetic import Geometry, make_model, write_checkpoint

# 16.8 MB of panels: large enough to be kept.
SMALL = Geometry(
    vocab_size=300,
    hidden_size=1024,
    intermediate_size=4096,
    layers=4,
    heads=8,
    kv_heads=8,
    head_dim=128,
    context_length=64,
)
IDS = [5, 7, 11, 13, 17]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = write_checkpoint(SMALL, tmp_path_factory.mktemp("checkpoint"))
    time.sleep(2.1)  # a file that changed just now is not trusted to stay as it is
    return folder


@pytest.fixture(scope="module")
def expected(checkpoint) -> np.ndarray:
    return infer(checkpoint, None)[0]


def infer(checkpoint: Path, cache_dir: Path | None, **options) -> tuple[np.ndarray, int]:
    """Logits (tokens, vocab), and the bytes of weights that were packed into memory."""
    engine = InferenceEngine(threads=2, cache_dir=cache_dir, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load(checkpoint)
        logits = engine.infer(model, IDS)
    usage = engine.memory_usage()
    assert usage.weights > 16_000_000
    assert usage.weights - usage.mapped_weights <= usage.total.active
    return logits, usage.weights - usage.mapped_weights


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*")) if folder.exists() else []


def test_the_second_load_takes_packed_weights_from_disk(checkpoint, expected, tmp_path):
    first, packed = infer(checkpoint, tmp_path / "cache")
    assert packed > 16_000_000
    [entry] = entries(tmp_path / "cache")
    written = entry.stat().st_mtime_ns, entry.stat().st_ino
    os.utime(entry, ns=(0, 0))
    second, packed = infer(checkpoint, tmp_path / "cache")
    if sys.platform.startswith("linux"):
        # Mapped, or copied where the file system has no huge pages.
        assert packed == 0 or 16_000_000 < packed <= entry.stat().st_size
    assert entries(tmp_path / "cache") == [entry]
    assert entry.stat().st_ino == written[1]
    assert entry.stat().st_mtime_ns >= written[0]  # when it was used
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)


def test_a_damaged_entry_is_packed_again(checkpoint, expected, tmp_path):
    infer(checkpoint, tmp_path)
    [entry] = entries(tmp_path)
    good = entry.read_bytes()
    entry.write_bytes(good[:5_000_000] + bytes([good[5_000_000] ^ 16]) + good[5_000_001:])
    assert np.array_equal(infer(checkpoint, tmp_path)[0], expected)
    assert entry.read_bytes() == good
    entry.write_bytes(good[:-1])
    assert np.array_equal(infer(checkpoint, tmp_path)[0], expected)
    assert entry.read_bytes() == good


def test_another_checkpoint_has_another_entry(checkpoint, expected, tmp_path):
    other = write_checkpoint(SMALL, tmp_path / "other", seed=1)
    time.sleep(2.1)
    for _ in range(2):
        assert np.array_equal(infer(checkpoint, tmp_path / "cache")[0], expected)
        assert not np.array_equal(infer(other, tmp_path / "cache")[0], expected)
    assert len(entries(tmp_path / "cache")) == 2


def test_an_edit_in_place_is_seen(checkpoint, tmp_path):
    folder = write_checkpoint(SMALL, tmp_path / "model", seed=2)
    time.sleep(2.1)
    before, _ = infer(folder, tmp_path / "cache")
    file = folder / "model.safetensors"
    stat = file.stat()
    with file.open("r+b") as stream:  # the codes of one matrix, in part
        stream.seek(stat.st_size - 3_000_000)
        stream.write(bytes(200_000))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    fresh, _ = infer(folder, None)
    assert not np.array_equal(fresh, before)
    assert np.array_equal(infer(folder, tmp_path / "cache")[0], fresh)


def test_nothing_is_kept_where_it_is_switched_off_too_small_or_not_from_a_file(
    checkpoint, expected, tmp_path
):
    cache = tmp_path / "cache"
    assert np.array_equal(infer(checkpoint, cache, max_cache_size=1_000_000)[0], expected)
    InferenceEngine(cache_dir=cache).infer(load("demo"), IDS)
    InferenceEngine(cache_dir=cache).core.infer(make_model(SMALL), np.array(IDS, np.int32))
    assert entries(cache) == []
    with pytest.raises(MemoryLimitError, match="at least 0 bytes, got -1"):
        InferenceEngine(max_cache_size=-1)


def test_the_environment_names_the_folder(checkpoint, tmp_path):
    script = f"import tritium; tritium.LLM({str(checkpoint)!r}, context_size=32)"
    for value, kept in ((str(tmp_path / "a"), 1), ("", 0)):
        home = tmp_path / f"home{kept}"
        environment = os.environ | {"TRITIUM_CACHE_DIR": value, "HOME": str(home)}
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=environment)
        assert not home.exists()
    assert len(entries(tmp_path / "a")) == 1


def test_a_folder_that_cannot_be_written_is_one_warning(checkpoint, expected, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    engine = InferenceEngine(cache_dir=blocked)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logits = engine.infer(load(checkpoint), IDS)
        engine.infer(load(checkpoint), IDS)
    [warning] = caught
    assert warning.category is RuntimeWarning
    assert "packed weights cannot be kept" in str(warning.message)
    assert str(blocked) in str(warning.message)
    assert np.array_equal(logits, expected)
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        LLM(load(checkpoint), cache_dir=blocked, context_size=32)
