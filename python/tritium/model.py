"""What `tritium.load` and `tritium.build_model` return, and from where one can load."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, overload

from . import _core
from .errors import ModelLoadError
from .loaders.generation import GENERATION_FILE, GenerationDefaults, read_generation_defaults
from .loaders.hub import download, parse_hub_id
from .loaders.huggingface import CONFIG_FILE, load_folder
from .loaders.inner_files import File, Folder, InnerFolder
from .loaders.json_text import read_object, shown
from .loaders.weight_files import open_file

DEMO = "demo"
MODEL_FILE_SUFFIX = ".gguf"

# What a language model's own file carries of the folder that it came from.
_CARRIED_FILES = (
    CONFIG_FILE,
    GENERATION_FILE,
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


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

    def save(self, path: str | os.PathLike[str], *, version: str = "") -> None:
        """Write the model into one file (docs/model_files.md), by custom with the suffix .gguf.

        `load` and the C++ library read it. version: what you call this state of the model.

        ModelLoadError if the file cannot be written; a file that was there stays as it was then.
        """
        _core.save_model(self.core, os.fspath(path), self.name, version, self._files_to_save())

    def _files_to_save(self) -> dict[str, bytes]:
        return {}

    def __repr__(self) -> str:
        return (
            f"<tritium.Model {self.name!r}: {self.input_shape} -> {self.output_shape}, "
            f"{self.parameter_count:,} parameters, {self.core.weight_form}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class LanguageModel(Model):
    """A language model that was loaded. Its name is the folder's, the hub id, "demo", or what the
    file says.
    """

    folder: Path  # or the one file that holds all of it
    files: Folder  # what lies beside the weights: in the folder, or in the file
    tokenizer_file: File | None  # tokenizer.json; None: the model works on token ids only
    generation_config: dict[str, Any]  # generation_config.json, empty without one
    eos_token_ids: tuple[int, ...]  # any of them ends a text
    bos_token_id: int | None

    @property
    def config(self) -> _core.ModelConfig:
        """Sizes and rules of the architecture."""
        return self.core.config

    def _files_to_save(self) -> dict[str, bytes]:
        found = [self.files / name for name in _CARRIED_FILES]
        try:
            return {file.name: file.read_bytes() for file in found if file.is_file()}
        except OSError as error:
            raise ModelLoadError(
                f"[save] a file beside the weights cannot be read: {error}"
            ) from error

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<tritium.LanguageModel {self.name!r}: {config.architecture}, "
            f"{config.layers} layers of {config.hidden_size}, "
            f"{self.parameter_count:,} parameters, {self.core.weight_form}>"
        )


@overload
def load(source: None = None, *, mmap: bool = ...) -> LanguageModel: ...
@overload
def load(source: str | os.PathLike[str] | None, *, mmap: bool = ...) -> Model: ...
def load(source: str | os.PathLike[str] | None = None, *, mmap: bool = True) -> Model:
    """Load a model. Its files are mapped; no weight is copied or converted here.

    `source` is the path of a file that `Model.save` wrote, which gives what was saved, a Model or
    a LanguageModel. Or it is that of a language model: of a Hugging Face folder or a .safetensors
    file in one, a hub id ("org/name" or "org/name@revision"), or None or "demo" for the model that
    comes with the package. A path that exists wins over a hub id.

    With mmap=False each file is read into memory: slower, but safe against a file that another
    program shortens while the model is in use, which ends the process when the file is mapped.

    Raises ModelLoadError that says what is wrong, where, and what to do.
    """
    return load_mapped(source, map_above=0 if mmap else None)


def load_mapped(source: str | os.PathLike[str] | None, *, map_above: int | None) -> Model:
    """`load`, where files of more than `map_above` bytes are mapped and others read; None maps
    none.
    """
    if source is None or source == DEMO:
        return _load_folder(_demo_folder(), DEMO, map_above)
    text = os.fspath(source)
    if not isinstance(text, str):
        raise TypeError(f"source must be a path, a hub id or None, got {type(text).__name__}")
    path = Path(os.path.expanduser(text))
    if text and _exists(path):
        return _load_path(path, map_above)
    hub_id = parse_hub_id(text) if isinstance(source, str) and not _is_file_name(text) else None
    if hub_id is None:
        raise ModelLoadError(
            f"[load] {shown(text)} does not exist (working directory {Path.cwd()}); expected a "
            'folder, a .gguf or .safetensors file, a hub id such as "org/name", or "demo"'
        )
    try:
        folder = download(hub_id)
    except ModelLoadError as error:
        raise ModelLoadError(
            f"{error} (taken as a hub id: {text!r} is not a path in {Path.cwd()})"
        ) from error
    return _load_folder(folder, str(hub_id), map_above)


def as_language_model(model: Model) -> LanguageModel:
    """`model` itself; ModelLoadError if it is none that takes token ids."""
    if not isinstance(model, LanguageModel):
        raise ModelLoadError(
            f"[llm] {model.name!r} is a network that takes samples of shape {model.input_shape}, "
            "a language model is needed; InferenceEngine.infer runs networks"
        )
    return model


def _load_path(path: Path, map_above: int | None) -> Model:
    if path.is_dir():
        return _load_folder(path, path.resolve().name, map_above)
    if path.suffix == ".safetensors":
        return _load_folder(path.parent, path.stem, map_above, weights=path)
    if path.suffix == MODEL_FILE_SUFFIX:
        return _load_file(path, map_above)
    raise ModelLoadError(
        f"[load] {path} is neither a folder nor a .gguf or .safetensors file; expected a file that "
        "Model.save wrote, or the folder with config.json and the weights"
    )


def _load_file(path: Path, map_above: int | None) -> Model:
    file = _core.open_model_file(open_file(path, map_above=map_above))
    name = file.metadata.name
    if not file.model.is_language_model:
        return Model(file.model, name)
    files = InnerFolder(path, file.files)
    config = files / CONFIG_FILE
    values = read_object(config, "config") if config.is_file() else {}
    defaults = read_generation_defaults(files, values, file.model.config.vocab_size)
    return _language_model(file.model, name, path, files, defaults)


def _load_folder(
    folder: Path, name: str, map_above: int | None, *, weights: Path | None = None
) -> LanguageModel:
    core, config = load_folder(folder, weights=weights, map_above=map_above)
    defaults = read_generation_defaults(folder, config.values, config.model.vocab_size)
    return _language_model(core, name, folder, folder, defaults)


def _language_model(
    core: _core.Model, name: str, folder: Path, files: Folder, defaults: GenerationDefaults
) -> LanguageModel:
    tokenizer = files / "tokenizer.json"
    return LanguageModel(
        core=core,
        name=name,
        folder=folder,
        files=files,
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
