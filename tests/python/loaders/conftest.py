"""Makes the helpers one folder up importable, and small folders for the tests here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from hf_folders import write_bitnet_folder


@pytest.fixture
def packed_folder(tmp_path: Path) -> Path:
    """A packed model of two layers."""
    write_bitnet_folder(tmp_path / "packed", seed=7)
    return tmp_path / "packed"


@pytest.fixture
def masters_folder(tmp_path: Path) -> Path:
    """The same model as float masters."""
    write_bitnet_folder(tmp_path / "masters", seed=7, form="masters")
    return tmp_path / "masters"
