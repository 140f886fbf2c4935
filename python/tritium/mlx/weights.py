"""How do a model's weights come into the memory of MLX?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from .ops import ternary_matmul

if TYPE_CHECKING:
    from .. import _core


class TernaryMatrix:
    """A ternary matrix: rows of floats, quantised on the way, to rows of outputs."""

    def __init__(self, packed: _core.PackedTernary) -> None:
        scales = np.float32([packed.scale]) if packed.row_scales is None else packed.row_scales
        self._panels = mx.array(packed.panels)
        self._scales = mx.array(scales)
        self._bias = None if packed.bias is None else mx.array(packed.bias)
        self._outputs = packed.rows
        self._direction = "divide" if packed.divides else "multiply"
        self.arrays = [self._panels, self._scales]
        if self._bias is not None:
            self.arrays.append(self._bias)

    def __call__(self, x: mx.array) -> mx.array:
        return ternary_matmul(
            x,
            self._panels,
            self._scales,
            self._bias,
            outputs=self._outputs,
            scale_direction=self._direction,
        )


class Weights:
    """A model's weights in the memory of MLX, each once. Those in floats become float32."""

    def __init__(self, packed: _core.PackedWeights) -> None:
        self._ternary, self._dense = packed.ternary, packed.dense
        self._made: dict[Any, mx.array] = {}
        self._tables: dict[tuple[float, ...], tuple[mx.array, mx.array]] = {}
        self.nbytes = 0

    def ternary(self, weight: int) -> TernaryMatrix:
        matrix = TernaryMatrix(self._ternary[weight])
        self._count(*matrix.arrays)
        return matrix

    def matrix(self, weight: int) -> mx.array:
        """(rows, columns)."""
        data = self._dense[weight].data
        place = data.__array_interface__["data"][0], data.shape
        if place not in self._made:
            array = mx.array(data)
            dtype = self._dense[weight].dtype
            if dtype != "float32":
                array = array.view(getattr(mx, dtype)).astype(mx.float32)
            self._count(array)
            self._made[place] = array
        return self._made[place]

    def vector(self, weight: int) -> mx.array:
        """(columns,)."""
        vector = self.matrix(weight).flatten()
        mx.eval(vector)
        return vector

    def bias(self, weight: int) -> mx.array | None:
        bias = self._dense[weight].bias
        if bias is None:
            return None
        array = mx.array(bias)
        self._count(array)
        return array

    def rope_tables(self, frequencies: list[float], positions: int) -> tuple[mx.array, mx.array]:
        """Cosines and sines (positions, head_dim / 2)."""
        key = tuple(frequencies)
        if key not in self._tables:
            angles = np.arange(positions)[:, None] * np.array(frequencies)  # in double precision
            tables = tuple(mx.array(turn(angles).astype(np.float32)) for turn in (np.cos, np.sin))
            self._count(*tables)
            self._tables[key] = tables[0], tables[1]
        return self._tables[key]

    def _count(self, *arrays: mx.array) -> None:
        mx.eval(*arrays)
        self.nbytes += sum(array.nbytes for array in arrays)
