"""Which random models are compared?  Every shape in every published form, from several seeds.

The weights have the sizes that training leaves: each linear layer turns inputs of unit rms into
outputs near unit rms, so attention scores deviate by about 1. Far larger weights would make every
softmax a choice of one key, and a model that amplifies the last bit of a float into another text
says nothing about who computed it right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.integrations.bitnet import pack_weights

SEEDS = (0, 1, 2)
TOKENS = 70  # more than a page of 64

UNIT_GAIN = 1.5
"""Standard deviation of normal masters, times sqrt(K), whose absmean ternary weights have gain 1:
the scale is 0.80 of it, and 0.69 of the weights are not 0."""

EMBEDDING_SIZE = 0.3
"""Standard deviation of embeddings. With 1 they outweigh what a few layers of unit gain add, and a
tied head then answers each token with itself, whatever the layers did."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, awkward ones."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    layers: int
    vocab: int
    head_dim: int | None = None  # default hidden / heads
    tied: bool = True
    activation: str = "relu2"
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0


SHAPES = {
    "narrow": Shape(64, 100, heads=4, kv_heads=1, layers=2, vocab=131),
    "three-layers": Shape(
        96, 636, heads=6, kv_heads=2, layers=3, vocab=257, rope_theta=500000.0
    ),
    "untied-silu": Shape(
        120, 100, heads=5, kv_heads=5, layers=1, vocab=67, tied=False, activation="silu"
    ),
    "wide-heads": Shape(80, 140, heads=4, kv_heads=1, layers=3, vocab=199, head_dim=32),
    "head-of-100": Shape(
        200, 640, heads=2, kv_heads=1, layers=2, vocab=150, rms_norm_eps=1e-6
    ),
    "odd-rows": Shape(42, 51, heads=3, kv_heads=1, layers=3, vocab=97),
}  # fmt: skip

MASTERS_BF16, MASTERS_F32, PACKED, DIVIDE = "masters-bf16", "masters-f32", "packed", "divide"
FORMS = (MASTERS_BF16, MASTERS_F32, PACKED, DIVIDE)


@dataclass(frozen=True)
class Case:
    """One random model."""

    shape: str
    form: str
    seed: int

    def __str__(self) -> str:
        return f"{self.shape}/{self.form}/{self.seed}"

    def token_ids(self, count: int = TOKENS) -> list[int]:
        """A random sequence (count,)."""
        generator = torch.Generator().manual_seed(1000 + self.seed)
        ids: list[int] = torch.randint(
            SHAPES[self.shape].vocab, (count,), generator=generator
        ).tolist()
        return ids

    def write(self, folder: Path) -> None:
        """Write the model as a Hugging Face folder."""
        shape = SHAPES[self.shape]
        folder.mkdir(parents=True, exist_ok=True)
        config = json.dumps(config_of(shape, self.form), indent=2)
        (folder / "config.json").write_text(config + "\n", encoding="utf-8")
        generator = torch.Generator().manual_seed(self.seed)
        tensors = dict(
            stored
            for name, master in random_masters(shape, generator)
            for stored in stored_as(self.form, name, master)
        )
        weights = folder / "model.safetensors"
        save_file(tensors, weights, metadata={"format": "pt"})
        weights.chmod(0o644)  # it is written for its owner alone


# transformers packs matrices of 4 n rows only; masters may have any number of rows.
CASES = [
    Case(shape, form, seed)
    for shape in SHAPES
    for form in FORMS
    for seed in SEEDS
    if shape != "odd-rows" or form in (MASTERS_BF16, MASTERS_F32)
]


def config_of(shape: Shape, form: str) -> dict[str, Any]:
    """The config.json of a shape in a form."""
    config: dict[str, Any] = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 256,
        "hidden_act": shape.activation,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32" if form == MASTERS_F32 else "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "bitlinear" if form == DIVIDE else "autobitlinear",
            "quantization_mode": "offline" if form in (PACKED, DIVIDE) else "online",
        },
    }
    if shape.head_dim:
        config["head_dim"] = shape.head_dim
    return config


def random_masters(shape: Shape, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Float32 tensors under their names; those that end in `_proj.weight` are to be ternary."""
    hidden, inner = shape.hidden, shape.intermediate
    head_dim = shape.head_dim or hidden // shape.heads
    width, kv_width = shape.heads * head_dim, shape.kv_heads * head_dim

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    def linear(rows: int, columns: int) -> Tensor:
        gain = 0.7 + 0.6 * torch.rand((), generator=generator)
        return normal(rows, columns) * UNIT_GAIN * gain / columns**0.5

    def norm(size: int) -> Tensor:
        return 1 + 0.2 * normal(size)

    yield "model.embed_tokens.weight", EMBEDDING_SIZE * normal(shape.vocab, hidden)
    for layer in range(shape.layers):
        block = f"model.layers.{layer}."
        yield block + "input_layernorm.weight", norm(hidden)
        yield block + "post_attention_layernorm.weight", norm(hidden)
        yield block + "self_attn.q_proj.weight", linear(width, hidden)
        yield block + "self_attn.k_proj.weight", linear(kv_width, hidden)
        yield block + "self_attn.v_proj.weight", linear(kv_width, hidden)
        yield block + "self_attn.o_proj.weight", linear(hidden, width)
        yield block + "self_attn.attn_sub_norm.weight", norm(width)
        yield block + "mlp.gate_proj.weight", linear(inner, hidden)
        yield block + "mlp.up_proj.weight", linear(inner, hidden)
        yield block + "mlp.down_proj.weight", linear(hidden, inner)
        yield block + "mlp.ffn_sub_norm.weight", norm(inner)
    yield "model.norm.weight", norm(hidden)
    if not shape.tied:
        yield "lm_head.weight", normal(shape.vocab, hidden)


def stored_as(form: str, name: str, master: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file that hold one master (N, K)."""
    dtype = torch.float32 if form == MASTERS_F32 else torch.bfloat16
    if form not in (PACKED, DIVIDE) or not name.endswith("_proj.weight"):
        yield name, master.to(dtype)
        return
    mean = master.abs().mean()
    trits = (master / mean).round().clamp(-1, 1)
    yield name, pack_weights(trits.clone())  # it changes its argument
    yield name + "_scale", (1 / mean if form == DIVIDE else mean).reshape(1).to(dtype)
