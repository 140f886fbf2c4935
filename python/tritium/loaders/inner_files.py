"""How are the files inside a model file read by what reads files of a folder?"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias


class InnerFolder:
    """The files that a model file carries, by name: as much of a `Path` as is asked of folders."""

    def __init__(self, path: Path, contents: Mapping[str, bytes]) -> None:
        self._path = path
        self.contents = contents

    def __truediv__(self, name: str) -> InnerFile:
        return InnerFile(self, name)

    def __str__(self) -> str:
        return str(self._path)


class InnerFile:
    """One of them: as much of a `Path` as is asked of files. It may be missing, too."""

    def __init__(self, parent: InnerFolder, name: str) -> None:
        self.parent = parent
        self.name = name

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    def is_file(self) -> bool:
        return self.name in self.parent.contents

    exists = is_file

    def read_bytes(self) -> bytes:
        if not self.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return self.parent.contents[self.name]

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        return io.BytesIO(self.read_bytes())

    def stat(self) -> os.stat_result:
        return os.stat_result((stat.S_IFREG, 0, 0, 0, 0, 0, len(self.read_bytes()), 0, 0, 0))

    def __str__(self) -> str:
        return f"{self.parent}/{self.name}"


Folder: TypeAlias = "Path | InnerFolder"
File: TypeAlias = "Path | InnerFile"
