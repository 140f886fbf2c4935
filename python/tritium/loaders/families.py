"""Which architectures of Hugging Face are read, and what their config.json leaves unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ModelLoadError
from .fields import Fields


@dataclass(frozen=True)
class Family:
    """A published kind of checkpoint, with the defaults of its configuration class."""

    architecture: str  # of the core
    model_types: tuple[str, ...]
    activation: str
    rms_norm_eps: float
    rope_theta: float
    kv_heads: int | None  # None: as many as heads
    masters_without_rule: bool = False  # no quantization_config: masters, ternarised at load
    renamed: Mapping[str, str] = field(default_factory=dict)  # its names of modules -> neutral

    def neutral_name(self, name: str) -> str:
        """The name that the core gives to the tensor `name`."""
        for own, neutral in self.renamed.items():
            name = name.replace(f".{own}.", f".{neutral}.")
        return name


# Defaults: transformers 5.23, BitNetConfig and LlamaConfig. The reproductions bring code of their
# own, which began as a copy of Llama.
_BITNET = Family(
    architecture="bitnet",
    model_types=("bitnet", "bitnet-25", "bitnet-b1.58"),
    activation="relu2",
    rms_norm_eps=1e-5,
    rope_theta=500000.0,
    kv_heads=5,
)
_REPRODUCTION = Family(
    architecture="bitnet",
    model_types=("llama", "bitnet"),
    activation="silu",
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    kv_heads=None,
    masters_without_rule=True,
    renamed={
        "self_attn.inner_attn_ln": "self_attn.attn_sub_norm",
        "mlp.ffn_layernorm": "mlp.ffn_sub_norm",
    },
)
_LLAMA = Family(
    architecture="llama",
    model_types=("llama",),
    activation="silu",
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    kv_heads=None,
)

_ARCHITECTURES = {
    "BitNetForCausalLM": _BITNET,
    "BitnetForCausalLM": _REPRODUCTION,
    "LlamaForCausalLM": _LLAMA,
}


def find_family(fields: Fields) -> Family:
    """The family of a config.json: by `architectures`, and without any by `model_type`."""
    architectures = fields.raw("architectures", [])
    if not isinstance(architectures, list):
        raise fields.error("architectures", architectures, "a list of names")
    if not architectures:
        model_type = fields.choice("model_type", (*_BITNET.model_types, *_LLAMA.model_types))
        return _BITNET if model_type in _BITNET.model_types else _LLAMA
    for name in architectures:
        if isinstance(name, str) and name in _ARCHITECTURES:
            family = _ARCHITECTURES[name]
            fields.choice("model_type", family.model_types, family.model_types[0])
            return family
    raise _unknown(fields, architectures)


def _unknown(fields: Fields, architectures: list[object]) -> ModelLoadError:
    return fields.error("architectures", architectures, "one of " + ", ".join(_ARCHITECTURES))
