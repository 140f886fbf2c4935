"""The arrows between the folders of the C++ code, read from its #include lines.

base <- memory <- model <- plan <- backend <- engine <- python/src: a file includes its
own folder and those to the left. Kernels include only kernels, and only the backend and the
kernels' own binding include them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LAYERS = ["base", "memory", "model", "plan", "backend", "engine", "python"]
ALLOWED: dict[str, set[str]] = {layer: set(LAYERS[: i + 1]) for i, layer in enumerate(LAYERS)}
ALLOWED["backend"].add("kernels")
ALLOWED["kernels"] = {"kernels"}
ALLOWED["metal"] = {"base", "memory", "model", "plan", "backend", "metal"}

# One file that may use one more folder: all of it, or one header.
EXCEPTIONS = {
    ("python/src/bind_kernels.cpp", "kernels"): None,
    ("csrc/engine/devices.cpp", "metal"): "metal/metal_backend.h",
    ("python/src/mlx/eval_metal.cpp", "metal"): None,
}

# Kernel sources that are built without instruction-set flags. All others must not instantiate
# library templates: the linker may keep their copy for the whole program.
KERNEL_FILES_WITH_LIBRARY = {"cpu_features.cpp", "dispatch.cpp", "self_check.cpp"}
KERNEL_SYSTEM_HEADER = re.compile(
    r"<(c?std(def|int)(\.h)?|(float|limits|math|string)\.h|\w*intrin\.h|arm_\w+\.h)>"
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*("[^"\n]+"|<[^>\n]+>)', re.MULTILINE)
SOURCES = {".h", ".hpp", ".cpp", ".mm", ".inc"}


@dataclass(frozen=True)
class Include:
    file: Path  # from the repository's root
    name: str  # with its quotes or brackets


def includes_of(root: Path, file: Path) -> Iterator[Include]:
    for match in INCLUDE.finditer((root / file).read_text(encoding="utf-8")):
        yield Include(file, match[1])


def source_files(root: Path) -> list[Path]:
    return sorted(
        path.relative_to(root)
        for folder in ("csrc", "python/src", "metal")
        for path in (root / folder).rglob("*")
        if path.suffix in SOURCES
    )


def layer_of(file: Path) -> str:
    if file.parts[0] != "csrc":
        return file.parts[0]
    return file.parts[1] if len(file.parts) > 2 else "engine"  # csrc/tritium.h, the public header


def resolve(root: Path, include: Include) -> Path | None:
    """The included file, from the repository's root; None if there is none."""
    name = include.name.strip('"')
    for folder in (include.file.parent, Path("csrc"), Path(".")):
        path = (root / folder / name).resolve()
        if path.is_file():
            return path.relative_to(root.resolve())
    return None


def wrong_arrows(root: Path) -> list[str]:
    problems = []
    for file in source_files(root):
        layer = layer_of(file)
        if layer not in ALLOWED:
            problems.append(f"{file}: no arrow is drawn for the folder '{layer}'")
            continue
        for include in includes_of(root, file):
            if include.name.startswith("<"):
                continue
            target = resolve(root, include)
            if target is None:
                problems.append(f"{file}: {include.name} does not exist")
                continue
            other = layer_of(target)
            if other in ALLOWED[layer]:
                continue
            key = (file.as_posix(), other)
            if key in EXCEPTIONS and EXCEPTIONS[key] in (None, target.as_posix()):
                continue
            problems.append(f"{file} includes {target}: {layer} may not use {other}")
    return problems


def with_included(root: Path, files: Iterable[Path]) -> set[Path]:
    """The files and all that they include from the repository, directly or not."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for include in includes_of(root, file):
            if include.name.startswith('"') and (target := resolve(root, include)):
                waiting.append(target)
    return found


def library_headers_in_kernels(root: Path) -> list[str]:
    kernels = (root / "csrc/kernels").glob("*.cpp")
    files = [
        path.relative_to(root) for path in kernels if path.name not in KERNEL_FILES_WITH_LIBRARY
    ]
    return [
        f"{include.file} includes {include.name}"
        for file in sorted(with_included(root, files))
        for include in includes_of(root, file)
        if include.name.startswith("<") and not KERNEL_SYSTEM_HEADER.fullmatch(include.name)
    ]


def test_includes_point_only_to_the_left(repository: Path) -> None:
    assert len(source_files(repository)) > 20
    assert wrong_arrows(repository) == []


def test_kernels_use_no_library_templates(repository: Path) -> None:
    assert (repository / "csrc/kernels/scalar.cpp").is_file()
    assert library_headers_in_kernels(repository) == []


def write(root: Path, path: str, *includes: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("".join(f"#include {name}\n" for name in includes), encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree without a wrong arrow."""
    write(tmp_path, "csrc/base/error.h", "<string>")
    write(tmp_path, "csrc/kernels/kernel_set.h", "<cstdint>")
    write(tmp_path, "csrc/kernels/scalar.cpp", '"kernels/kernel_set.h"', "<math.h>")
    write(tmp_path, "csrc/memory/pool.h", '"base/error.h"')
    write(tmp_path, "csrc/backend/cpu.cpp", '"kernels/kernel_set.h"', '"memory/pool.h"')
    write(tmp_path, "csrc/engine/engine.h", '"memory/pool.h"')
    write(tmp_path, "csrc/engine/devices.cpp", '"metal/metal_backend.h"')
    write(tmp_path, "metal/metal_backend.h", '"memory/pool.h"')
    write(tmp_path, "python/src/bind.h", '"engine/engine.h"')
    write(tmp_path, "python/src/bind_kernels.cpp", '"bind.h"', '"kernels/kernel_set.h"')
    return tmp_path


def test_the_check_accepts_right_arrows(tree: Path) -> None:
    assert wrong_arrows(tree) == []
    assert library_headers_in_kernels(tree) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("csrc/base/tensor.cpp", "memory/pool.h"),
        ("csrc/memory/pool.cpp", "engine/engine.h"),
        ("csrc/memory/pool.cpp", "../engine/engine.h"),
        ("csrc/engine/engine.cpp", "kernels/kernel_set.h"),
        ("csrc/engine/engine.cpp", "metal/metal_backend.h"),
        ("csrc/kernels/avx2.cpp", "base/error.h"),
        ("csrc/model/model.cpp", "kernels/kernel_set.h"),
        ("csrc/model/model.cpp", "absent.h"),
        ("csrc/attic/old.cpp", "base/error.h"),
        ("python/src/bind_model.cpp", "kernels/kernel_set.h"),
        ("metal/metal_backend.cpp", "engine/engine.h"),
    ],
)
def test_the_check_finds_a_wrong_arrow(tree: Path, path: str, name: str) -> None:
    write(tree, path, "<cstdint>", f'"{name}"')
    problems = wrong_arrows(tree)
    assert len(problems) == 1
    assert problems[0].startswith(path)


def test_the_check_reads_directives_and_not_comments(tree: Path) -> None:
    file = tree / "csrc/memory/pool.cpp"
    file.write_text('// #include "engine/engine.h"\n', encoding="utf-8")
    assert wrong_arrows(tree) == []
    file.write_text('  #  include "engine/engine.h"\n', encoding="utf-8")
    assert len(wrong_arrows(tree)) == 1


def test_the_check_finds_a_library_header_behind_another(tree: Path) -> None:
    write(tree, "csrc/kernels/dispatch.cpp", "<vector>")
    assert library_headers_in_kernels(tree) == []
    write(tree, "csrc/kernels/lanes.h", "<vector>")
    write(tree, "csrc/kernels/avx2.cpp", "<immintrin.h>", '"kernels/lanes.h"')
    assert library_headers_in_kernels(tree) == ["csrc/kernels/lanes.h includes <vector>"]
