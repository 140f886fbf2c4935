"""How does what a caller gives become arrays for a model, and how do items run together?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import BatchProcessingError
from .model import LanguageModel, Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .engine import InferenceEngine

_FLOAT32 = np.dtype(np.float32)

_BYTES_TOGETHER = 1 << 20
"""Samples joined in one array, which stays in the caches. A call for more gains nothing."""


class ItemResult(NamedTuple):
    """What became of one item: a value or an error."""

    place: int
    """That of the item among all items, from 0."""
    value: NDArray[np.float32] | None = None
    """What `InferenceEngine.infer` gives for the item; None if there is an error."""
    error: Exception | None = None

    def get(self) -> NDArray[np.float32]:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


def infer_items(
    engine: InferenceEngine, model: Model, items: Sequence[ArrayLike], first: int, where: str
) -> list[ItemResult]:
    """Each item's own value or error, the items being those from place `first` on.

    Where a call with several of them fails, its halves run, down to the items that fail alone.
    """
    inputs: dict[int, NDArray[Any]] = {}
    results: dict[int, ItemResult] = {}
    for index, item in enumerate(items, first):
        try:
            inputs[index] = as_input(model, item, where=f"{where}, item {index}")
        except Exception as error:
            results[index] = ItemResult(index, error=error)

    if inputs:
        _infer_each(engine, model, inputs, list(inputs), results)
    return [results[index] for index in range(first, first + len(items))]


def _infer_each(
    engine: InferenceEngine,
    model: Model,
    inputs: dict[int, NDArray[Any]],
    places: list[int],
    results: dict[int, ItemResult],
) -> None:
    try:
        values = infer_together(engine, model, [inputs[place] for place in places])
    except Exception as error:
        if len(places) == 1:
            results[places[0]] = ItemResult(places[0], error=error)
            return
    else:
        for place, value in zip(places, values, strict=True):
            results[place] = ItemResult(place, value)
        return
    half = len(places) // 2
    _infer_each(engine, model, inputs, places[:half], results)
    _infer_each(engine, model, inputs, places[half:], results)


def infer_together(
    engine: InferenceEngine, model: Model, inputs: Sequence[NDArray[Any]]
) -> list[NDArray[np.float32]]:
    """What the model gives for each of `inputs` (as_input), in order."""
    if isinstance(model, LanguageModel):
        return [engine.infer(model, ids) for ids in inputs]
    shape = model.input_shape
    outputs: list[NDArray[np.float32]] = []
    for group in _groups(inputs):
        if len(group) == 1:
            outputs.append(engine.infer(model, group[0]))
            continue
        together = np.concatenate([x.ravel() for x in group]).reshape(-1, *shape)
        results = engine.infer(model, together)
        if len(results) == len(group) and all(x.ndim == len(shape) for x in group):
            outputs.extend(results)
            continue
        first = 0
        for x in group:
            if x.ndim == len(shape):
                outputs.append(results[first])
                first += 1
            else:
                outputs.append(results[first : first + len(x)])
                first += len(x)
    return outputs


def _groups(inputs: Sequence[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """Neighbours that are small enough to be joined; each group has at least one."""
    group: list[NDArray[Any]] = []
    size = 0
    for x in inputs:
        if group and size + x.nbytes > _BYTES_TOGETHER:
            yield group
            group, size = [], 0
        group.append(x)
        size += x.nbytes
    if group:
        yield group


def as_input(model: Model, x: ArrayLike, *, where: str) -> NDArray[Any]:
    """x as what `infer` passes on: float32 samples, or int32 token ids (tokens,).

    BatchProcessingError, its message beginning with [where], if the model cannot take it.
    """
    if isinstance(model, LanguageModel):
        ids = as_token_ids(x, vocab_size=model.config.vocab_size, where=where)
        return np.asarray(ids, dtype=np.int32)
    return as_samples(x, shape=model.input_shape, where=where)


def as_samples(x: ArrayLike, *, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    """x as float32, a sample of `shape` or a batch (n, *shape), n >= 1; without a copy where it is
    that already.

    BatchProcessingError, its message beginning with [where], if it is not.
    """
    # Nearly every call, decided in a tenth of a microsecond.
    if (
        type(x) is np.ndarray
        and x.dtype is _FLOAT32
        and (x.shape == shape or (x.shape[1:] == shape and len(x) > 0))
    ):
        return x
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise BatchProcessingError(
            f"[{where}] samples must all have the shape {shape}, got rows of different lengths"
        ) from None
    if array.dtype.kind not in "fiub":
        raise BatchProcessingError(f"[{where}] samples must be real numbers, got {array.dtype}")
    if array.shape != shape and array.shape[1:] != shape:
        raise BatchProcessingError(
            f"[{where}] the model takes a sample of shape {shape} or a batch "
            f"(n, {', '.join(map(str, shape))}), got shape {array.shape}"
        )
    if array.size == 0:
        raise BatchProcessingError(f"[{where}] 0 samples given, at least 1 is needed")
    return array.astype(np.float32, copy=False)


def as_token_ids(values: ArrayLike | Sequence[int], *, vocab_size: int, where: str) -> list[int]:
    """`values` as a list of token ids (tokens,).

    BatchProcessingError, its message beginning with [where], if they are not a one-dimensional,
    non-empty array of integers in [0, vocab_size).
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise BatchProcessingError(
            f"[{where}] token ids must have one dimension, got rows"
        ) from None
    if array.size == 0:
        raise BatchProcessingError(f"[{where}] 0 tokens given, at least 1 is needed")
    if array.dtype == object or not np.issubdtype(array.dtype, np.integer):
        raise BatchProcessingError(f"[{where}] token ids must be integers, got {array.dtype}")
    if array.ndim != 1:
        raise BatchProcessingError(
            f"[{where}] token ids must have 1 dimension, got {array.ndim} with shape {array.shape}"
        )
    wrong = np.flatnonzero((array < 0) | (array >= vocab_size))
    if wrong.size:
        position = int(wrong[0])
        raise BatchProcessingError(
            f"[{where}] token id {array[position]} at position {position} is out of range: "
            f"the vocabulary has {vocab_size} tokens"
        )
    return array.tolist()
