"""What a Hugging Face config.json of the BitNet family says, in neutral terms.

Fields and defaults are those of transformers' BitNetConfig and BitNetQuantConfig (5.23). What
would change the arithmetic and is not implemented is refused, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core import ModelConfig
from ..errors import ModelLoadError
from .fields import Fields
from .json_text import read_object

_ARCHITECTURES = ("BitNetForCausalLM",)
_MODEL_TYPES = ("bitnet", "bitnet-25", "bitnet-b1.58")
_ACTIVATIONS = ("relu2", "silu")
_MAX_SIZE = 2**31
_MAX_LAYERS = 4096


@dataclass(frozen=True)
class CheckpointConfig:
    """A config.json that was understood."""

    model: ModelConfig
    packed: bool  # projections are 2-bit codes with scales; otherwise float masters
    values: dict[str, Any]  # the file as it is
    path: Path


def read_config(path: Path) -> CheckpointConfig:
    """The configuration in the file `path`. A name that it gives twice counts with its last value.

    Raises ModelLoadError in the form ``[config] <field>: got X, expected Y (in FILE)`` for a
    wrong type or range, sizes that do not divide, and for an architecture, activation, position
    encoding or quantisation that is not known.
    """
    values = read_object(path, "config")
    fields = Fields(values, "config", str(path))
    _check_family(fields)
    linear_class, mode = _quantization(fields)
    _refuse_variants(fields)

    heads = fields.integer("num_attention_heads", 1, _MAX_SIZE)
    sizes = {
        "vocab_size": fields.integer("vocab_size", 1, _MAX_SIZE),
        "hidden_size": fields.integer("hidden_size", 1, _MAX_SIZE),
        "intermediate_size": fields.integer("intermediate_size", 1, _MAX_SIZE),
        "layers": fields.integer("num_hidden_layers", 1, _MAX_LAYERS),
        "heads": heads,
        "kv_heads": _kv_heads(fields, heads),
        "context_length": fields.integer("max_position_embeddings", 1, _MAX_SIZE, 2048),
    }
    try:
        model = ModelConfig(
            architecture="bitnet",
            **sizes,
            head_dim=_head_dim(fields, sizes["hidden_size"], heads),
            rms_norm_eps=fields.number("rms_norm_eps", 1e-30, 0.999, 1e-5),
            rope_theta=_rope_theta(fields),
            activation=fields.choice("hidden_act", _ACTIVATIONS, "relu2"),
            tied_head=fields.flag("tie_word_embeddings", False),
            scale_direction="multiply" if linear_class == "autobitlinear" else "divide",
        )
    except ModelLoadError as error:
        if str(path) in str(error):
            raise
        raise ModelLoadError(f"{error} (in {path})") from error
    packed = not (linear_class == "autobitlinear" and mode == "online")
    return CheckpointConfig(model, packed, values, path)


def _check_family(fields: Fields) -> None:
    architectures = fields.raw("architectures", [])
    if not isinstance(architectures, list):
        raise fields.error("architectures", architectures, "a list of names")
    if not architectures:
        fields.choice("model_type", _MODEL_TYPES)
        return
    if not any(name in _ARCHITECTURES for name in architectures):
        raise fields.error("architectures", architectures, "one of " + ", ".join(_ARCHITECTURES))
    fields.choice("model_type", _MODEL_TYPES, "bitnet")


def _quantization(fields: Fields) -> tuple[str, str]:
    """(linear_class, quantization_mode) with transformers' defaults."""
    quantization = fields.object("quantization_config")
    if quantization is None:
        raise fields.error_text(
            "quantization_config",
            "got nothing, expected the rule of the weights. Float masters need "
            '{"quant_method": "bitnet", "linear_class": "autobitlinear", '
            '"quantization_mode": "online"}',
        )
    quantization.choice("quant_method", ("bitnet",))
    linear_class = quantization.choice("linear_class", ("autobitlinear", "bitlinear"), "bitlinear")
    mode = quantization.choice("quantization_mode", ("online", "offline"), "offline")
    if quantization.flag("use_rms_norm", False):
        raise quantization.error("use_rms_norm", True, "false: no norm inside a linear layer")
    kept = quantization.raw("modules_to_not_convert", [])
    if kept not in ([], ["lm_head"]):
        raise quantization.error("modules_to_not_convert", kept, 'null, [] or ["lm_head"]')
    return linear_class, mode


def _refuse_variants(fields: Fields) -> None:
    for field in ("attention_bias", "mlp_bias"):
        if fields.flag(field, False):
            raise fields.error(field, True, "false: projections without a bias")


def _kv_heads(fields: Fields, heads: int) -> int:
    kv_heads: int = fields.integer("num_key_value_heads", 1, _MAX_SIZE, heads)
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


def _rope_theta(fields: Fields) -> float:
    """The base of plain rotary positions; any scaling of them is refused."""
    low, high = 1.0, 1e30
    theta = fields.number("rope_theta", low, high, None)
    for name in ("rope_parameters", "rope_scaling"):
        rope = fields.object(name)
        if rope is None:
            continue
        for key in ("rope_type", "type"):
            rope.choice(key, ("default",), "default")
        for key in ("factor", "partial_rotary_factor"):
            _refuse_unless_one(rope, key)
        inner = rope.number("rope_theta", low, high, theta)
        if theta is not None and inner != theta:
            raise rope.error("rope_theta", inner, f"rope_theta = {theta:g} as beside it")
        theta = inner
    _refuse_unless_one(fields, "partial_rotary_factor")
    return 500000.0 if theta is None else theta


def _refuse_unless_one(fields: Fields, field: str) -> None:
    if fields.raw(field, 1) != 1:
        raise fields.error(field, fields.raw(field), "1: plain rotary positions")
