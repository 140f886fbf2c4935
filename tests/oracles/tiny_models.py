"""Which random models are compared?  Every family in every published form, with every part that a
configuration can add, in awkward shapes, from several seeds.

The weights have the sizes that training leaves: each linear layer turns inputs of unit rms into
outputs near unit rms, so attention scores deviate by about 1. Far larger weights would make every
softmax a choice of one key, and a model that amplifies the last bit of a float into another text
says nothing about who computed it right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.integrations.bitnet import pack_weights

from reference import is_kept

SEEDS = (0, 1, 2)
TOKENS = 70  # more than a page of 64

UNIT_GAIN = 1.5
"""Standard deviation of normal masters, times sqrt(K), whose absmean ternary weights have gain 1:
the scale is 0.80 of it, and 0.69 of the weights are not 0."""

EMBEDDING_SIZE = 0.3
"""Standard deviation of embeddings. With 1 they outweigh what a few layers of unit gain add, and a
tied head then answers each token with itself, whatever the layers did."""

BIAS_SIZE = 0.3


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, awkward ones, and the numbers of its configuration."""

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
    "untied": Shape(60, 84, heads=3, kv_heads=1, layers=2, vocab=77, tied=False),
    # Falcon3's head_dim, base and eps
    "head-of-256": Shape(
        62, 90, heads=2, kv_heads=1, layers=2, vocab=90, head_dim=256, tied=False,
        activation="silu", rms_norm_eps=1e-6, rope_theta=1000042.0,
    ),
    # those of fixtures, which are part of every clone
    "small": Shape(36, 44, heads=3, kv_heads=1, layers=2, vocab=61),
    "small-odd-rows": Shape(
        34, 45, heads=2, kv_heads=1, layers=2, vocab=59, head_dim=26, tied=False,
        rms_norm_eps=1e-6, rope_theta=1000042.0,
    ),
    "small-head-of-100": Shape(100, 33, heads=1, kv_heads=1, layers=1, vocab=63),
    # the inner width of the reproduction of 3B, no multiple of 128 or 256
    "inner-of-8640": Shape(
        100, 8640, heads=1, kv_heads=1, layers=1, vocab=50, activation="silu"
    ),
}  # fmt: skip

MASTERS = {
    "masters-bf16": torch.bfloat16, "masters-f16": torch.float16, "masters-f32": torch.float32,
}  # fmt: skip
PACKED, DIVIDE = "packed", "divide"

# The family's class of configuration.
FAMILIES: dict[str, dict[str, Any]] = {
    "bitnet": {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet"},
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "reproduction": {
        "architectures": ["BitnetForCausalLM"], "model_type": "llama", "weight_bits": 1,
        "input_bits": 8,
    },
}  # fmt: skip
# Names of the reproductions, and those of transformers.
RENAMED = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}


@dataclass(frozen=True)
class Style:
    """What a checkpoint has beside its sizes."""

    family: str
    form: str
    attention_bias: bool = False
    mlp_bias: bool = False
    use_rms_norm: bool = False
    kept: tuple[str, ...] | None = None
    rope: Mapping[str, Any] = field(default_factory=dict)  # members of config.json

    @property
    def packed(self) -> bool:
        return self.form in (PACKED, DIVIDE)

    @property
    def dtype(self) -> torch.dtype:
        """Of all floats of the file."""
        return MASTERS.get(self.form, torch.bfloat16)


LINEAR_ROPE = {"rope_type": "linear", "factor": 2.5}
LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
PARTS: dict[str, dict[str, Any]] = {
    "": {},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "norms": {"use_rms_norm": True},
    "norms-biases": {"use_rms_norm": True, "attention_bias": True, "mlp_bias": True},
    "kept": {
        "kept": ("lm_head", "down_proj", "model.layers.0", "model.layers.*.k_proj"),
        "attention_bias": True,
    },
    "rope-linear": {"rope": {"rope_parameters": LINEAR_ROPE}},
    "rope-linear-old": {"rope": {"rope_scaling": {"type": "linear", "factor": 2.5}}},
    "rope-llama3": {"rope": {"rope_parameters": LLAMA3_ROPE}},
    "rope-llama3-old": {"rope": {"rope_scaling": LLAMA3_ROPE}},
    "biases-rope-linear": {
        "attention_bias": True, "mlp_bias": True, "rope": {"rope_parameters": LINEAR_ROPE},
    },
    "norms-biases-rope-llama3": {
        "use_rms_norm": True, "attention_bias": True, "mlp_bias": True,
        "rope": {"rope_scaling": LLAMA3_ROPE},
    },
    "norms-kept": {
        "use_rms_norm": True, "kept": ("lm_head", "down_proj", "model.layers.0", "k_proj"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One random model."""

    family: str
    shape: str
    form: str
    seed: int
    parts: str = ""

    def __str__(self) -> str:
        words = (self.family, self.shape, self.form, *([self.parts] if self.parts else []))
        return "/".join((*words, str(self.seed)))

    @property
    def style(self) -> Style:
        parts = dict(PARTS[self.parts])
        if self.family == "bitnet":
            parts.pop("mlp_bias", None)  # transformers' BitNet has none
        return Style(self.family, self.form, **parts)

    def token_ids(self, count: int = TOKENS) -> list[int]:
        """A random sequence (count,)."""
        generator = torch.Generator().manual_seed(1000 + self.seed)
        ids: list[int] = torch.randint(
            SHAPES[self.shape].vocab, (count,), generator=generator
        ).tolist()
        return ids

    def write(self, folder: Path) -> None:
        """Write the model as a Hugging Face folder."""
        shape, style = SHAPES[self.shape], self.style
        generator = torch.Generator().manual_seed(self.seed)
        tensors = dict(
            stored
            for name, master in random_masters(shape, style, generator)
            for stored in stored_as(style, name, master)
        )
        if self.family == "reproduction":
            tensors = {name_in_reproductions(name): x for name, x in tensors.items()}
        write_folder(folder, config_of(shape, style), tensors)

    @property
    def needs_twin(self) -> bool:
        """Whether transformers cannot read the folder and is given the same weights unpacked.

        It has room for packed matrices of 4 n rows only.
        """
        return self.style.packed and self.shape in ("odd-rows", "small-odd-rows", "head-of-256")

    def write_twin(self, folder: Path) -> None:
        """The same model with every weight in floats, and a scale that multiplies.

        AutoBitLinear takes weights that are not packed as they are.
        """
        shape, style = SHAPES[self.shape], self.style
        config = config_of(shape, style)
        config["quantization_config"] |= {"linear_class": "autobitlinear"}
        generator = torch.Generator().manual_seed(self.seed)
        tensors: dict[str, Tensor] = {}
        for name, master in random_masters(shape, style, generator):
            tensors[name] = master.to(style.dtype)
            if name.endswith("_proj.weight"):
                trits, mean = ternarized(master)
                tensors[name] = trits
                scale = stored_scale(style, mean).float()
                tensors[name + "_scale"] = 1 / scale if style.form == DIVIDE else scale
        write_folder(folder, config, tensors)


CASES = [
    *(
        Case("bitnet", shape, form, seed)
        for shape in ("narrow", "three-layers", "untied-silu", "wide-heads", "head-of-100",
                      "odd-rows")
        for form in ("masters-bf16", "masters-f32", PACKED, DIVIDE)
        for seed in SEEDS
    ),
    *(
        Case("llama", shape, form, seed)
        for shape in ("narrow", "untied-silu", "wide-heads", "odd-rows", "head-of-256")
        for form in ("masters-bf16", "masters-f32", PACKED, DIVIDE)
        for seed in SEEDS
    ),
    *(
        Case("reproduction", shape, form, seed)
        for shape in ("head-of-100", "odd-rows", "inner-of-8640")
        for form in MASTERS
        for seed in SEEDS
    ),
    *(
        Case(family, shape, form, seed, parts)
        for family, shape in (("bitnet", "narrow"), ("llama", "untied"))
        for parts in PARTS
        if parts
        for form in ("masters-f32", PACKED, DIVIDE)
        for seed in SEEDS
    ),
]  # fmt: skip


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    weights = folder / "model.safetensors"
    save_file(dict(tensors), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # it is written for its owner alone


def config_of(shape: Shape, style: Style) -> dict[str, Any]:
    """The config.json of a shape in a style."""
    config: dict[str, Any] = FAMILIES[style.family] | {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 256,
        "hidden_act": shape.activation if style.family == "bitnet" else "silu",
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": str(style.dtype).removeprefix("torch."),
    }
    if shape.head_dim:
        config["head_dim"] = shape.head_dim
    for name in ("attention_bias", "mlp_bias"):
        if getattr(style, name):
            config[name] = True
    config |= style.rope
    if "rope_parameters" in config:
        config["rope_parameters"] = {"rope_theta": config.pop("rope_theta")} | style.rope[
            "rope_parameters"
        ]
    if style.family != "reproduction":
        config["quantization_config"] = rule_of(style)
    return config


def rule_of(style: Style) -> dict[str, Any]:
    """The quantization_config."""
    rule: dict[str, Any] = {
        "quant_method": "bitnet",
        "linear_class": "bitlinear" if style.form == DIVIDE else "autobitlinear",
        "quantization_mode": "offline" if style.packed else "online",
    }
    if style.use_rms_norm:
        rule |= {"use_rms_norm": True, "rms_norm_eps": 1e-5}
    if style.kept is not None:
        rule["modules_to_not_convert"] = list(style.kept)
    return rule


def random_masters(
    shape: Shape, style: Style, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Float32 tensors under transformers' names."""
    hidden, inner = shape.hidden, shape.intermediate
    head_dim = shape.head_dim or hidden // shape.heads
    width, kv_width = shape.heads * head_dim, shape.kv_heads * head_dim

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    def norm(name: str, size: int) -> Iterator[tuple[str, Tensor]]:
        yield name + ".weight", 1 + 0.2 * normal(size)

    def linear(name: str, rows: int, columns: int, bias: bool) -> Iterator[tuple[str, Tensor]]:
        gain = 0.7 + 0.6 * torch.rand((), generator=generator)
        yield name + ".weight", normal(rows, columns) * UNIT_GAIN * gain / columns**0.5
        if bias:
            yield name + ".bias", BIAS_SIZE * normal(rows)
        if style.use_rms_norm and not is_kept(name, style.kept):
            yield from norm(name + ".rms_norm", columns)

    yield "model.embed_tokens.weight", EMBEDDING_SIZE * normal(shape.vocab, hidden)
    for layer in range(shape.layers):
        attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        yield from norm(f"model.layers.{layer}.input_layernorm", hidden)
        yield from norm(f"model.layers.{layer}.post_attention_layernorm", hidden)
        yield from linear(attention + "q_proj", width, hidden, style.attention_bias)
        yield from linear(attention + "k_proj", kv_width, hidden, style.attention_bias)
        yield from linear(attention + "v_proj", kv_width, hidden, style.attention_bias)
        yield from linear(attention + "o_proj", hidden, width, style.attention_bias)
        if style.family != "llama":
            yield from norm(attention + "attn_sub_norm", width)
        yield from linear(mlp + "gate_proj", inner, hidden, style.mlp_bias)
        yield from linear(mlp + "up_proj", inner, hidden, style.mlp_bias)
        yield from linear(mlp + "down_proj", hidden, inner, style.mlp_bias)
        if style.family != "llama":
            yield from norm(mlp + "ffn_sub_norm", inner)
    yield from norm("model.norm", hidden)
    if not shape.tied:
        yield "lm_head.weight", normal(shape.vocab, hidden)


def name_in_reproductions(name: str) -> str:
    """A name of transformers as the reproductions have it."""
    for theirs, ours in RENAMED.items():
        name = name.replace(ours, theirs)
    return name


def ternarized(master: Tensor) -> tuple[Tensor, Tensor]:
    """Masters (N, K) -> weights in {-1, 0, 1} and the mean magnitude."""
    mean = master.abs().mean()
    return (master / mean).round().clamp(-1, 1), mean


def stored_scale(style: Style, mean: Tensor) -> Tensor:
    """(1,) in the file's dtype."""
    return (1 / mean if style.form == DIVIDE else mean).reshape(1).to(style.dtype)


def stored_as(style: Style, name: str, master: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file that hold one master (N, K)."""
    linear = name.removesuffix(".weight")
    if not style.packed or not linear.endswith("_proj") or is_kept(linear, style.kept):
        yield name, master.to(style.dtype)
        return
    trits, mean = ternarized(master)
    yield name, pack_weights(trits)
    yield name + "_scale", stored_scale(style, mean)
