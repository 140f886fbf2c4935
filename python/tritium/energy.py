"""How much energy did the processor take?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """A counter of microjoules that begins again at 0 after `range_uj`."""

    value_uj: int
    range_uj: int


def read_counters(folder: Path = _POWERCAP) -> dict[str, Counter]:
    """The counter of each processor package, by zone; empty where the system shows none.

    Linux has them in powercap, mostly readable for root alone. Zones inside a package, such as its
    cores, are part of it.
    """
    counters = {}
    for zone in sorted(folder.glob("*")):
        try:
            if (zone / "name").read_text("ascii").startswith("package"):
                counters[zone.name] = Counter(
                    int((zone / "energy_uj").read_text("ascii")),
                    int((zone / "max_energy_range_uj").read_text("ascii")),
                )
        except (OSError, ValueError):
            continue
    return counters


def joules_between(before: dict[str, Counter], after: dict[str, Counter]) -> float | None:
    """Joules of all packages; None if no counter was read both times."""
    both = before.keys() & after.keys()
    if not both:
        return None
    return (
        sum(
            (after[zone].value_uj - before[zone].value_uj) % max(before[zone].range_uj, 1)
            for zone in both
        )
        / 1e6
    )
