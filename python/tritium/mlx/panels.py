"""How do ternary weights lie in panels?

The format is "2bit" of csrc/kernels/kernel_set.h in words of 32 bits: panels
(groups, ceil(outputs / 16), ceil(inputs / groups / 16), 16), a word for each 16 inputs of an
output. Bits 8 b + 2 j and the next of a word are 1 + the weight of input 4 j + b. Outputs and
inputs that are not there have weight 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelLoadError

ROWS = 16  # of a panel
COLUMNS = 16  # of a word

# Where the code of a column lies in its word.
_SHIFTS = np.array([8 * (c % 4) + 2 * (c // 4) for c in range(COLUMNS)], np.uint32)


def pack_panels(trits: ArrayLike, groups: int = 1) -> NDArray[np.uint32]:
    """Weights -1, 0 and 1 (outputs, inputs) -> panels, with `groups` equal parts of the inputs.

    ModelLoadError for other numbers, and for inputs that `groups` does not divide.
    """
    trits = np.asarray(trits)
    if trits.ndim != 2 or trits.dtype.kind not in "iu":
        raise ModelLoadError(
            f"[mlx] trits must be integers (outputs, inputs), got {trits.dtype} {trits.shape}"
        )
    wrong = trits[(trits < -1) | (trits > 1)]
    if wrong.size:
        raise ModelLoadError(
            f"[mlx] {wrong.size} of {trits.size} weights are not -1, 0 or 1, "
            f"the first is {wrong[0]}"
        )
    outputs, inputs = trits.shape
    if groups < 1 or inputs % groups:
        raise ModelLoadError(f"[mlx] {inputs} inputs cannot be {groups} equal groups")
    width = inputs // groups
    panels, steps = -(-outputs // ROWS), -(-width // COLUMNS)
    codes = np.ones((groups, panels * ROWS, steps * COLUMNS), np.uint8)
    codes[:, :outputs, :width] = trits.reshape(outputs, groups, width).swapaxes(0, 1) + 1
    codes = codes.reshape(groups, panels, ROWS, steps, COLUMNS)
    words = np.zeros((groups, panels, ROWS, steps), np.uint32)
    for column, shift in enumerate(_SHIFTS):
        words |= codes[..., column].astype(np.uint32) << shift
    return np.ascontiguousarray(words.swapaxes(2, 3))


def unpack_panels(panels: ArrayLike, outputs: int, inputs: int) -> NDArray[np.int8]:
    """The inverse of `pack_panels`: panels -> int8 (outputs, inputs)."""
    words = np.asarray(panels, np.uint32).swapaxes(2, 3)
    codes = (words[..., None] >> _SHIFTS) & 3
    groups = len(words)
    rows = codes.reshape(groups, -1, words.shape[3] * COLUMNS)[:, :outputs, : inputs // groups]
    return rows.swapaxes(0, 1).reshape(outputs, inputs).astype(np.int8) - np.int8(1)
