"""Writes what a module of this Python is compiled and linked with for macOS on another system.

Usage: make_python_stubs.py <folder>. Its include/ gets the headers, which are alike on all 64-bit
systems; Python.tbd lists what this Python exports of what they name, so that a module may use that
and nothing else.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
import sysconfig
from pathlib import Path

STUB = """\
--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '@rpath/Python'
exports:
  - targets: [ arm64-macos ]
    symbols: [ {} ]
...
"""


def main() -> None:
    include = Path(sys.argv[1]) / "include"
    shutil.copytree(sysconfig.get_path("include"), include, dirs_exist_ok=True)
    # Debian's pyconfig.h refuses other systems; what it includes on this one does not.
    config = Path(sysconfig.get_config_h_filename())
    multiarch = str(sysconfig.get_config_var("MULTIARCH"))
    included = config.parents[1] / multiarch / config.parent.name / config.name
    shutil.copyfile(included if included.exists() else config, include / config.name)

    names = {
        name
        for header in include.rglob("*.h")
        for name in re.findall(r"\b_?Py\w+", header.read_text(encoding="utf-8"))
    }
    exported = sorted(name for name in names if hasattr(ctypes.pythonapi, name))
    stub = STUB.format(", ".join(f"_{name}" for name in exported))
    (Path(sys.argv[1]) / "Python.tbd").write_text(stub, encoding="utf-8")


if __name__ == "__main__":
    main()
