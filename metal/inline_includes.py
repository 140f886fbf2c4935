"""Writes a .metal file with the files that it includes in their place, each once.

Usage: inline_includes.py <file.metal> <folder of the included files>, to standard output. Metal
compiles a source given as text with no folder to look for includes in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'#include "([^"]+)"\s*')


def lines_of(path: Path, folder: Path, included: set[str]) -> list[str]:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = INCLUDE.fullmatch(line)
        if match:
            if match[1] not in included:
                included.add(match[1])
                lines += lines_of(folder / match[1], folder, included)
        elif line != "#pragma once":
            lines.append(line)
    return lines


def main() -> None:
    print("\n".join(lines_of(Path(sys.argv[1]), Path(sys.argv[2]), set())))


if __name__ == "__main__":
    main()
