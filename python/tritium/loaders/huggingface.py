"""How a Hugging Face folder of a ternary model becomes a `_core.Model`.

The core's tensor names are those of transformers' BitNetForCausalLM and LlamaForCausalLM. Two
forms are published: masters (`quantization_mode` "online") hold each projection as floats
(rows, columns); packed ones hold it as uint8 codes (ceil(rows / 4), columns) with one float,
`<projection>.weight_scale`. Here tensors get their names and encodings, and what says nothing is
left out; the core knows which tensors a model has, and in which shapes.
"""

from __future__ import annotations

import re
from pathlib import Path

from .._core import Model, TensorSource
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
_PROJECTION = re.compile(
    r"(model\.layers\.[0-9]+\.(?:self_attn\.[qkvo]|mlp\.(?:gate|up|down))_proj)\.weight"
)
# What older checkpoints carry beside the weights and every reader ignores.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached")
_NAMED = 3
_MAX_NAME = 200


def load_folder(
    folder: Path, *, weights: Path | None = None, map_above: int | None = 0
) -> tuple[Model, CheckpointConfig]:
    """The model in `folder`, with all weights from the file `weights` if one is given.

    Files of more than `map_above` bytes are mapped, others read into memory; None maps none.

    Raises ModelLoadError that names the file and the field or tensor, with what was found and
    what was expected.
    """
    config = read_config(folder / CONFIG_FILE)
    paths = find_weights(folder) if weights is None else [weights]
    tensors = read_weights(paths, map_above=map_above)
    if weights is None and paths[0].name != SINGLE_FILE:
        check_index(folder / INDEX_FILE, tensors)
    source = tensor_source(config, tensors)
    try:
        return Model(config.model, source), config
    except ModelLoadError as error:
        if any(str(path) in str(error) for path in paths):
            raise
        files = ", ".join(str(path) for path in paths[:_NAMED])
        raise ModelLoadError(f"{error} (in {files}, described by {config.path})") from error


def tensor_source(config: CheckpointConfig, tensors: dict[str, StoredTensor]) -> TensorSource:
    """The tensors of a checkpoint as neutral spans, without those that say nothing.

    Raises ModelLoadError for dtypes that contradict the quantisation mode of `config`, and for a
    head that is tied by it and is another matrix than the embedding.
    """
    source = TensorSource()
    for name, stored in tensors.items():
        if len(name) > _MAX_NAME or not name.isprintable():
            raise _wrong(stored, f"a name of {len(name)} characters, not that of any weight")
        if name.endswith(_IGNORED_SUFFIXES):
            continue
        if name == _HEAD and config.model.tied_head:
            _check_tied_head(stored, tensors.get(_EMBEDDING), config)
            continue
        neutral = config.family.neutral_name(name)
        projection = _PROJECTION.fullmatch(neutral)
        if projection is None or projection[1] in config.kept:
            _add_plain(source, neutral, stored)
        elif config.packed:
            _add_packed(source, neutral, stored, config)
        else:
            _add_masters(source, neutral, stored, config)
    return source


def _wrong(stored: StoredTensor, what: str) -> ModelLoadError:
    return ModelLoadError(f"[tensors] {stored.file.path}: {shown(stored.entry.name)}: {what}")


def _check_tied_head(
    head: StoredTensor, embedding: StoredTensor | None, config: CheckpointConfig
) -> None:
    """A copy of the embedding says nothing; transformers does not tie what differs."""
    if embedding is not None and (
        (head.entry.dtype, head.entry.shape) != (embedding.entry.dtype, embedding.entry.shape)
        or head.content() != embedding.content()
    ):
        raise _wrong(
            head,
            f"{head.entry.dtype} {list(head.entry.shape)} differs from {_EMBEDDING}, "
            f"{embedding.entry.dtype} {list(embedding.entry.shape)}, though {config.path} says "
            "tie_word_embeddings true. With false the head is used",
        )


def _add_packed(
    source: TensorSource, name: str, stored: StoredTensor, config: CheckpointConfig
) -> None:
    if stored.entry.dtype != "U8":
        raise _wrong(
            stored,
            f"dtype {stored.entry.dtype} stored, U8 expected: {config.path} says that weights are "
            "packed (quantization_mode offline or linear_class bitlinear). Float masters need "
            "linear_class autobitlinear with quantization_mode online; a projection that stays in "
            "floats needs its name in modules_to_not_convert",
        )
    _add(source, name, stored, "uint8", "ternary_stripes")


def _add_masters(
    source: TensorSource, name: str, stored: StoredTensor, config: CheckpointConfig
) -> None:
    if stored.entry.dtype == "U8":
        raise _wrong(
            stored,
            f"dtype U8 stored, a float expected: {config.path} says "
            + (
                "quantization_mode online (float masters)"
                if config.values.get("quantization_config")
                else "nothing of packed weights"
            )
            + '. Packed weights need quant_method bitnet with quantization_mode "offline"',
        )
    _add(source, name, stored, _float_name(stored), "ternary_masters")


def _add_plain(source: TensorSource, name: str, stored: StoredTensor) -> None:
    is_scale = name.endswith(".weight_scale") and stored.entry.shape == ()
    _add(source, name, stored, _float_name(stored), "plain", (1,) if is_scale else None)


def _float_name(stored: StoredTensor) -> str:
    dtype = stored.entry.dtype
    if dtype not in _FLOATS:
        raise _wrong(stored, f"dtype {shown(dtype)} stored, one of {', '.join(_FLOATS)} expected")
    return _FLOATS[dtype]


def _add(
    source: TensorSource,
    name: str,
    stored: StoredTensor,
    dtype: str,
    encoding: str,
    shape: tuple[int, ...] | None = None,
) -> None:
    source.add(
        name,
        dtype=dtype,
        encoding=encoding,
        shape=stored.entry.shape if shape is None else shape,
        file=stored.file,
        offset=stored.entry.offset,
        nbytes=stored.entry.nbytes,
    )
