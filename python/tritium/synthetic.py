"""How does one get a model of a real size without its file?

Weights are random, made in memory or written as a checkpoint, so speed and memory can be measured
on any machine. The text that such a model makes is noise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODE_BYTES_SPARE = 1 << 20
_CHUNK = 1 << 20  # elements
_SCALE = 0.02


@dataclass(frozen=True)
class Geometry:
    """Sizes of a `bitnet` model with packed weights and a tied bfloat16 head."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    rope_theta: float = 500000.0
    rms_norm_eps: float = 1e-5


GEOMETRIES = {
    "bitnet-2b-4t": Geometry(
        vocab_size=128256,
        hidden_size=2560,
        intermediate_size=6912,
        layers=30,
        heads=20,
        kv_heads=5,
        head_dim=128,
        context_length=4096,
    )
}
"""Sizes of published models, by the name that `tritium bench --synthetic` takes."""


EMBEDDINGS = ("gaussian", "heavy")
"""How the numbers of synthetic embeddings, and so of the head, are spread: normally, or with the
heavy tails of Student's t with 3 degrees of freedom.
"""


def make_model(geometry: Geometry, *, seed: int = 0, embeddings: str = "gaussian") -> _core.Model:
    """A model with random weights; `embeddings` is one of `EMBEDDINGS`.

    Every packed matrix is a window of one small buffer of random ternary codes, each at another
    offset. An engine packs the matrices into memory of their own, so it reads as much as it would
    for weights of a file. Embeddings are random throughout and stay where they are, as those of a
    mapped file do.
    """
    return _core.Model(
        _config(geometry), _source(geometry, np.random.default_rng(seed), embeddings)
    )


def _config(geometry: Geometry) -> _core.ModelConfig:
    return _core.ModelConfig(
        architecture="bitnet",
        vocab_size=geometry.vocab_size,
        hidden_size=geometry.hidden_size,
        intermediate_size=geometry.intermediate_size,
        layers=geometry.layers,
        heads=geometry.heads,
        kv_heads=geometry.kv_heads,
        head_dim=geometry.head_dim,
        context_length=geometry.context_length,
        rms_norm_eps=geometry.rms_norm_eps,
        rope=_core.RopeConfig(theta=geometry.rope_theta),
        activation="relu2",
        tied_head=True,
    )


def write_checkpoint(geometry: Geometry, folder: str | Path, *, seed: int = 0) -> Path:
    """Write a checkpoint with random weights in the form of Hugging Face, for `tritium.load`.

    Creates `folder` with `config.json` and `model.safetensors`: packed weights that are random
    throughout, norms of ones and bfloat16 embeddings. There is no tokenizer: such a model takes
    token ids. Returns the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_huggingface_config(geometry), indent=2) + "\n")
    header, end = {}, 0
    for tensor in _tensors(geometry):
        header[tensor.name] = {
            "dtype": "U8" if tensor.kind is _Kind.CODES else "BF16",
            "shape": tensor.shape,
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in _tensors(geometry):
            for chunk in _contents(tensor, random):
                chunk.tofile(file)
    return folder


class _Kind(Enum):
    CODES = 0  # uint8, four ternary codes each
    SCALE = 1  # this and the others bfloat16
    NORM = 2
    EMBEDDING = 3


@dataclass(frozen=True)
class _Tensor:
    name: str
    kind: _Kind
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * (1 if self.kind is _Kind.CODES else 2)


def _tensors(geometry: Geometry) -> Iterator[_Tensor]:
    hidden, inner = geometry.hidden_size, geometry.intermediate_size
    width = geometry.heads * geometry.head_dim
    kv_width = geometry.kv_heads * geometry.head_dim
    yield _Tensor("model.embed_tokens.weight", _Kind.EMBEDDING, (geometry.vocab_size, hidden))
    yield _Tensor("model.norm.weight", _Kind.NORM, (hidden,))
    for layer in range(geometry.layers):
        prefix = f"model.layers.{layer}"
        for name, size in (
            ("input_layernorm", hidden),
            ("post_attention_layernorm", hidden),
            ("self_attn.attn_sub_norm", width),
            ("mlp.ffn_sub_norm", inner),
        ):
            yield _Tensor(f"{prefix}.{name}.weight", _Kind.NORM, (size,))
        for name, rows, columns in (
            ("self_attn.q_proj", width, hidden),
            ("self_attn.k_proj", kv_width, hidden),
            ("self_attn.v_proj", kv_width, hidden),
            ("self_attn.o_proj", hidden, width),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            yield _Tensor(f"{prefix}.{name}.weight", _Kind.CODES, (-(-rows // 4), columns))
            yield _Tensor(f"{prefix}.{name}.weight_scale", _Kind.SCALE, (1,))


def _source(geometry: Geometry, random: np.random.Generator, embeddings: str) -> _core.TensorSource:
    tensors = list(_tensors(geometry))

    def largest(kind: _Kind) -> int:
        return max(math.prod(tensor.shape) for tensor in tensors if tensor.kind is kind)

    files = {
        kind: _core.MappedFile.from_buffer(elements, kind.name.lower())
        for kind, elements in (
            (_Kind.CODES, _codes(largest(_Kind.CODES) + _CODE_BYTES_SPARE, random)),
            (_Kind.SCALE, _bfloat16(np.array([_SCALE]))),
            (_Kind.NORM, _bfloat16(np.ones(largest(_Kind.NORM)))),
            (_Kind.EMBEDDING, _embeddings(largest(_Kind.EMBEDDING), random, embeddings)),
        )
    }
    source = _core.TensorSource()
    for tensor in tensors:
        packed = tensor.kind is _Kind.CODES
        source.add(
            tensor.name,
            dtype="uint8" if packed else "bfloat16",
            encoding="ternary_stripes" if packed else "plain",
            shape=tensor.shape,
            file=files[tensor.kind],
            offset=int(random.integers(_CODE_BYTES_SPARE)) if packed else 0,
            nbytes=tensor.nbytes,
        )
    return source


def _contents(
    tensor: _Tensor, random: np.random.Generator
) -> Iterator[NDArray[np.uint8] | NDArray[np.uint16]]:
    """The elements of a tensor that is written, in chunks."""
    if tensor.kind is _Kind.SCALE:
        yield _bfloat16(_SCALE * random.uniform(0.5, 2, 1))
    elif tensor.kind is _Kind.NORM:
        yield _bfloat16(np.ones(tensor.shape))
    else:
        make = _codes if tensor.kind is _Kind.CODES else _embeddings
        count = math.prod(tensor.shape)
        for start in range(0, count, _CHUNK):
            yield make(min(_CHUNK, count - start), random)


def _huggingface_config(geometry: Geometry) -> dict[str, object]:
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "vocab_size": geometry.vocab_size,
        "hidden_size": geometry.hidden_size,
        "intermediate_size": geometry.intermediate_size,
        "num_hidden_layers": geometry.layers,
        "num_attention_heads": geometry.heads,
        "num_key_value_heads": geometry.kv_heads,
        "head_dim": geometry.head_dim,
        "max_position_embeddings": geometry.context_length,
        "rms_norm_eps": geometry.rms_norm_eps,
        "rope_theta": geometry.rope_theta,
        "hidden_act": "relu2",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }


def _codes(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Bytes (count,) of four 2-bit codes each: 0, 1, 2 equally often, never 3."""
    digits = random.integers(0, 81, count, dtype=np.uint8)
    packed = np.zeros(count, np.uint8)
    for shift in (0, 2, 4, 6):
        packed |= (digits % 3) << shift
        digits //= 3
    return packed


def _embeddings(
    count: int, random: np.random.Generator, spread: str = "gaussian"
) -> NDArray[np.uint16]:
    """bfloat16 bits (count,) of numbers that are spread in one of the ways of `EMBEDDINGS`."""
    draw = {"gaussian": random.standard_normal, "heavy": lambda n: random.standard_t(3, n)}[spread]
    table = _bfloat16(draw(1 << 16))
    result = np.empty(count, np.uint16)
    for start in range(0, count, _CHUNK):
        chunk = result[start : start + _CHUNK]
        table.take(random.integers(0, 1 << 16, len(chunk), dtype=np.uint16), out=chunk)
    return result


def _bfloat16(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The upper halves of float32 `values`."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
