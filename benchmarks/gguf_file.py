"""How does one give another engine a model of a real size without its file?

Writes GGUF files with random weights in the ternary types of llama.cpp, ik_llama.cpp and
bitnet.cpp. They run as fast as a real model; the text that they make is noise.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tritium.synthetic import Geometry

_ALIGNMENT = 32
_CHUNK_ROWS = 4096
_SCALE = 0.02

# Every byte of four 2-bit codes 0, 1, 2: there is no code 3 in a ternary matrix.
_CODE_BYTES = np.array(
    [a | b << 2 | c << 4 | d << 6 for a in range(3) for b in range(3) for c in range(3)
     for d in range(3)], np.uint8,
)  # fmt: skip
_TQ2_0 = np.dtype([("codes", np.uint8, 64), ("scale", "<f2")])
_Q6_K = np.dtype(
    [("low", np.uint8, 128), ("high", np.uint8, 64), ("scales", np.int8, 16), ("scale", "<f2")]
)


@dataclass(frozen=True)
class TensorType:
    """How a matrix lies in the file: rows of blocks, and what follows the last row."""

    number: int
    """In the numbering of the engine that reads it."""
    block: int
    """Columns of a row are a multiple of it."""
    row_bytes: Callable[[int], int]
    """Bytes of a row of so many columns."""
    random_rows: Callable[[int, int, np.random.Generator], NDArray[np.uint8]]
    """Bytes of (rows, columns) with random weights, (rows * row_bytes(columns),)."""
    tail: bytes = b""


def _codes(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    return _CODE_BYTES.take(random.integers(0, len(_CODE_BYTES), count, dtype=np.uint8))


def _ones(rows: int, columns: int, random: np.random.Generator) -> NDArray[np.uint8]:
    return np.ones(rows * columns, "<f4").view(np.uint8)


def _random_q6_k(rows: int, columns: int, random: np.random.Generator) -> NDArray[np.uint8]:
    blocks = np.frombuffer(random.bytes(rows * columns // 256 * _Q6_K.itemsize), _Q6_K).copy()
    blocks["scale"] = _SCALE / 2048  # weights reach 32 * 128 scales
    return blocks.view(np.uint8)


def _random_tq2_0(rows: int, columns: int, random: np.random.Generator) -> NDArray[np.uint8]:
    blocks = np.empty(rows * columns // 256, _TQ2_0)
    blocks["codes"] = _codes(blocks["codes"].size, random).reshape(-1, 64)
    blocks["scale"] = _SCALE
    return blocks.view(np.uint8)


def _random_i2_s(rows: int, columns: int, random: np.random.Generator) -> NDArray[np.uint8]:
    return _codes(rows * columns // 4, random)


def _random_iq2_bn_r4(rows: int, columns: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Four rows lie together: their scales, then their codes."""
    result = np.empty((rows // 4, 16 + columns), np.uint8)
    result[:, :16] = np.full(4, _SCALE, "<f4").view(np.uint8)
    result[:, 16:] = _codes(result[:, 16:].size, random).reshape(-1, columns)
    return result.reshape(-1)


F32 = TensorType(0, 1, lambda columns: 4 * columns, _ones)
Q6_K = TensorType(14, 256, lambda columns: columns // 256 * _Q6_K.itemsize, _random_q6_k)
TQ2_0 = TensorType(35, 256, lambda columns: columns // 256 * _TQ2_0.itemsize, _random_tq2_0)
I2_S = TensorType(
    36, 128, lambda columns: columns // 4, _random_i2_s, struct.pack("<f28x", _SCALE)
)  # one scale a matrix
IQ2_BN_R4 = TensorType(335, 64, lambda columns: 4 + columns // 4, _random_iq2_bn_r4)


@dataclass(frozen=True)
class Format:
    """What one engine expects of a 2B-4T kind of model."""

    architecture: str
    matrices: TensorType


FORMATS = {
    "iq2_bn_r4": Format("bitnet-b1.58", IQ2_BN_R4),  # ik_llama.cpp
    "i2_s": Format("bitnet-b1.58", I2_S),  # bitnet.cpp
    "tq2_0": Format("bitnet", TQ2_0),  # llama.cpp
}


@dataclass(frozen=True)
class Tensor:
    """A matrix, or a vector as one row."""

    name: str
    rows: int
    columns: int
    type: TensorType

    @property
    def nbytes(self) -> int:
        return self.rows * self.type.row_bytes(self.columns) + len(self.type.tail)


def write_model(path: Path, geometry: Geometry, format_name: str, *, seed: int = 0) -> None:
    """Write random weights of `geometry` in one of `FORMATS`, embeddings (also the head) in Q6_K.

    There is no tokenizer, only its size. ValueError where the sizes do not fit the blocks.
    """
    wanted = FORMATS[format_name]
    tensors = list(_tensors(geometry, wanted.matrices))
    for tensor in tensors:
        if tensor.columns % tensor.type.block or (tensor.rows > 1 and tensor.rows % 4):
            raise ValueError(
                f"[gguf] {tensor.name} of {tensor.rows} x {tensor.columns} does not fit rows by 4 "
                f"and columns by {tensor.type.block}"
            )
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        write_header(file, _metadata(geometry, wanted.architecture), tensors)
        for tensor in tensors:
            for row in range(0, tensor.rows, _CHUNK_ROWS):
                rows = min(_CHUNK_ROWS, tensor.rows - row)
                file.write(tensor.type.random_rows(rows, tensor.columns, random).data)
            file.write(tensor.type.tail)
            file.write(bytes(-tensor.nbytes % _ALIGNMENT))


def write_header(
    file: BinaryIO, metadata: dict[str, str | int | float], tensors: list[Tensor]
) -> None:
    """Everything in front of the data of the first tensor."""
    file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_string(key) + _value(value))
    offset = 0
    for tensor in tensors:
        shape = (tensor.columns, tensor.rows) if tensor.rows > 1 else (tensor.columns,)
        file.write(_string(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        file.write(struct.pack("<IQ", tensor.type.number, offset))
        offset += math.ceil(tensor.nbytes / _ALIGNMENT) * _ALIGNMENT
    file.write(bytes(-file.tell() % _ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    return (
        struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
    )


def _metadata(geometry: Geometry, architecture: str) -> dict[str, str | int | float]:
    sizes = {
        "vocab_size": geometry.vocab_size,
        "context_length": geometry.context_length,
        "embedding_length": geometry.hidden_size,
        "block_count": geometry.layers,
        "feed_forward_length": geometry.intermediate_size,
        "attention.head_count": geometry.heads,
        "attention.head_count_kv": geometry.kv_heads,
        "attention.layer_norm_rms_epsilon": geometry.rms_norm_eps,
        "rope.dimension_count": geometry.head_dim,
        "rope.freq_base": geometry.rope_theta,
    }
    return {
        "general.architecture": architecture,
        "general.alignment": _ALIGNMENT,
        "general.quantization_version": 2,
        "tokenizer.ggml.model": "no_vocab",
        **{f"{architecture}.{key}": value for key, value in sizes.items()},
    }


def _tensors(geometry: Geometry, matrices: TensorType) -> Iterator[Tensor]:
    hidden, inner = geometry.hidden_size, geometry.intermediate_size
    width, kv_width = (n * geometry.head_dim for n in (geometry.heads, geometry.kv_heads))
    yield Tensor("token_embd.weight", geometry.vocab_size, hidden, Q6_K)
    yield Tensor("output_norm.weight", 1, hidden, F32)
    for layer in range(geometry.layers):
        for name, columns in (
            ("attn_norm", hidden),
            ("attn_sub_norm", width),
            ("ffn_norm", hidden),
            ("ffn_sub_norm", inner),
        ):
            yield Tensor(f"blk.{layer}.{name}.weight", 1, columns, F32)
        for name, rows, columns in (
            ("attn_q", width, hidden),
            ("attn_k", kv_width, hidden),
            ("attn_v", kv_width, hidden),
            ("attn_output", hidden, width),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ):
            yield Tensor(f"blk.{layer}.{name}.weight", rows, columns, matrices)
