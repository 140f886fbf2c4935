"""Which limit bounds a pass of so many tokens, and how near does it come?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BatchProcessingError

if TYPE_CHECKING:
    from .limits import Limits

_INK, _FAINT = "#222222", "#8a8a8a"
_ROOF, _POINT = "#c44536", "#1f6f8b"


@dataclass(frozen=True)
class Point:
    """What feeding `tokens` at once took, head included."""

    tokens: int
    seconds: float


@dataclass(frozen=True)
class Roofline:
    """Points below the roofs of the same run."""

    points: Sequence[Point]
    limits: Limits
    multiply_adds_per_token: int
    """Ternary ones."""
    weight_bytes: int
    """Read once for each point."""

    def intensity(self, point: Point) -> float:
        """Multiply-adds for each byte of weights."""
        return point.tokens * self.multiply_adds_per_token / self.weight_bytes

    def rate(self, point: Point) -> float:
        """Multiply-adds a second."""
        return point.tokens * self.multiply_adds_per_token / point.seconds

    def roof(self, intensity: float) -> float:
        """The most multiply-adds a second that the limits allow."""
        limits = self.limits
        return min(intensity * limits.read_bytes_per_s, limits.multiply_adds_per_s)


def load_pyplot() -> Any:
    """matplotlib's pyplot. BatchProcessingError says what to install if it is missing."""
    try:
        import matplotlib
    except ImportError:
        raise BatchProcessingError(
            "[bench] a plot needs matplotlib: pip install 'tritium[plot]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw_roofline(file: Path, roofline: Roofline, *, title: str) -> None:
    """Draw the points under their roofs, both axes logarithmic, into a file of any image type."""
    pyplot = load_pyplot()
    from matplotlib.ticker import LogLocator, NullLocator

    points = roofline.points
    figure, axes = pyplot.subplots(figsize=(7.2, 4.6), layout="constrained")
    ends = roofline.intensity(points[0]) / 1.6, roofline.intensity(points[-1]) * 1.6
    limits = roofline.limits
    knee = limits.multiply_adds_per_s / limits.read_bytes_per_s
    xs = sorted({*ends, min(max(knee, ends[0]), ends[1])})
    axes.loglog(xs, [roofline.roof(x) / 1e9 for x in xs], color=_ROOF, linewidth=2)
    axes.loglog(
        [roofline.intensity(p) for p in points],
        [roofline.rate(p) / 1e9 for p in points],
        color=_POINT,
        marker="o",
        linewidth=1,
    )
    for p in points:
        share = roofline.rate(p) / roofline.roof(roofline.intensity(p))
        axes.annotate(
            f"{p.tokens}\n{share:.0%}",
            (roofline.intensity(p), roofline.rate(p) / 1e9),
            textcoords="offset points",
            xytext=(5, -7),
            verticalalignment="top",
            fontsize=8,
            color=_INK,
        )
    axes.annotate(
        f"{limits.multiply_adds_per_s / 1e9:.0f} GMAC/s",
        (ends[1], limits.multiply_adds_per_s / 1e9),
        textcoords="offset points",
        xytext=(-4, 5),
        horizontalalignment="right",
        color=_ROOF,
    )
    slope = (ends[0] * min(knee, ends[1])) ** 0.5
    axes.annotate(
        f"{limits.read_bytes_per_s / 1e9:.1f} GB/s",
        (slope, roofline.roof(slope) / 1e9),
        textcoords="offset points",
        xytext=(-8, 4),
        horizontalalignment="right",
        color=_ROOF,
    )
    lowest = min(roofline.rate(p) for p in points)
    axes.set_ylim(min(lowest, roofline.roof(ends[0])) / 2e9, limits.multiply_adds_per_s / 5e8)
    axes.set_xlim(*ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.set_xlabel(
        "multiply-adds for each byte of weights; a point: tokens at once, share of its roof"
    )
    axes.set_ylabel("ternary GMAC/s")
    axes.grid(which="major", color=_FAINT, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
