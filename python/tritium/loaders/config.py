"""What a Hugging Face config.json of a ternary model says, in neutral terms.

Fields and defaults are those of transformers 5.23: BitNetConfig, LlamaConfig, BitNetQuantConfig.
What would change the arithmetic and is not implemented is refused, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._core import ModelConfig
from ..errors import ModelLoadError
from .families import Family, find_family
from .fields import Fields
from .json_text import read_object
from .kept_modules import KeptModules, read_kept_modules
from .rope import read_rope

_ACTIVATIONS = ("relu2", "silu")
_MAX_SIZE = 2**31
_MAX_LAYERS = 4096

# Fields of other architectures, and of forks of these, with the values that change nothing.
_NOT_IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "attention_chunk_size": (),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "clip_qkv": (),
    "embedding_multiplier": (1,),
    "final_logit_softcapping": (),
    "is_causal": (True,),
    "key_multiplier": (1,),
    "lm_head_multiplier": (1,),
    "logit_scale": (1,),
    "logits_scaling": (1,),
    "n_routed_experts": (0, 1),
    "no_rope_layers": ([],),
    "num_experts": (0, 1),
    "num_local_experts": (0, 1),
    "partial_rotary_factor": (1,),
    "pretraining_model_parallel": (1,),  # TriLM: so many scales a matrix
    "qk_norm": (False,),
    "query_pre_attn_scalar": (),
    "residual_multiplier": (1,),
    "rope_interleave": (False,),
    "rope_interleaved": (False,),
    "scale_depth": (),
    "scale_emb": (1,),
    "use_qk_norm": (False,),
}
_KINDS_OF_LAYER = ("full_attention", "sliding_attention")


@dataclass(frozen=True)
class CheckpointConfig:
    """A config.json that was understood."""

    model: ModelConfig
    family: Family
    packed: bool  # projections are 2-bit codes with scales; otherwise float masters
    kept: KeptModules  # projections among these are plain floats
    values: dict[str, Any]  # the file as it is
    path: Path


@dataclass(frozen=True)
class _Quantization:
    """A `quantization_config`."""

    linear_class: str = "autobitlinear"
    mode: str = "online"
    norm_eps: float | None = None  # of the norm inside each linear layer, where there is one
    kept: KeptModules = field(default_factory=KeptModules)

    @property
    def packed(self) -> bool:
        return not (self.linear_class == "autobitlinear" and self.mode == "online")


def read_config(path: Path) -> CheckpointConfig:
    """The configuration in the file `path`. A name that it gives twice counts with its last value.

    Raises ModelLoadError in the form ``[config] <field>: got X, expected Y (in FILE)`` for a
    wrong type or range, sizes that do not divide, and for an architecture, activation, position
    encoding or quantisation that is not known.
    """
    values = read_object(path, "config")
    fields = Fields(values, "config", str(path))
    family = find_family(fields)
    quantization = _quantization(fields, family)
    _refuse_what_is_not_implemented(fields)

    heads = fields.integer("num_attention_heads", 1, _MAX_SIZE)
    hidden_size = fields.integer("hidden_size", 1, _MAX_SIZE)
    context_length = fields.integer("max_position_embeddings", 1, _MAX_SIZE, 2048)
    _refuse_sliding_window(fields, context_length)
    try:
        model = ModelConfig(
            architecture=family.architecture,
            vocab_size=fields.integer("vocab_size", 1, _MAX_SIZE),
            hidden_size=hidden_size,
            intermediate_size=fields.integer("intermediate_size", 1, _MAX_SIZE),
            layers=fields.integer("num_hidden_layers", 1, _MAX_LAYERS),
            heads=heads,
            kv_heads=_kv_heads(fields, family, heads),
            head_dim=_head_dim(fields, hidden_size, heads),
            context_length=context_length,
            rms_norm_eps=fields.number("rms_norm_eps", 1e-30, 0.999, family.rms_norm_eps),
            rope=read_rope(fields, default_theta=family.rope_theta, context_length=context_length),
            activation=fields.choice("hidden_act", _ACTIVATIONS, family.activation),
            tied_head=fields.flag("tie_word_embeddings", False),
            scale_direction=(
                "multiply" if quantization.linear_class == "autobitlinear" else "divide"
            ),
            attention_bias=fields.flag("attention_bias", False),
            mlp_bias=fields.flag("mlp_bias", False),
            linear_norm_eps=quantization.norm_eps,
        )
    except ModelLoadError as error:
        if str(path) in str(error):
            raise
        raise ModelLoadError(f"{error} (in {path})") from error
    return CheckpointConfig(model, family, quantization.packed, quantization.kept, values, path)


def _quantization(fields: Fields, family: Family) -> _Quantization:
    """With transformers' defaults; the reproductions are masters and say nothing."""
    for name, bits in (("weight_bits", 1), ("input_bits", 8)):
        if fields.raw(name, bits) != bits:
            raise fields.error(name, fields.raw(name), str(bits))
    quantization = fields.object("quantization_config")
    if quantization is None:
        if family.masters_without_rule:
            return _Quantization()
        raise fields.error_text("quantization_config", "got nothing, expected " + _rule_of(family))
    quantization.choice("quant_method", ("bitnet",))
    linear_class = quantization.choice("linear_class", ("autobitlinear", "bitlinear"), "bitlinear")
    mode = quantization.choice("quantization_mode", ("online", "offline"), "offline")
    has_norm = quantization.flag("use_rms_norm", False)
    norm_eps = quantization.number("rms_norm_eps", 1e-30, 0.999, 1e-6)
    kept = read_kept_modules(quantization)
    return _Quantization(linear_class, mode, norm_eps if has_norm else None, kept)


def _rule_of(family: Family) -> str:
    masters = (
        '{"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}'
    )
    if family.architecture == "llama":
        return (
            'quant_method "bitnet": an ordinary Llama model is not ternary, and Tritium runs '
            f"ternary models. Float masters of a ternary one need {masters}"
        )
    return f"the rule of the weights. Float masters need {masters}"


def _refuse_what_is_not_implemented(fields: Fields) -> None:
    for name, harmless in _NOT_IMPLEMENTED.items():
        value = fields.raw(name)
        if value is not None and value not in harmless:
            known = " or ".join(["nothing", *(str(word).lower() for word in harmless)])
            raise fields.error(name, value, f"{known}: it is not implemented")
    kinds = fields.raw("layer_types", [])
    if not isinstance(kinds, list) or any(kind not in _KINDS_OF_LAYER for kind in kinds):
        raise fields.error("layer_types", kinds, "a list of " + ", ".join(_KINDS_OF_LAYER))


def _refuse_sliding_window(fields: Fields, context_length: int) -> None:
    """A window as long as the context hides nothing."""
    window = fields.integer("sliding_window", 1, _MAX_SIZE, None)
    used = fields.flag("use_sliding_window", True)
    if used and window is not None and window < context_length:
        raise fields.error(
            "sliding_window",
            window,
            f"null or at least max_position_embeddings = {context_length}: attention through a "
            "shorter window is not implemented",
        )


def _kv_heads(fields: Fields, family: Family, heads: int) -> int:
    default = heads if fields.is_null("num_key_value_heads") else family.kv_heads or heads
    kv_heads: int = fields.integer("num_key_value_heads", 1, _MAX_SIZE, default)
    if heads % kv_heads != 0:
        raise fields.error(
            "num_key_value_heads", kv_heads, f"a divisor of num_attention_heads = {heads}"
        )
    return kv_heads


def _head_dim(fields: Fields, hidden_size: int, heads: int) -> int:
    head_dim: int | None = fields.integer("head_dim", 2, _MAX_SIZE, None)
    if head_dim is not None:
        return head_dim
    if hidden_size % heads != 0:
        raise fields.error(
            "num_attention_heads",
            heads,
            f"a divisor of hidden_size = {hidden_size} where head_dim is not given",
        )
    return hidden_size // heads
