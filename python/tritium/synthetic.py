"""How does one get a model of a real size without its file?

Weights are random and made in memory, so speed and memory can be measured on any machine. The text
that such a model makes is noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODE_BYTES_SPARE = 1 << 20
_EMBEDDING_CHUNK = 1 << 20  # elements


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


def make_model(geometry: Geometry, *, seed: int = 0) -> _core.Model:
    """A model with random weights.

    Every packed matrix is a window of one small buffer of random ternary codes, each at another
    offset. An engine packs the matrices into memory of their own, so it reads as much as it would
    for weights of a file. Embeddings are random throughout and stay where they are, as those of a
    mapped file do.
    """
    return _core.Model(_config(geometry), _source(geometry, np.random.default_rng(seed)))


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


def _source(geometry: Geometry, random: np.random.Generator) -> _core.TensorSource:
    source = _core.TensorSource()
    sizes = list(_matrices(geometry, layer=0))
    largest = max(-(-rows // 4) * columns for _, rows, columns in sizes)
    codes = _core.MappedFile.from_buffer(_codes(largest + _CODE_BYTES_SPARE, random), "codes")
    scale = _core.MappedFile.from_buffer(_bfloat16(np.array([0.02])), "scale")
    widest = max(
        geometry.hidden_size, geometry.intermediate_size, geometry.heads * geometry.head_dim
    )
    ones = _core.MappedFile.from_buffer(_bfloat16(np.ones(widest)), "norms")

    def add_norm(name: str, width: int) -> None:
        source.add(
            name, dtype="bfloat16", encoding="plain", shape=[width], file=ones, offset=0,
            nbytes=2 * width,
        )  # fmt: skip

    def add_matrix(name: str, rows: int, columns: int) -> None:
        source.add(
            f"{name}.weight",
            dtype="uint8",
            encoding="ternary_stripes",
            shape=[-(-rows // 4), columns],
            file=codes,
            offset=int(random.integers(_CODE_BYTES_SPARE)),
            nbytes=-(-rows // 4) * columns,
        )
        source.add(
            f"{name}.weight_scale", dtype="bfloat16", encoding="plain", shape=[1], file=scale,
            offset=0, nbytes=2,
        )  # fmt: skip

    embeddings = _embeddings(geometry.vocab_size * geometry.hidden_size, random)
    source.add(
        "model.embed_tokens.weight",
        dtype="bfloat16",
        encoding="plain",
        shape=[geometry.vocab_size, geometry.hidden_size],
        file=_core.MappedFile.from_buffer(embeddings, "embeddings"),
        offset=0,
        nbytes=embeddings.nbytes,
    )
    add_norm("model.norm.weight", geometry.hidden_size)
    for layer in range(geometry.layers):
        prefix = f"model.layers.{layer}"
        add_norm(f"{prefix}.input_layernorm.weight", geometry.hidden_size)
        add_norm(f"{prefix}.post_attention_layernorm.weight", geometry.hidden_size)
        add_norm(f"{prefix}.self_attn.attn_sub_norm.weight", geometry.heads * geometry.head_dim)
        add_norm(f"{prefix}.mlp.ffn_sub_norm.weight", geometry.intermediate_size)
        for matrix in _matrices(geometry, layer):
            add_matrix(*matrix)
    return source


def _matrices(geometry: Geometry, layer: int) -> Iterator[tuple[str, int, int]]:
    """(name, rows, columns) of each ternary matrix of a layer."""
    attention, mlp = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
    hidden, inner = geometry.hidden_size, geometry.intermediate_size
    width = geometry.heads * geometry.head_dim
    kv_width = geometry.kv_heads * geometry.head_dim
    yield f"{attention}.q_proj", width, hidden
    yield f"{attention}.k_proj", kv_width, hidden
    yield f"{attention}.v_proj", kv_width, hidden
    yield f"{attention}.o_proj", hidden, width
    yield f"{mlp}.gate_proj", inner, hidden
    yield f"{mlp}.up_proj", inner, hidden
    yield f"{mlp}.down_proj", hidden, inner


def _codes(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Bytes (count,) of four 2-bit codes each: 0, 1, 2 equally often, never 3."""
    digits = random.integers(0, 81, count, dtype=np.uint8)
    packed = np.zeros(count, np.uint8)
    for shift in (0, 2, 4, 6):
        packed |= (digits % 3) << shift
        digits //= 3
    return packed


def _embeddings(count: int, random: np.random.Generator) -> NDArray[np.uint16]:
    """bfloat16 bits (count,) of roughly normal numbers."""
    table = _bfloat16(random.standard_normal(1 << 16))
    result = np.empty(count, np.uint16)
    for start in range(0, count, _EMBEDDING_CHUNK):
        chunk = result[start : start + _EMBEDDING_CHUNK]
        table.take(random.integers(0, 1 << 16, len(chunk), dtype=np.uint16), out=chunk)
    return result


def _bfloat16(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The upper halves of float32 `values`."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
