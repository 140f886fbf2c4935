"""What transformers gave, recorded in tests/fixtures by tools/make_fixtures.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reference
from agreement import LinearCall

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES: list[str] = list(json.loads((FIXTURES / "about.json").read_text())["models"])


class Fixture:
    """A model folder and what transformers computed from it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = FIXTURES / name
        self.config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        with np.load(self.folder / "transformers.npz") as arrays:
            self.arrays: dict[str, NDArray[Any]] = dict(arrays)
        self.reference = reference.load_folder(self.folder)
        self.token_ids = self.arrays["token_ids"]  # (tokens,)
        self.logits = self.arrays["logits"]  # (tokens, vocab)

    def linears(self) -> Iterator[tuple[str, LinearCall]]:
        """Each ternary layer and what it did."""
        for name in self.reference.linears:
            if f"{name}/x" in self.arrays:
                x, codes, y = (self.arrays[f"{name}/{part}"] for part in ("x", "codes", "y"))
                yield name, LinearCall(x, codes, y)
