"""Ternary matrices to multiply by, and what their product is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import reference

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    outputs: int
    inputs: int
    groups: int = 1
    scale: Literal["one", "rows"] = "one"
    direction: Literal["multiply", "divide"] = "multiply"
    bias: bool = False

    def __str__(self) -> str:
        parts = [f"{self.outputs}x{self.inputs}", self.scale, self.direction]
        parts += [f"{self.groups}groups"] if self.groups > 1 else []
        return "-".join(parts + ["bias"] * self.bias)


CASES = [
    Case(1, 1),
    Case(1, 1, scale="rows", bias=True),
    Case(5, 7),
    Case(16, 16, bias=True),
    Case(33, 100, scale="rows", direction="divide", bias=True),
    Case(47, 130, direction="divide"),
    Case(48, 96, groups=3, scale="rows", bias=True),
    Case(17, 20, groups=4, scale="rows", direction="divide", bias=True),
    Case(64, 512, groups=16, scale="rows"),
    Case(640, 2560, scale="rows", bias=True),
    Case(2560, 640, direction="divide", bias=True),
    Case(6912, 2560),  # an up-projection of BitNet b1.58 2B4T
    Case(16, 70_000),  # sums beyond 2^16 columns
]


@dataclass
class Matrix:
    trits: NDArray[np.int8]
    scale: Floats  # (), (outputs,) or (outputs, groups), as tritium.layers.BitLinear has it
    bias: Floats | None
    case: Case

    @classmethod
    def random(cls, case: Case, seed: int = 0) -> Matrix:
        random = np.random.default_rng(seed)
        shape = () if case.scale == "one" else (case.outputs, case.groups)
        return cls(
            random.integers(-1, 2, (case.outputs, case.inputs), dtype=np.int8),
            np.asarray(random.uniform(0.1, 2, shape), np.float32),
            random.standard_normal(case.outputs).astype(np.float32) if case.bias else None,
            case,
        )

    def product(self, x: Floats) -> Floats:
        """x (..., inputs) -> (..., outputs) by the reference."""
        rows = x.reshape(-1, self.case.inputs)
        q, absmax = reference.quantize_activations(rows)
        y = None
        for group, columns in enumerate(self._columns()):
            scale = self.scale if self.scale.ndim == 0 else self.scale[:, group]
            y = reference.dequantize(
                reference.ternary_matmul(self.trits[:, columns], q[:, columns]),
                reference.multiplier(absmax, scale, self.case.direction == "divide"),
                self.bias if group == 0 else None,
                y,
            )
        return y.reshape(*x.shape[:-1], self.case.outputs)

    def dense(self) -> NDArray[np.float64]:
        """What gradients follow: the weights times their scales, (outputs, inputs)."""
        factors = 1 / self.scale if self.case.direction == "divide" else self.scale
        factors = np.broadcast_to(factors, (self.case.outputs, self.case.groups))
        return self.trits * np.repeat(factors, self.case.inputs // self.case.groups, axis=1).astype(
            np.float64
        )

    def _columns(self) -> list[slice]:
        width = self.case.inputs // self.case.groups
        return [slice(g * width, (g + 1) * width) for g in range(self.case.groups)]


def activations(*shape: int, seed: int = 1) -> Floats:
    """Rows of all magnitudes."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * 10 ** random.uniform(-3, 3, (*shape[:-1], 1))
    return x.astype(np.float32)


def same_bits(a: object, b: object) -> bool:
    """Whether float32 arrays are equal to the bit, any NaN being equal to another."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype == np.float32
    equal = (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))
    return a.shape == b.shape and bool(equal.all())
