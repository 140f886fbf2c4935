"""The product in MLX's own operations, for devices without a kernel of Tritium's.

`mlx.core.quantized_matmul` multiplies 2-bit codes by integers in float32, exactly below 2^24. It
has no vmap.
"""

from __future__ import annotations

from typing import NoReturn

import mlx.core as mx

from ..errors import BatchProcessingError
from .panels import COLUMNS

_MOST_WORDS = (1 << 16) // COLUMNS  # |sum of code * q| <= 2 * 128 * columns stays within 2^24
_EMPTY_WORD = 0x55555555  # of weights 0

NO_WEIGHT_GRADIENT = (
    "[mlx] ternary_matmul has gradients with respect to x and bias; "
    "panels and scales are to be frozen"
)


def ternary_matmul(
    x: mx.array,
    panels: mx.array,
    scales: mx.array,
    bias: mx.array | None,
    outputs: int,
    divides: bool,
    stream: mx.Stream | mx.Device,
) -> mx.array:
    """As tritium.mlx.ternary_matmul, x in float32 and all shapes checked."""
    if x.size == 0:
        return mx.zeros((*x.shape[:-1], outputs))
    with mx.stream(stream):
        scales = _constant(scales)
        groups = panels.shape[0]
        codes, absmax = _quantize(x)
        parts = codes.reshape(-1, groups, x.shape[-1] // groups).swapaxes(0, 1)
        rows = panels.swapaxes(2, 3).reshape(groups, -1, panels.shape[2])
        sums = _sums(parts, rows)[..., :outputs]  # (groups, tokens, outputs)
        absmax = absmax.reshape(-1, 1)
        y = None
        for group in range(groups):
            scale = scales if scales.ndim < 2 else scales[group]
            multiplier = absmax / (127 * scale) if divides else scale * (absmax / 127)
            part = sums[group] * multiplier
            before = bias if group == 0 else y
            y = part if before is None else part + before
        return y.reshape(*x.shape[:-1], outputs)


def _quantize(x: mx.array) -> tuple[mx.array, mx.array]:
    """x (..., K) -> integers in float32 (..., K) and absmax (..., 1). NaN becomes -128.

    The gradient passes straight through the rounding: that of x * 127 / absmax, absmax constant.
    """
    known = mx.where(mx.isfinite(x), x, 0)
    fixed = mx.stop_gradient(x)
    magnitudes = mx.where(mx.isnan(fixed), 0, mx.abs(fixed))
    absmax = mx.maximum(mx.max(magnitudes, axis=-1, keepdims=True), 1e-5)
    scale = (1 / absmax) * 127
    scaled = fixed * scale
    codes = mx.round(mx.minimum(mx.where(scaled > -128, scaled, -128), 127))
    return codes + (known - mx.stop_gradient(known)) * scale, absmax


def _sums(codes: mx.array, rows: mx.array) -> mx.array:
    """codes (groups, tokens, columns), rows (groups, outputs, words) -> sums in float32."""
    groups, tokens, columns = codes.shape
    if rows.shape[2] % 2:  # quantized_matmul takes an even number of words
        rows = mx.pad(rows, [(0, 0), (0, 0), (0, 1)], constant_values=_EMPTY_WORD)
    words = rows.shape[2]
    codes = mx.pad(codes, [(0, 0), (0, 0), (0, words * COLUMNS - columns)])
    # MLX's words hold their columns in the order of the bits.
    codes = codes.reshape(groups, tokens, words, 4, 4).swapaxes(3, 4)
    parts = []
    for first in range(0, words, _MOST_WORDS):
        part = slice(first, first + _MOST_WORDS)
        parts.append(_product(codes[:, :, part].reshape(groups, tokens, -1), rows[:, :, part]))
    total = sum(parts[1:], parts[0])
    if len(parts) == 1:
        return total
    integers = sum((part.astype(mx.int32) for part in parts[1:]), parts[0].astype(mx.int32))
    return mx.stop_gradient(integers.astype(mx.float32)) + (total - mx.stop_gradient(total))


def _product(codes: mx.array, rows: mx.array) -> mx.array:
    columns = codes.shape[-1]
    group_size = next(size for size in (128, 64, 32) if columns % size == 0)
    scales = mx.ones((*rows.shape[:2], columns // group_size))
    return mx.quantized_matmul(codes, rows, scales, -scales, group_size=group_size, bits=2)


@mx.custom_function
def _constant(scales: mx.array) -> mx.array:
    return scales


@_constant.vjp
def _no_gradient(*_: object) -> NoReturn:
    raise BatchProcessingError(NO_WEIGHT_GRADIENT)
