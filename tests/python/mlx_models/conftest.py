"""MLX is part of what is tested: where it has wheels, a test run without it fails."""

from __future__ import annotations

import sys

import pytest

collect_ignore_glob: list[str] = []

if sys.platform == "win32":  # MLX has no wheel there
    collect_ignore_glob.append("test_*.py")


@pytest.fixture(scope="module")
def llm():
    """The bundled model on MLX."""
    import tritium

    with tritium.LLM(device="mlx") as ready:
        yield ready


@pytest.fixture(scope="module")
def cpu_llm():
    """The bundled model on the CPU."""
    import tritium

    with tritium.LLM(device="cpu") as ready:
        yield ready
