"""The product of a ternary matrix as an operation of MLX."""

from __future__ import annotations

from typing import Literal

import mlx.core as mx

from ..errors import BatchProcessingError
from . import portable
from .panels import COLUMNS, ROWS
from .runtime import extension

_FLOATS = (mx.float32, mx.float16, mx.bfloat16)


def runs_on(device: mx.Device | mx.DeviceType | None = None) -> Literal["kernels", "operations"]:
    """What computes `ternary_matmul` there: the kernels of Tritium, or MLX's own operations.

    device: default mx.default_device(). Kernels need the compiled extension, and the CPU or Metal.
    """
    device = mx.default_device() if device is None else device
    has_kernels = device == mx.cpu or mx.metal.is_available()
    return "kernels" if extension is not None and has_kernels else "operations"


def ternary_matmul(
    x: mx.array,
    panels: mx.array,
    scales: mx.array,
    bias: mx.array | None = None,
    *,
    outputs: int,
    scale_direction: Literal["multiply", "divide"] = "multiply",
    stream: mx.Stream | mx.Device | mx.DeviceType | None = None,
) -> mx.array:
    """A BitLinear: x is quantised to int8, multiplied by weights -1, 0, 1 exactly, and scaled.

    For each row of x, a = max(max |x|, 1e-5) and q = rint(x * ((1 / a) * 127)); each output is
    float(sum of weight * q) * (scale * (a / 127)), or * (a / (127 * scale)) where scales divide,
    + bias. Groups of inputs with scales of their own are added in order, the bias with the first.

    x: float32, float16 or bfloat16 (..., inputs). panels: uint32, of `pack_panels`. scales: float32
    of shape () or (1,), or (groups, outputs), greater than 0. bias: float32 (outputs,).
    Result: (..., outputs) in the dtype of x; sums and scales are float32 before it is rounded.

    The gradient passes straight through the rounding of x: it is that of x times the ternary
    weights and their scales. There is one with respect to x and to bias. vmap over x.

    BatchProcessingError for shapes and dtypes that do not fit.
    """
    _check(x, panels, scales, bias, outputs)
    if scale_direction not in ("multiply", "divide"):
        raise BatchProcessingError(
            f"[mlx] scale_direction must be 'multiply' or 'divide', got {scale_direction!r}"
        )
    stream = mx.default_device() if stream is None else stream
    device = stream.device if isinstance(stream, mx.Stream) else stream
    multiply = portable.ternary_matmul
    if runs_on(device) == "kernels" and (device == mx.cpu or _suits_metal(panels, x.shape[-1])):
        multiply = extension.ternary_matmul
    y = multiply(
        x.astype(mx.float32, stream=stream),
        panels,
        scales,
        bias,
        outputs,
        scale_direction == "divide",
        stream,
    )
    return y.astype(x.dtype, stream=stream)


def _check(
    x: mx.array, panels: mx.array, scales: mx.array, bias: mx.array | None, outputs: int
) -> None:
    if x.ndim == 0 or x.dtype not in _FLOATS:
        raise BatchProcessingError(
            f"[mlx] x must be float32, float16 or bfloat16 (..., inputs), got {_described(x)}"
        )
    if panels.ndim != 4 or panels.dtype != mx.uint32 or panels.shape[3] != ROWS:
        raise BatchProcessingError(
            f"[mlx] panels must be uint32 (groups, panels, words, {ROWS}), got {_described(panels)}"
        )
    groups, count, words, _ = panels.shape
    if outputs < 1 or -(-outputs // ROWS) != count:
        raise BatchProcessingError(
            f"[mlx] {outputs} outputs are {-(-outputs // ROWS)} panels of {ROWS}, "
            f"and {count} are given"
        )
    inputs = x.shape[-1]
    if inputs % groups or -(-(inputs // groups) // COLUMNS) != words:
        most = groups * words * COLUMNS
        least = groups * ((words - 1) * COLUMNS + 1)
        of_groups = "" if groups == 1 else f", a multiple of {groups}"
        raise BatchProcessingError(
            f"[mlx] x has {inputs} inputs; these panels take {least} to {most}{of_groups}"
        )
    one = scales.shape in ((), (1,)) and groups == 1
    if scales.dtype != mx.float32 or not (one or scales.shape == (groups, outputs)):
        alone = "() or " if groups == 1 else ""
        raise BatchProcessingError(
            f"[mlx] scales must be float32 {alone}{(groups, outputs)}, got {_described(scales)}"
        )
    if bias is not None and (bias.dtype != mx.float32 or bias.shape != (outputs,)):
        raise BatchProcessingError(
            f"[mlx] bias must be float32 {(outputs,)}, got {_described(bias)}"
        )


def _suits_metal(panels: mx.array, inputs: int) -> bool:
    """Whether no group of the inputs ends within a word; a matrix of one group may."""
    groups, _, words, _ = panels.shape
    return groups == 1 or groups * words * COLUMNS == inputs


def _described(array: mx.array) -> str:
    return f"{str(array.dtype).removeprefix('mlx.core.')} {array.shape}"
