"""Whatever happens to the bytes of a folder, loading it succeeds or raises ModelLoadError."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import tritium
from hf_folders import write_bitnet_folder
from tritium.errors import ModelLoadError

TINY = {"vocab": 8, "hidden": 8, "intermediate": 8, "layers": 1, "heads": 2, "kv_heads": 1}
WORDS = [b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b'""', b"[]", b"{}", b"9" * 30, b"\xff"]


def load_or_refuse(folder: Path) -> bool:
    try:
        tritium.load(folder)
    except ModelLoadError:
        return False
    return True


def flip(content: bytes, where: random.Random, span: int) -> bytes:
    changed = bytearray(content)
    for _ in range(where.choice([1, 1, 1, 2, 8])):
        changed[where.randrange(span)] ^= 1 << where.randrange(8)
    return bytes(changed)


def cut(content: bytes, where: random.Random, span: int) -> bytes:
    return content[: where.randrange(len(content))]


def splice(content: bytes, where: random.Random, span: int) -> bytes:
    """A word of JSON, or a piece from elsewhere, in place of some bytes."""
    begin = where.randrange(span)
    length = where.choice([0, 1, 2, 4, 16])
    piece = where.choice([*WORDS, content[(other := where.randrange(span)) : other + 16]])
    return content[:begin] + piece + content[begin + length :]


MODELS = {
    "packed": {},
    "masters": {"form": "masters"},
    "reproduction": {"family": "reproduction", "form": "masters", "dtype": "float16"},
    "llama with every part": {
        "family": "llama", "linear_class": "bitlinear", "tied": False, "use_rms_norm": True,
        "attention_bias": True, "mlp_bias": True, "kept": ["lm_head", "model.*.down_proj"],
        "rope": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def pristine(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / request.param
    write_bitnet_folder(folder, seed=1, shards=2, **TINY | MODELS[request.param])
    assert load_or_refuse(folder)
    return folder


@pytest.mark.parametrize("mutate", [flip, cut, splice])
@pytest.mark.parametrize("part", ["weights", "json"])
def test_a_mutated_folder_loads_or_is_refused(pristine, tmp_path, part, mutate):
    folder = tmp_path / "mutated"
    shutil.copytree(pristine, folder)
    where = random.Random(f"{part} {mutate.__name__}")
    files = sorted(folder.glob("*.safetensors" if part == "weights" else "*.json"))
    assert len(files) == (2 if part == "weights" else 3)
    refused = 0
    for _ in range(200):
        path = where.choice(files)
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little") if part == "weights" else len(content)
        # mostly the header: bytes of weights are numbers, most of them valid
        span = header if where.random() < 0.8 else len(content)
        path.write_bytes(mutate(content, where, span))
        refused += not load_or_refuse(folder)
        path.write_bytes(content)
    assert load_or_refuse(folder)
    assert refused > 50


def test_every_length_of_a_weights_file_but_the_whole_is_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, **TINY)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    for length in [*range(64), *range(64, len(content), 13), len(content) - 1]:
        path.write_bytes(content[:length])
        assert not load_or_refuse(tmp_path), f"loaded from {length} of {len(content)} bytes"
