"""BitLinear as a layer of MLX."""

from __future__ import annotations

from typing import Any, Literal

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import layers
from ..errors import ModelLoadError
from .ops import ternary_matmul
from .panels import pack_panels

_SMALLEST_MEAN = np.float32(1e-5)  # keeps 1 / mean finite for a matrix of zeros


class BitLinear(nn.Module):
    """A linear layer with weights -1, 0 and 1 and inputs of 8 bits: `ternary_matmul` as a Module.

    Parameters: `panels` uint32 and `scales` float32, which are frozen, as they have no gradient,
    and `bias` float32 (outputs,), if there is one. They are saved and loaded as those of any
    Module. `inputs`, `outputs` and `scale_direction` are attributes.

    The constructor takes what `ternary_matmul` takes; `from_weights` and `from_layer` pack weights.
    """

    def __init__(
        self,
        panels: mx.array,
        scales: mx.array,
        bias: mx.array | None = None,
        *,
        inputs: int,
        outputs: int,
        scale_direction: Literal["multiply", "divide"] = "multiply",
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.scale_direction = scale_direction
        self.panels = panels
        self.scales = scales
        if bias is not None:
            self.bias = bias
        self.freeze(keys=["panels", "scales"])

    @classmethod
    def from_weights(
        cls,
        weight: ArrayLike,
        scale: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        *,
        scale_direction: Literal["multiply", "divide"] = "multiply",
        packed_outputs: int | None = None,
    ) -> BitLinear:
        """Of what `tritium.layers.BitLinear` takes: trits and scales, or floats.

        weight: (outputs, inputs), integers -1, 0 or 1, or floats, whose mean magnitude is the scale
        and W / scale, rounded and clipped, the weights; or packed as transformers packs them, uint8
        (ceil(outputs / 4), inputs), with the number of outputs in packed_outputs. scale: a number,
        (outputs,) or (outputs, groups), of integers. bias: (outputs,).

        ModelLoadError for weights that are neither.
        """
        weight = _numbers(weight)
        is_trits = weight.dtype.kind in "iu"
        if is_trits == (scale is None):
            given = "no scale is" if scale is None else "a scale is"
            raise ModelLoadError(
                f"[mlx] weights of {weight.dtype} and {given} given; "
                "integers need a scale, floats bring their own"
            )
        if packed_outputs is not None:
            weight = _unpack_stripes(weight, packed_outputs)
        if scale is None:
            weight, scale = _ternarize(weight)
        scales = np.asarray(_numbers(scale), np.float32)
        if weight.ndim != 2 or scales.ndim > 2:
            raise ModelLoadError(
                f"[mlx] weights must be (outputs, inputs) and scales a number, (outputs,) or "
                f"(outputs, groups), got {weight.shape} and {scales.shape}"
            )
        outputs, inputs = weight.shape
        if scales.size == 1:
            scales = scales.reshape(1)
        elif scales.shape[0] != outputs:
            raise ModelLoadError(f"[mlx] {scales.shape} scales for {outputs} outputs")
        else:
            scales = np.ascontiguousarray(scales.reshape(outputs, -1).T)
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise ModelLoadError("[mlx] scales must be finite and greater than 0")
        groups = len(scales) if scales.ndim == 2 else 1
        if bias is not None:
            bias = mx.array(np.asarray(_numbers(bias), np.float32))
            if bias.shape != (outputs,):
                raise ModelLoadError(f"[mlx] a bias of {bias.shape} for {outputs} outputs")
        return cls(
            mx.array(pack_panels(weight, groups)),
            mx.array(scales),
            bias,
            inputs=inputs,
            outputs=outputs,
            scale_direction=scale_direction,
        )

    @classmethod
    def from_layer(cls, layer: layers.BitLinear) -> BitLinear:
        """Of a layer of `tritium.build_model`. ModelLoadError if it has a norm."""
        if layer.norm is not None:
            raise ModelLoadError(
                "[mlx] a BitLinear with a norm is two layers: mlx.nn.RMSNorm first"
            )
        return cls.from_weights(
            layer.weight,
            layer.scale,
            layer.bias,
            scale_direction=layer.scale_direction,
            packed_outputs=layer.packed_outputs,
        )

    def __call__(self, x: mx.array) -> mx.array:
        """x float32, float16 or bfloat16 (..., inputs) -> (..., outputs) in the same dtype."""
        return ternary_matmul(
            x,
            self.panels,
            self.scales,
            self.get("bias"),
            outputs=self.outputs,
            scale_direction=self.scale_direction,
        )

    def _extra_repr(self) -> str:
        return (
            f"inputs={self.inputs}, outputs={self.outputs}, groups={self.panels.shape[0]}, "
            f"scale_direction={self.scale_direction!r}, bias={'bias' in self}"
        )


def _numbers(values: ArrayLike) -> NDArray[Any]:
    """bfloat16 of MLX, which numpy has not, becomes float32."""
    if isinstance(values, mx.array) and values.dtype == mx.bfloat16:
        values = values.astype(mx.float32)
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ModelLoadError(f"[mlx] real numbers are needed, got {array.dtype}")
    return array


def _ternarize(masters: NDArray[Any]) -> tuple[NDArray[np.int8], np.float32]:
    masters = masters.astype(np.float32)
    if not np.isfinite(masters).all():
        raise ModelLoadError("[mlx] masters must be finite")
    scale = np.maximum(np.float32(np.abs(masters).mean(dtype=np.float64)), _SMALLEST_MEAN)
    trits = np.clip(np.rint(masters * (np.float32(1) / scale)), -1, 1)
    return trits.astype(np.int8), scale


def _unpack_stripes(packed: NDArray[Any], outputs: int) -> NDArray[np.int8]:
    stripe = -(-outputs // 4)
    if packed.dtype != np.uint8 or packed.ndim != 2 or len(packed) != stripe:
        raise ModelLoadError(
            f"[mlx] {outputs} packed outputs are uint8 ({stripe}, inputs), "
            f"got {packed.dtype} {packed.shape}"
        )
    codes = np.concatenate([(packed >> shift) & 3 for shift in (0, 2, 4, 6)])[:outputs]
    return codes.astype(np.int8) - np.int8(1)  # a code 3 is found as a weight of 2
