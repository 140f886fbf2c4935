"""The files that are written for other engines, and the comparison with one."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tritium.synthetic import Geometry

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gguf_file
import peers

SMALL = Geometry(
    vocab_size=12,
    hidden_size=256,
    intermediate_size=512,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=64,
    context_length=96,
)


def read_gguf(data: bytes) -> tuple[dict, dict]:
    """Metadata, and (shape, type number, bytes) of each tensor, as docs of GGUF version 3 say."""
    place = 0

    def take(form: str):
        nonlocal place
        values = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return values if len(values) > 1 else values[0]

    def text() -> str:
        return take(f"{take('Q')}s").decode()

    magic, version, tensor_count, value_count = take("4sIQQ")
    assert (magic, version) == (b"GGUF", 3)
    metadata = {}
    for _ in range(value_count):
        key, kind = text(), take("I")
        metadata[key] = text() if kind == 8 else take({4: "I", 6: "f"}[kind])
    found = []
    for _ in range(tensor_count):
        name, rank = text(), take("I")
        shape = [take("Q") for _ in range(rank)]
        found.append((name, shape, take("I"), take("Q")))
    alignment = metadata["general.alignment"]
    base = -(-place // alignment) * alignment
    assert all(offset % alignment == 0 for *_, offset in found)
    ends = [offset for *_, offset in found[1:]] + [len(data) - base]
    return metadata, {
        name: (shape, kind, data[base + offset : base + end])
        for (name, shape, kind, offset), end in zip(found, ends, strict=True)
    }


def fields(codes: np.ndarray, first: int) -> np.ndarray:
    """2-bit fields (..., 4) of bytes, beginning at bit `first` (0 or 6)."""
    shifts = [0, 2, 4, 6] if first == 0 else [6, 4, 2, 0]
    return np.stack([codes >> shift & 3 for shift in shifts], -1)


def decode_i2_s(data: bytes, rows: int, columns: int) -> np.ndarray:
    count = rows * columns
    blocks = np.frombuffer(data, np.uint8, count // 4).reshape(-1, 32)
    codes = fields(blocks, 6).swapaxes(1, 2).reshape(rows, columns).astype(np.float32)
    return (codes - 1) * np.frombuffer(data, "<f4", 1, count // 4)


def decode_tq2_0(data: bytes, rows: int, columns: int) -> np.ndarray:
    blocks = np.frombuffer(data, np.uint8, rows * columns // 256 * 66).reshape(-1, 66)
    codes = fields(blocks[:, :64].reshape(-1, 2, 32), 0).swapaxes(2, 3).reshape(-1, 256)
    scales = blocks[:, 64:].copy().view("<f2").astype(np.float32)
    return ((codes.astype(np.float32) - 1) * scales).reshape(rows, columns)


def decode_iq2_bn_r4(data: bytes, rows: int, columns: int) -> np.ndarray:
    groups = np.frombuffer(data, np.uint8, rows // 4 * (16 + columns)).reshape(rows // 4, -1)
    scales = groups[:, :16].copy().view("<f4")
    # (group, block of 64 columns, quarter of it, row, column of 4) -> fields are 4 columns apart
    codes = fields(groups[:, 16:].reshape(rows // 4, -1, 4, 4, 4), 0)
    codes = codes.transpose(0, 3, 1, 2, 5, 4).reshape(rows // 4, 4, columns)
    return ((codes.astype(np.float32) - 1) * scales[:, :, None]).reshape(rows, columns)


DECODERS = {
    "i2_s": (36, decode_i2_s, lambda rows, columns: rows * columns // 4 + 32),
    "tq2_0": (35, decode_tq2_0, lambda rows, columns: rows * columns // 256 * 66),
    "iq2_bn_r4": (335, decode_iq2_bn_r4, lambda rows, columns: rows * (4 + columns // 4)),
}


@pytest.mark.parametrize("name", gguf_file.FORMATS)
def test_a_written_file_holds_ternary_matrices_of_the_geometry(name, tmp_path):
    gguf_file.write_model(tmp_path / "model.gguf", SMALL, name)
    metadata, tensors = read_gguf((tmp_path / "model.gguf").read_bytes())
    architecture = metadata["general.architecture"]
    assert architecture == ("bitnet" if name == "tq2_0" else "bitnet-b1.58")
    assert metadata[f"{architecture}.attention.head_count_kv"] == 2
    assert metadata[f"{architecture}.vocab_size"] == 12
    assert metadata[f"{architecture}.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert len(tensors) == 2 + 2 * 11
    number, decode, size = DECODERS[name]
    shapes = {
        "attn_q": (256, 256),
        "attn_k": (128, 256),
        "attn_v": (128, 256),
        "attn_output": (256, 256),
        "ffn_gate": (512, 256),
        "ffn_up": (512, 256),
        "ffn_down": (256, 512),
    }
    for matrix, (rows, columns) in shapes.items():
        shape, kind, data = tensors[f"blk.1.{matrix}.weight"]
        assert (shape, kind) == ([columns, rows], number)
        assert len(data) == -(-size(rows, columns) // 32) * 32
        weights = decode(data, rows, columns)
        values, counts = np.unique(weights, return_counts=True)
        assert values == pytest.approx([-0.02, 0, 0.02], abs=2e-5)
        assert counts == pytest.approx([rows * columns / 3] * 3, rel=0.1)
    for norm, width in (("attn_norm", 256), ("attn_sub_norm", 256), ("ffn_sub_norm", 512)):
        shape, kind, data = tensors[f"blk.0.{norm}.weight"]
        assert (shape, kind) == ([width], 0)
        assert np.array_equal(np.frombuffer(data, "<f4"), np.ones(width, np.float32))
    shape, kind, data = tensors["token_embd.weight"]
    assert (shape, kind, len(data)) == ([256, 12], 14, -(-12 * 210 // 32) * 32)


def test_a_geometry_that_does_not_fit_the_blocks_is_refused(tmp_path):
    odd = replace(SMALL, hidden_size=320, heads=5, vocab_size=512)
    with pytest.raises(ValueError, match="512 x 320 does not fit rows by 4 and columns by 256"):
        gguf_file.write_model(tmp_path / "model.gguf", odd, "tq2_0")


FAKE_BENCH = """#!{python}
import json, sys
arguments = sys.argv[1:]
if "--fail" in arguments:
    sys.exit("no such model")
tests = [arguments[arguments.index(f) + 1] for f in ("-p", "-n")]
speed = 100.0 * int(arguments[arguments.index("-t") + 1])
print(json.dumps([{{"build_commit": "abc", "avg_ts": speed, "avg_ns": 1, "tests": tests}}]))
"""


@pytest.fixture
def fake_bench(tmp_path) -> str:
    file = tmp_path / "llama-bench"
    file.write_text(FAKE_BENCH.format(python=sys.executable))
    file.chmod(0o755)
    return str(file)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    monkeypatch.setitem(peers.GEOMETRIES, peers.GEOMETRY, SMALL)


def options(fake_bench: str, tmp_path: Path, *more: str) -> list[str]:
    sizes = ["--prompt", "8", "--generate", "4", "--models", str(tmp_path / "models")]
    return ["--llama-bench", fake_bench, *sizes, *more]


def test_both_engines_are_measured_in_turns_and_recorded(fake_bench, tmp_path, capsys):
    record = tmp_path / "rounds.jsonl"
    asked = options(fake_bench, tmp_path, "--record", str(record))
    assert peers.main([*asked, "--rounds", "1"]) == 0
    assert peers.main([*asked, "--rounds", "1", "--threads", "1"]) == 0
    capsys.readouterr()
    assert peers.main([*asked, "--rounds", "0", "--json"]) == 0
    printed = capsys.readouterr()
    rounds = json.loads(printed.out)
    assert printed.err == ""
    assert [r["threads"] for r in rounds] == [1, 2, 1]
    assert rounds == [json.loads(line) for line in record.read_text().splitlines()]
    for found in rounds:
        for name in ("prefill 8", "decode 4", "load to first token"):
            assert found["ours"][name] > 0
            assert found["peer"][name] > 0
        assert found["peer"]["decode 4"] == 100.0 * found["threads"]
        assert found["peer"]["peak memory 8 + 4"] > 1
        assert found["ours"]["peak memory 8 + 4"] > 10
    assert peers.main([*asked, "--rounds", "0"]) == 0
    table = capsys.readouterr().out
    assert "| 1 thread, 2 rounds | peer | ours | times better |" in table
    assert "| decode 4, tokens/s | 200.0 |" in table
    assert "iq2_bn_r4, build abc" in table


def test_a_record_of_another_comparison_is_refused(fake_bench, tmp_path):
    record = tmp_path / "rounds.jsonl"
    asked = options(fake_bench, tmp_path, "--record", str(record), "--threads", "1")
    peers.main([*asked, "--rounds", "1"])
    with pytest.raises(SystemExit, match="records another comparison"):
        peers.main([*asked, "--rounds", "0", "--format", "i2_s"])


def test_a_peer_that_fails_says_why(fake_bench, tmp_path):
    with pytest.raises(SystemExit, match="ended with 1:\nno such model"):
        peers.main(options(fake_bench, tmp_path, "--rounds", "1", "--peer=--fail"))


def test_ratios_say_how_many_times_better_ours_is():
    speed = peers.Comparison("decode 64", "tokens/s", True, [10.0, 20.0], [15.0, 20.0])
    memory = peers.Comparison("peak memory", "MB", False, [900.0], [600.0])
    assert speed.ratios == [1.5, 1.0]
    assert memory.ratios == [1.5]
