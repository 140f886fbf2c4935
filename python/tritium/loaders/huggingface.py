"""How a Hugging Face folder of the BitNet family becomes a `_core.Model`.

Tensor names stay those of transformers' BitNetForCausalLM. The two published forms:
masters (`quantization_mode` "online") hold each projection as floats (rows, columns); packed
ones hold it as uint8 codes (ceil(rows / 4), columns) with one float, `<projection>.weight_scale`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._core import Model, ModelConfig, TensorSource
from ..errors import ModelLoadError
from .config import CheckpointConfig, read_config
from .json_text import shown
from .weight_files import (
    INDEX_FILE,
    SINGLE_FILE,
    StoredTensor,
    check_index,
    find_weights,
    read_weights,
)

CONFIG_FILE = "config.json"

_FLOATS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"
# What older checkpoints carry beside the weights and every reader ignores.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached")
_NAMED = 3


@dataclass(frozen=True)
class ExpectedTensor:
    """A tensor that the architecture needs."""

    name: str
    shape: tuple[int, ...]  # logical
    ternary: bool = False


def load_folder(
    folder: Path, *, weights: Path | None = None, mmap: bool = True
) -> tuple[Model, CheckpointConfig]:
    """The model in `folder`, with all weights from the file `weights` if one is given.

    Files are mapped and no weight is copied; mmap=False reads each file into memory instead.

    Raises ModelLoadError that names the file and the field or tensor, with what was found and
    what was expected.
    """
    config = read_config(folder / CONFIG_FILE)
    paths = find_weights(folder) if weights is None else [weights]
    tensors = read_weights(paths, mmap=mmap)
    if weights is None and paths[0].name != SINGLE_FILE:
        check_index(folder / INDEX_FILE, tensors)
    source = tensor_source(config, tensors, ", ".join(path.name for path in paths[:_NAMED]))
    try:
        return Model(config.model, source), config
    except ModelLoadError as error:
        raise ModelLoadError(f"{error} (in {folder})") from error


def expected_tensors(config: ModelConfig) -> Iterator[ExpectedTensor]:
    """The tensors of a BitNet model, scales left out, in the order of the forward pass."""
    hidden, inner = config.hidden_size, config.intermediate_size
    width, kv_width = config.heads * config.head_dim, config.kv_heads * config.head_dim
    yield ExpectedTensor(_EMBEDDING, (config.vocab_size, hidden))
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        yield ExpectedTensor(prefix + "input_layernorm.weight", (hidden,))
        yield ExpectedTensor(prefix + "self_attn.q_proj.weight", (width, hidden), True)
        yield ExpectedTensor(prefix + "self_attn.k_proj.weight", (kv_width, hidden), True)
        yield ExpectedTensor(prefix + "self_attn.v_proj.weight", (kv_width, hidden), True)
        yield ExpectedTensor(prefix + "self_attn.attn_sub_norm.weight", (width,))
        yield ExpectedTensor(prefix + "self_attn.o_proj.weight", (hidden, width), True)
        yield ExpectedTensor(prefix + "post_attention_layernorm.weight", (hidden,))
        yield ExpectedTensor(prefix + "mlp.gate_proj.weight", (inner, hidden), True)
        yield ExpectedTensor(prefix + "mlp.up_proj.weight", (inner, hidden), True)
        yield ExpectedTensor(prefix + "mlp.ffn_sub_norm.weight", (inner,))
        yield ExpectedTensor(prefix + "mlp.down_proj.weight", (hidden, inner), True)
    yield ExpectedTensor("model.norm.weight", (hidden,))
    if not config.tied_head:
        yield ExpectedTensor(_HEAD, (config.vocab_size, hidden))


def tensor_source(
    config: CheckpointConfig, tensors: dict[str, StoredTensor], where: str
) -> TensorSource:
    """The tensors of `config`'s model as neutral spans; `where` names their files in messages.

    Raises ModelLoadError for missing tensors, tensors that the model has no place for (they would
    change what it computes), shapes that differ from the configuration, and dtypes that
    contradict its quantisation mode.
    """
    expected = list(expected_tensors(config.model))
    wanted = {tensor.name for tensor in expected}
    if config.packed:
        wanted.update(_scale_name(tensor) for tensor in expected if tensor.ternary)
    missing = sorted(wanted - tensors.keys())
    if missing:
        raise ModelLoadError(
            f"[tensors] {where}: {len(missing)} of {len(wanted)} tensors that {config.path} asks "
            f"for are missing: {_some(missing)}"
        )
    unknown = [name for name in tensors if name not in wanted and not _ignored(name, config)]
    if unknown:
        raise ModelLoadError(
            f"[tensors] {where}: {len(unknown)} of {len(tensors)} tensors have no place in "
            f"the model that {config.path} describes: {_some(unknown)}"
        )
    source = TensorSource()
    for tensor in expected:
        stored = tensors[tensor.name]
        if tensor.ternary and config.packed:
            _add_packed(source, tensor, stored, config)
            _add_scale(source, tensors[_scale_name(tensor)])
        else:
            _add_master(source, tensor, stored, config)
    return source


def _scale_name(tensor: ExpectedTensor) -> str:
    return tensor.name + "_scale"


def _ignored(name: str, config: CheckpointConfig) -> bool:
    return name.endswith(_IGNORED_SUFFIXES) or (name == _HEAD and config.model.tied_head)


def _some(names: list[str]) -> str:
    text = ", ".join(shown(name) for name in names[:_NAMED])
    return text if len(names) <= _NAMED else f"{text} and {len(names) - _NAMED} more"


def _wrong(stored: StoredTensor, what: str) -> ModelLoadError:
    return ModelLoadError(f"[tensors] {stored.file.path}: {shown(stored.entry.name)}: {what}")


def _add_packed(
    source: TensorSource, tensor: ExpectedTensor, stored: StoredTensor, config: CheckpointConfig
) -> None:
    entry = stored.entry
    rows, columns = tensor.shape
    packed_shape = ((rows + 3) // 4, columns)
    if entry.dtype != "U8":
        raise _wrong(
            stored,
            f"dtype {entry.dtype} stored, U8 expected: {config.path} says that weights are packed "
            "(quantization_mode offline or linear_class bitlinear). Float masters need "
            "linear_class autobitlinear with quantization_mode online",
        )
    if entry.shape != packed_shape:
        raise _wrong(
            stored,
            f"shape {shown(list(entry.shape))} stored, {list(packed_shape)} expected: 4 rows a "
            f"byte of the matrix {list(tensor.shape)} that {config.path} asks for",
        )
    source.add(
        tensor.name,
        dtype="uint8",
        encoding="ternary_stripes",
        shape=tensor.shape,
        file=stored.file,
        offset=entry.offset,
        nbytes=entry.nbytes,
    )


def _add_master(
    source: TensorSource, tensor: ExpectedTensor, stored: StoredTensor, config: CheckpointConfig
) -> None:
    entry = stored.entry
    if tensor.ternary and entry.dtype == "U8":
        raise _wrong(
            stored,
            f"dtype U8 stored, a float expected: {config.path} says quantization_mode online "
            "(float masters). Packed weights need quantization_mode offline",
        )
    if entry.shape != tensor.shape:
        if tensor.name == _EMBEDDING and len(entry.shape) == 2:
            raise _wrong(
                stored,
                f"{entry.shape[0]} rows of {entry.shape[1]} stored, {tensor.shape[0]} rows of "
                f"{tensor.shape[1]} expected by vocab_size and hidden_size in {config.path}",
            )
        raise _wrong(
            stored,
            f"shape {shown(list(entry.shape))} stored, {list(tensor.shape)} expected by "
            f"{config.path}",
        )
    _add_plain(source, stored, tensor.shape)


def _add_scale(source: TensorSource, stored: StoredTensor) -> None:
    shape = stored.entry.shape
    if shape not in ((), (1,)):
        raise _wrong(stored, f"shape {shown(list(shape))} stored, [1] expected: one scale a matrix")
    _add_plain(source, stored, (1,))


def _add_plain(source: TensorSource, stored: StoredTensor, shape: tuple[int, ...]) -> None:
    entry = stored.entry
    if entry.dtype not in _FLOATS:
        raise _wrong(
            stored, f"dtype {shown(entry.dtype)} stored, one of {', '.join(_FLOATS)} expected"
        )
    source.add(
        entry.name,
        dtype=_FLOATS[entry.dtype],
        encoding="plain",
        shape=shape,
        file=stored.file,
        offset=entry.offset,
        nbytes=entry.nbytes,
    )
