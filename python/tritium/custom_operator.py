"""How does a function of one's own become an operator of a network?"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from . import _core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

OutputShape: TypeAlias = "Sequence[int] | Callable[..., Sequence[int]] | None"


@dataclass(frozen=True, eq=False)
class CustomOperator:
    """A function over numpy arrays as an operator of networks, known by its name.

    function(x, ...): one float32 array (n, *shape) for each input, its own to keep and to change;
    it returns an array (n, *output_shape) of real numbers, converted to float32. n is the engine's
    choice from call to call, so each sample must be computed by itself. The engine calls it on the
    thread that called the engine, one call at a time, and must not be called from it.

    output_shape: of one sample's result: None for that of the first input, a shape, or a function
    that gives it from the shapes of the inputs, a tuple each.

    What the function raises, or returns in another shape, is a BatchProcessingError that names the
    operator, with the exception as its cause; the engine goes on working.

    A model keeps the name and the shapes; the engines that run it get the operator:
    `InferenceEngine(custom_operators=[...])`.
    """

    name: str
    function: Callable[..., ArrayLike]
    output_shape: OutputShape = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable, got {type(self.function).__name__}")

    @cached_property
    def core(self) -> _core.CustomOperator:
        # Weakly, so that an object that has both the engine and the function can be collected.
        this = weakref.proxy(self)

        def run(*inputs: Any) -> ArrayLike:
            return this.function(*inputs)

        return _core.CustomOperator(self.name, run, _shape_rule(self.output_shape))


def _shape_rule(shape: OutputShape) -> Callable[..., list[int]]:
    def infer(*inputs: tuple[int, ...]) -> list[int]:
        if callable(shape):
            return [operator.index(size) for size in shape(*inputs)]
        return [operator.index(size) for size in (inputs[0] if shape is None else shape)]

    return infer
