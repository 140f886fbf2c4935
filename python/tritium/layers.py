"""Of what layers can a network be built?

Each layer is a description: arrays and numbers. `build_model` makes a model of them. Arrays are
anything that numpy takes. Where their type and order fit, they are lent to the model and not
copied, so they must not be changed while it is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .custom_operator import CustomOperator


@dataclass(frozen=True, eq=False)
class RMSNorm:
    """x / sqrt(mean(x^2) + eps) * weight. Samples (width,) -> (width,); weight: floats (width,)."""

    weight: ArrayLike
    eps: float = 1e-5


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * weight + bias, the variance with the divisor width.

    Samples (width,) -> (width,); weight and bias: floats (width,), bias None is 0.
    """

    weight: ArrayLike
    bias: ArrayLike | None = None
    eps: float = 1e-5


@dataclass(frozen=True, eq=False)
class BitLinear:
    """A linear layer with weights in {-1, 0, 1} and inputs of 8 bits (BitNet b1.58).

    Samples (inputs,) -> (outputs,). Each sample is quantised to int8 by its largest magnitude.

    weight: (outputs, inputs), integers -1, 0 or 1, or floats. Integers need a scale. Floats are
    masters: their mean magnitude is the scale, and W / scale, rounded and clipped, the weights.
    scale: a number, one for each output, (outputs,), or one for each of several equal groups of the
    inputs of an output, (outputs, groups); greater than 0. scale_direction: whether it multiplies
    the sum ("multiply") or divides it ("divide"). bias: floats (outputs,), added after the scale.
    norm: what is done to the sample first.
    """

    weight: ArrayLike
    scale: ArrayLike | None = None
    bias: ArrayLike | None = None
    scale_direction: Literal["multiply", "divide"] = "multiply"
    norm: RMSNorm | None = None


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer in float32. Samples (inputs,) -> (outputs,).

    weight: floats (outputs, inputs), float32 or float16 as they are; bias: floats (outputs,).
    """

    weight: ArrayLike
    bias: ArrayLike | None = None


@dataclass(frozen=True)
class ReLU:
    """max(x, 0); NaN gives 0. Samples of any shape."""


@dataclass(frozen=True)
class ReLU2:
    """max(x, 0) squared; NaN gives 0. Samples of any shape."""


@dataclass(frozen=True)
class SiLU:
    """x / (1 + exp(-x)). Samples of any shape."""


@dataclass(frozen=True)
class GELU:
    """x times the normal distribution at x, what torch.nn.GELU() computes. Samples of any shape."""


@dataclass(frozen=True)
class Softmax:
    """exp(x) divided by its sum. Samples (width,) -> (width,)."""


@dataclass(frozen=True)
class Flatten:
    """The same elements with one dimension: (8, 8) -> (64,). Costs nothing."""


@dataclass(frozen=True, eq=False)
class Residual:
    """x + layers(x). The layers must give samples of the shape that they take."""

    layers: Sequence[Layer]


@dataclass(frozen=True, eq=False)
class Custom:
    """A custom operator, which must be among the engine's custom_operators when the model runs.

    branches: what the operator gets, an input for each: the result of its layers for the samples
    that come here, or these samples themselves if there are none: [[], [Linear(w), SiLU()]].
    Default: one input, the samples. Samples of any shape.
    """

    operator: CustomOperator
    branches: Sequence[Sequence[Layer]] = ((),)


Layer: TypeAlias = (
    "BitLinear | Linear | ReLU | ReLU2 | SiLU | GELU | Softmax | RMSNorm | LayerNorm | Flatten"
    " | Residual | Custom"
)
