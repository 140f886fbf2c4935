"""How are models loaded by choices made once, and what do their files say of them?"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from . import _core
from .errors import MemoryLimitError
from .loaders.weight_files import open_file
from .model import MODEL_FILE_SUFFIX, Model, load_mapped


class ModelLoader:
    """Loads what `tritium.load` loads, by choices made once.

    cache_dir, max_cache_size: where a CPU engine keeps the packed weights of these models, and at
    most how many bytes; None leaves both to the engine's own options. mmap_threshold: bytes; larger
    files are mapped, others read into memory, with the same result.

    MemoryLimitError for a number of bytes that is negative.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str] | None = None,
        max_cache_size: int = 16_000_000_000,
        *,
        mmap_threshold: int = 1 << 20,
    ) -> None:
        for name, value in (("max_cache_size", max_cache_size), ("mmap_threshold", mmap_threshold)):
            if value < 0:
                raise MemoryLimitError(f"[loader] {name} must be at least 0 bytes, got {value}")
        self._cache_dir = None if cache_dir is None else os.path.expanduser(os.fspath(cache_dir))
        self._max_cache_size = max_cache_size
        self._mmap_threshold = mmap_threshold

    def metadata(self, source: str | os.PathLike[str] | None) -> _core.ModelMetadata:
        """What the model's file or folder says of it, checked; no weight is read.

        ModelLoadError as from `load`.
        """
        path = None if source is None else Path(os.path.expanduser(source))
        if path is not None and path.suffix == MODEL_FILE_SUFFIX and path.is_file():
            return _core.read_model_metadata(open_file(path, map_above=self._mmap_threshold))
        model = load_mapped(source, map_above=0)
        return model.core.metadata(model.name)

    def load(self, source: str | os.PathLike[str] | None) -> Model:
        """The model; `source` and errors as in `tritium.load`."""
        model = load_mapped(source, map_above=self._mmap_threshold)
        if self._cache_dir is None:
            return model
        core = model.core.with_cache(self._cache_dir, self._max_cache_size)
        return dataclasses.replace(model, core=core)
