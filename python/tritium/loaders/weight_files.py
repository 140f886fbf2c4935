"""Which safetensors files hold the weights of a folder, and where each tensor lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._core import MappedFile
from ..errors import ModelLoadError
from .json_text import read_object, shown
from .safetensors import TensorEntry, read_entries

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
_PICKLED_ADVICE = (
    "Tritium reads safetensors only, because a pickle can run code. Load it with transformers and "
    "call model.save_pretrained(folder, safe_serialization=True), or convert it with the "
    "safetensors library"
)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint: its entry and the file that holds it."""

    entry: TensorEntry
    file: MappedFile

    def content(self) -> memoryview:
        """Its bytes."""
        return memoryview(self.file)[self.entry.offset : self.entry.offset + self.entry.nbytes]


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of `folder`: `model.safetensors`, else the shards of the index.

    Raises ModelLoadError when there are none, naming the way out where only pickled weights lie
    there, and when the index is not one or a shard is missing.
    """
    if (folder / SINGLE_FILE).exists():
        return [folder / SINGLE_FILE]
    index = folder / INDEX_FILE
    if index.exists():
        paths = [folder / name for name in sorted(set(read_weight_map(index).values()))]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise ModelLoadError(
                f"[index] {index}: {len(missing)} of {len(paths)} shards are missing "
                f"({shown(missing)}); download or copy the model again"
            )
        return paths
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelLoadError(f"[folder] {folder}: cannot be read ({error.strerror})") from error
    raise no_weights(str(folder), names)


def no_weights(where: str, names: list[str]) -> ModelLoadError:
    """The error for a place that holds the files `names` but no safetensors weights."""
    pickled = [name for name in names if name.endswith(_PICKLED_SUFFIXES)]
    if pickled:
        return ModelLoadError(
            f"[folder] {where}: only pickled weights ({shown(pickled)}). {_PICKLED_ADVICE}"
        )
    others = [name for name in names if name.endswith(".safetensors")]
    hint = f"; pass the path of the file to use one of {shown(others)}" if others else ""
    return ModelLoadError(f"[folder] {where}: neither {SINGLE_FILE} nor {INDEX_FILE} found{hint}")


def read_weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> file name beside the index.

    Raises ModelLoadError if the index is not an object with a `weight_map` of names to plain
    names of safetensors files: a path that leaves the folder is refused.
    """
    weight_map = read_object(index, "index", strict=True).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelLoadError(
            f"[index] {index}: weight_map is {shown(weight_map)}, expected tensor names with files"
        )
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            raise ModelLoadError(
                f"[index] {index}: weight_map sends {shown(name)} to {shown(shard)}, expected the "
                "name of a .safetensors file in the same folder"
            )
    return weight_map


def _is_plain_name(name: str) -> bool:
    return (
        name.endswith(".safetensors")
        and not any(character in name for character in '/\\:\0"')
        and not name.startswith(".")
        and name.isprintable()
    )


def read_weights(paths: list[Path], *, map_above: int | None = 0) -> dict[str, StoredTensor]:
    """The tensors of all `paths` (files of one checkpoint), each mapped or read once (`open_file`).

    Raises ModelLoadError for a file that cannot be opened or is not safetensors, a tensor that
    two files hold, and a tensor that the index beside them places where it is not.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        file = open_file(path, map_above=map_above)
        for name, entry in read_entries(memoryview(file), str(path)).items():
            if name in tensors:
                other = tensors[name].file.path
                raise ModelLoadError(f"[index] {path}: tensor {shown(name)} is also in {other}")
            tensors[name] = StoredTensor(entry, file)
    return tensors


def check_index(index: Path, tensors: dict[str, StoredTensor]) -> None:
    """Raises ModelLoadError unless each tensor lies in the shard where `index` places it."""
    for name, shard in read_weight_map(index).items():
        if name not in tensors or Path(tensors[name].file.path).name != shard:
            raise ModelLoadError(
                f"[index] {index}: tensor {shown(name)} is not in {shard}, where weight_map places "
                "it; the shards and the index belong to different models"
            )


def open_file(path: Path, *, map_above: int | None = 0) -> MappedFile:
    """The bytes of a file: mapped if they are more than `map_above`, else read; None maps none.

    ModelLoadError when the path is missing or not readable.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ModelLoadError(f"[file] {text!r}: the path is not Unicode text") from None
    return MappedFile.open(text, map_above)
