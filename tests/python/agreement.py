"""How near must we come to transformers in float32?  The criteria of fixtures and live oracles.

Of the same input both sides make the same int8 codes, all of them: torch computes 127 / absmax as
(1 / absmax) * 127, with two roundings, and so do we. But float sums differ in their last bits, so
inputs do, and a code that falls to the other side changes everything after it a little. So layers
are compared on the same input, and whole models by the size of the difference and by the token
that they prefer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINEAR_TOLERANCE = 1e-5
"""Difference, in units of the rms of a token's outputs. transformers sums floats where we sum
integers: some sqrt(K) * 2^-24 for K up to 10^4."""

LOGITS_TOLERANCE = 0.03
"""Rms of the difference over rms of the logits: float sums in another order flip a few codes, and
each flip is 1/127 of one of K inputs."""

CLEAR_MARGIN = 0.05
"""Share of the logits' standard deviation by which the best token must lead to be the only right
answer."""


@dataclass(frozen=True)
class LinearCall:
    """What one ternary layer of transformers did."""

    x: NDArray[np.float32]  # (tokens, K) its input, after the norm inside if it has one
    codes: NDArray[np.int8]  # (tokens, K) what it quantised the input to
    y: NDArray[np.float32]  # (tokens, N) its output


@dataclass(frozen=True)
class DenseCall:
    """What one layer in floats did."""

    x: NDArray[np.float32]  # (tokens, K)
    y: NDArray[np.float32]  # (tokens, N)


def linear_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Largest difference of outputs (tokens, N), in units of the rms of their token."""
    theirs = theirs.astype(np.float64)
    rms = np.sqrt((theirs**2).mean(axis=1, keepdims=True))
    return float((np.abs(ours - theirs) / np.maximum(rms, 1e-30)).max())


def relative_rms(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Rms of the difference over the rms of theirs."""
    wide = theirs.astype(np.float64)
    return float(np.sqrt(((ours - wide) ** 2).mean() / (wide**2).mean()))


def clear_positions(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where logits (tokens, vocab) leave no doubt about the best token: (tokens,)."""
    best_two = np.sort(logits, axis=1)[:, -2:]
    clear: NDArray[np.bool_] = best_two[:, 1] - best_two[:, 0] > CLEAR_MARGIN * logits.std(axis=1)
    return clear


@dataclass(frozen=True)
class LogitAgreement:
    """Our logits against theirs, over the positions of a sequence."""

    relative_rms: float
    positions: int
    clear: int  # positions where their best token leads clearly
    clear_and_wrong: int  # of these, where ours is another
    same: int  # of all positions, where the best tokens are equal

    @property
    def holds(self) -> bool:
        """Whether ours pass for theirs."""
        return self.relative_rms <= LOGITS_TOLERANCE and self.clear > 0 and not self.clear_and_wrong

    def summary(self) -> str:
        """For a table: relative rms, equal best tokens, wrong ones."""
        return (
            f"{self.relative_rms:.2%} {self.same}/{self.positions}"
            f" ({self.clear_and_wrong} wrong of {self.clear} clear)"
        )


def compare_logits(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> LogitAgreement:
    """Both (tokens, vocab)."""
    assert ours.shape == theirs.shape, f"{ours.shape} logits, expected {theirs.shape}"
    same = ours.argmax(axis=1) == theirs.argmax(axis=1)
    clear = clear_positions(theirs)
    return LogitAgreement(
        relative_rms=relative_rms(ours, theirs),
        positions=len(same),
        clear=int(clear.sum()),
        clear_and_wrong=int((clear & ~same).sum()),
        same=int(same.sum()),
    )


def equal_tokens(
    ours: Sequence[int], theirs: Sequence[int], clear: NDArray[np.bool_]
) -> tuple[int, bool]:
    """Greedy tokens (n,) with theirs (n,) and where theirs were clear (n,).

    Returns how many are equal from the start on, and whether the first difference, if there is
    one, is at a choice that was not clear. After it the texts are different texts.
    """
    for position, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our != their:
            return position, not clear[position]
    return len(theirs), True
