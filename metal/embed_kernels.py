"""Writes the .metal files of a folder as C++ strings, each with what it includes.

Usage: embed_kernels.py <folder>, to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

from inline_includes import lines_of


def main() -> None:
    folder = Path(sys.argv[1])
    print('#include "metal/metal_sources.h"\n\nnamespace tritium {\n')
    print("const MetalSource kMetalSources[] = {")
    for path in sorted(folder.glob("*.metal")):
        text = "\n".join(lines_of(path, folder, set())) + "\n"
        print(f'{{"{path.stem}", R"metal({text})metal"}},')
    print("};\nconst size_t kMetalSourceCount = sizeof kMetalSources / sizeof *kMetalSources;\n")
    print("}  // namespace tritium")


if __name__ == "__main__":
    main()
