"""Writes tiny random folders of every family in the forms that are published, with numpy alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import is_kept

Array = NDArray[Any]

_WORDS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "uint8": "U8"}


def to_bfloat16(values: Array) -> NDArray[np.uint16]:
    """The bfloat16 bits nearest to float32 `values` (ties to even), same shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> NDArray[np.float32]:
    """The float32 values of bfloat16 `bits`, same shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(values: Array, dtype: str) -> tuple[str, Array, Array]:
    """(word of safetensors, stored elements, what a reader sees as float32) of `values`."""
    if dtype == "bfloat16":
        stored: Array = to_bfloat16(values)
        return "BF16", stored, from_bfloat16(stored)
    stored = values.astype(dtype)
    return _WORDS[dtype], stored, stored.astype(np.float32)


def pack_stripes(trits: Array) -> NDArray[np.uint8]:
    """Trits (rows, columns) in {-1, 0, 1} -> uint8 (ceil(rows / 4), columns).

    Stripe i of ceil(rows / 4) rows goes to bits 2i and 2i + 1, as trit + 1. Rows that are not
    there have code 0. transformers packs so.
    """
    rows, columns = trits.shape
    height = -(-rows // 4)
    codes = np.zeros((4 * height, columns), np.uint8)
    codes[:rows] = trits + 1
    packed = np.zeros((height, columns), np.uint8)
    for stripe in range(4):
        packed |= codes[stripe * height : (stripe + 1) * height] << np.uint8(2 * stripe)
    return packed


def unpack_stripes(packed: Array, rows: int) -> NDArray[np.int8]:
    """The inverse of `pack_stripes`: uint8 (ceil(rows / 4), columns) -> trits (rows, columns)."""
    stripes = [(packed >> np.uint8(2 * stripe)) & 3 for stripe in range(4)]
    return np.concatenate(stripes)[:rows].astype(np.int8) - 1


def ternarize(weight: Array) -> tuple[NDArray[np.int8], float]:
    """Absmean: masters (rows, columns) -> trits (rows, columns) and the mean of |weight|."""
    mean = max(float(np.abs(weight).mean(dtype=np.float64)), 1e-5)
    scaled = weight.astype(np.float32) * np.float32(1.0 / mean)
    return np.clip(np.rint(scaled), -1, 1).astype(np.int8), mean


def safetensors_bytes(
    tensors: Mapping[str, tuple[str, Array]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file of name -> (dtype word, elements), in that order."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    chunks, end = [], 0
    for name, (dtype, elements) in tensors.items():
        chunk = np.ascontiguousarray(elements).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(elements.shape),
            "data_offsets": [end, end + len(chunk)],
        }
        chunks.append(chunk)
        end += len(chunk)
    return with_header(json.dumps(header, separators=(",", ":")), b"".join(chunks))


def with_header(header: str | bytes, data: bytes = b"") -> bytes:
    """A safetensors file with any header text, padded with spaces to a multiple of 8 bytes."""
    text = header.encode() if isinstance(header, str) else header
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


FAMILIES: dict[str, dict[str, Any]] = {
    "bitnet": {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet"},
    "reproduction": {
        "architectures": ["BitnetForCausalLM"], "model_type": "llama", "weight_bits": 1,
        "input_bits": 8,
    },
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
}  # fmt: skip
SUB_NORMS = {
    "bitnet": ("attn_sub_norm", "ffn_sub_norm"),
    "reproduction": ("inner_attn_ln", "ffn_layernorm"),
}


def bitnet_config(
    *,
    family: str = "bitnet",
    form: str = "packed",
    vocab: int = 96,
    hidden: int = 64,
    intermediate: int = 96,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int | None = None,
    context: int = 256,
    activation: str | None = None,
    rms_norm_eps: float = 1e-5,
    rope_theta: float = 10000.0,
    rope: Mapping[str, Any] | None = None,
    tied: bool = True,
    linear_class: str = "autobitlinear",
    use_rms_norm: bool = False,
    kept: Sequence[str] | None = None,
    attention_bias: bool = False,
    mlp_bias: bool = False,
    dtype: str = "bfloat16",
) -> dict[str, Any]:
    """The config.json of such a folder. `rope` is `rope_parameters`, `kept` what is not converted.

    Masters of the "reproduction" family have no quantization_config.
    """
    config: dict[str, Any] = FAMILIES[family] | {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "hidden_act": activation or ("relu2" if family == "bitnet" else "silu"),
        "rms_norm_eps": rms_norm_eps,
        "rope_theta": rope_theta,
        "attention_bias": attention_bias,
        "mlp_bias": mlp_bias,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": dtype,
    }
    if head_dim is not None:
        config["head_dim"] = head_dim
    if rope is not None:
        config["rope_parameters"] = dict(rope)
    if family != "reproduction" or form != "masters":
        config["quantization_config"] = {
            "quant_method": "bitnet",
            "linear_class": linear_class,
            "quantization_mode": "online" if form == "masters" else "offline",
        }
        if use_rms_norm:
            config["quantization_config"]["use_rms_norm"] = True
        if kept is not None:
            config["quantization_config"]["modules_to_not_convert"] = list(kept)
    return config


def random_masters(config: Mapping[str, Any], seed: int) -> dict[str, NDArray[np.float32]]:
    """Float32 tensors under the family's names, of the shapes that `config` asks for."""
    random = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    width = config["num_attention_heads"] * head_dim
    kv_width = config["num_key_value_heads"] * head_dim
    quantization = config.get("quantization_config", {})
    tensors: dict[str, NDArray[np.float32]] = {}

    def matrix(rows: int, columns: int, deviation: float) -> NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * deviation).astype(np.float32)

    def norm(name: str, size: int) -> None:
        tensors[name + ".weight"] = (1 + 0.2 * random.standard_normal(size)).astype(np.float32)

    def linear(name: str, rows: int, columns: int, bias: bool) -> None:
        tensors[name + ".weight"] = matrix(rows, columns, 0.5)
        if bias:
            tensors[name + ".bias"] = random.standard_normal(rows).astype(np.float32)
        is_ternary = not is_kept(name, quantization.get("modules_to_not_convert"))
        if quantization.get("use_rms_norm") and is_ternary:
            norm(name + ".rms_norm", columns)

    names = {tuple(values["architectures"]): family for family, values in FAMILIES.items()}
    sub_norms = SUB_NORMS.get(names[tuple(config["architectures"])])
    tensors["model.embed_tokens.weight"] = matrix(config["vocab_size"], hidden, 1.0)
    for layer in range(config["num_hidden_layers"]):
        attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        norm(f"model.layers.{layer}.input_layernorm", hidden)
        norm(f"model.layers.{layer}.post_attention_layernorm", hidden)
        bias = config["attention_bias"]
        linear(attention + "q_proj", width, hidden, bias)
        linear(attention + "k_proj", kv_width, hidden, bias)
        linear(attention + "v_proj", kv_width, hidden, bias)
        linear(attention + "o_proj", hidden, width, bias)
        bias = config["mlp_bias"]
        linear(mlp + "gate_proj", inner, hidden, bias)
        linear(mlp + "up_proj", inner, hidden, bias)
        linear(mlp + "down_proj", hidden, inner, bias)
        if sub_norms is not None:
            norm(attention + sub_norms[0], width)
            norm(mlp + sub_norms[1], inner)
    norm("model.norm", hidden)
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(config["vocab_size"], hidden, 1.0)
    return tensors


def write_bitnet_folder(
    path: Path, *, seed: int, form: str = "packed", shards: int = 1, **options: Any
) -> dict[str, Array]:
    """Write config.json, generation_config.json and weights; return the tensors that a reader sees.

    `options` are those of `bitnet_config`. The same seed and sizes give the same masters in both
    forms: "masters" stores them in `dtype`, "packed" their trits, with one scale a matrix
    (their mean magnitude, or its reciprocal where `linear_class` is "bitlinear").

    Returned: float32 arrays rounded as they are stored. Of a packed projection, `<name>.weight`
    is int8 (rows, columns) in {-1, 0, 1} and `<name>.weight_scale` float32 (1,).
    """
    config = bitnet_config(form=form, **options)
    dtype, quantization = config["torch_dtype"], config.get("quantization_config", {})
    kept = quantization.get("modules_to_not_convert")
    stored: dict[str, tuple[str, Array]] = {}
    seen: dict[str, Array] = {}
    for name, master in random_masters(config, seed).items():
        linear = name.removesuffix(".weight")
        if form == "packed" and linear.endswith("_proj") and not is_kept(linear, kept):
            trits, mean = ternarize(encode(master, dtype)[2])
            stored[name], seen[name] = ("U8", pack_stripes(trits)), trits
            name += "_scale"
            divides = quantization["linear_class"] == "bitlinear"
            master = np.array([1 / mean if divides else mean], np.float32)
        word, elements, seen[name] = encode(master, dtype)
        stored[name] = (word, elements)
    path.mkdir(parents=True, exist_ok=True)
    write_weights(path, stored, shards=shards)
    (path / "config.json").write_text(json.dumps(config, indent=2))
    (path / "generation_config.json").write_text(
        json.dumps({"bos_token_id": 0, "eos_token_id": [1, 2], "do_sample": False})
    )
    return seen


def write_weights(path: Path, tensors: dict[str, tuple[str, Array]], *, shards: int = 1) -> None:
    """model.safetensors, or `shards` files with their index."""
    if shards == 1:
        (path / "model.safetensors").write_bytes(
            safetensors_bytes(tensors, metadata={"format": "pt"})
        )
        return
    names = list(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        (path / file).write_bytes(safetensors_bytes(part, metadata={"format": "pt"}))
        weight_map |= dict.fromkeys(part, file)
    total = sum(elements.nbytes for _, elements in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def edit_json(path: Path, **members: Any) -> None:
    """Set members of a JSON file; the value `...` removes one."""
    values = json.loads(path.read_text()) | members
    path.write_text(json.dumps({name: v for name, v in values.items() if v is not ...}))
