"""What could this machine do at most, right now?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import InferenceEngine

_LEAST_READ = 256 << 20
_MOST_READ = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What the device could do at one moment."""

    read_bytes_per_s: float
    multiply_adds_per_s: float


def measure_limits(engine: InferenceEngine) -> Limits:
    """With the engine's threads and kernel set, in a fraction of a second.

    Reads memory of four times the largest cache, where Linux tells its size, within bounds.
    """
    found = engine.core.measure_limits(_read_bytes())
    return Limits(found.read_bytes_per_second, found.multiply_adds_per_second)


def _read_bytes() -> int:
    largest = 0
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            size = re.fullmatch(r"(\d+)([KM])", file.read_text("ascii").strip())
        except OSError:
            continue
        if size is not None:
            largest = max(largest, int(size[1]) << {"K": 10, "M": 20}[size[2]])
    return min(max(_LEAST_READ, 4 * largest), _MOST_READ)
