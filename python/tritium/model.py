"""What `tritium.load` and `tritium.build_model` return, and from where one can load."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from . import _core
from .errors import ModelLoadError
from .loaders.generation import read_generation_defaults
from .loaders.hub import download, parse_hub_id
from .loaders.huggingface import load_folder
from .loaders.json_text import shown

DEMO = "demo"


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model: immutable, shared by any number of engines.

    `build_model` gives one that takes samples of floats, `load` a LanguageModel.
    """

    core: _core.Model
    name: str

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample, without the batch; () for a language model: one token id."""
        return self.core.input_shape

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample's result; (vocab_size,) for a language model: its logits."""
        return self.core.output_shape

    @property
    def parameter_count(self) -> int:
        return self.core.parameter_count

    def __repr__(self) -> str:
        return (
            f"<tritium.Model {self.name!r}: {self.input_shape} -> {self.output_shape}, "
            f"{self.parameter_count:,} parameters, {self.core.weight_form}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class LanguageModel(Model):
    """A language model that was loaded. Its name is the folder's, the hub id, or "demo"."""

    folder: Path
    tokenizer_file: Path | None  # tokenizer.json; None: the model works on token ids only
    generation_config: dict[str, Any]  # generation_config.json, empty without one
    eos_token_ids: tuple[int, ...]  # any of them ends a text
    bos_token_id: int | None

    @property
    def config(self) -> _core.ModelConfig:
        """Sizes and rules of the architecture."""
        return self.core.config

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<tritium.LanguageModel {self.name!r}: {config.architecture}, "
            f"{config.layers} layers of {config.hidden_size}, "
            f"{self.parameter_count:,} parameters, {self.core.weight_form}>"
        )


def load(source: str | os.PathLike[str] | None = None, *, mmap: bool = True) -> LanguageModel:
    """Load a language model. Its files are mapped; no weight is copied or converted here.

    `source` is the path of a Hugging Face folder or of a .safetensors file in one, a hub id
    ("org/name" or "org/name@revision"), or None or "demo" for the model that comes with the
    package. A path that exists wins over a hub id.

    With mmap=False each file is read into memory: slower, but safe against a file that another
    program shortens while the model is in use, which ends the process when the file is mapped.

    Raises ModelLoadError that says what is wrong, where, and what to do.
    """
    if source is None or source == DEMO:
        return _load_folder(_demo_folder(), DEMO, mmap=mmap)
    text = os.fspath(source)
    if not isinstance(text, str):
        raise TypeError(f"source must be a path, a hub id or None, got {type(text).__name__}")
    path = Path(os.path.expanduser(text))
    if text and _exists(path):
        return _load_path(path, mmap=mmap)
    hub_id = parse_hub_id(text) if isinstance(source, str) and not _is_file_name(text) else None
    if hub_id is None:
        raise ModelLoadError(
            f"[load] {shown(text)} does not exist (working directory {Path.cwd()}); expected a "
            'folder, a .safetensors file, a hub id such as "org/name", or "demo"'
        )
    try:
        folder = download(hub_id)
    except ModelLoadError as error:
        raise ModelLoadError(
            f"{error} (taken as a hub id: {text!r} is not a path in {Path.cwd()})"
        ) from error
    return _load_folder(folder, str(hub_id), mmap=mmap)


def _load_path(path: Path, *, mmap: bool) -> LanguageModel:
    if path.is_dir():
        return _load_folder(path, path.resolve().name, mmap=mmap)
    if path.suffix == ".safetensors":
        return _load_folder(path.parent, path.stem, weights=path, mmap=mmap)
    raise ModelLoadError(
        f"[load] {path} is neither a folder nor a .safetensors file; expected the folder with "
        "config.json and the weights"
    )


def _load_folder(
    folder: Path, name: str, *, mmap: bool, weights: Path | None = None
) -> LanguageModel:
    core, config = load_folder(folder, weights=weights, mmap=mmap)
    defaults = read_generation_defaults(folder, config.values, config.model.vocab_size)
    tokenizer = folder / "tokenizer.json"
    return LanguageModel(
        core=core,
        name=name,
        folder=folder,
        tokenizer_file=tokenizer if tokenizer.is_file() else None,
        generation_config=defaults.values,
        eos_token_ids=defaults.eos_token_ids,
        bos_token_id=defaults.bos_token_id,
    )


def _demo_folder() -> Path:
    folder = Path(str(resources.files(__package__) / "demo_model"))
    if not folder.is_dir():
        raise ModelLoadError(f"[load] the bundled model is not installed, expected it at {folder}")
    return folder


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False


def _is_file_name(text: str) -> bool:
    return text.endswith((".safetensors", ".gguf", ".bin", ".json"))
