"""How does one run a model on a device, without text?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .errors import BatchProcessingError
from .model import LanguageModel, Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FLOAT32 = np.dtype(np.float32)


class InferenceEngine:
    """Runs models on one device with its own threads. Several threads may use it; calls queue.

    device: "auto" or "cpu". threads: default the performance cores that this process may use.
    memory_limit: bytes of everything that the engine allocates; default no limit.
    optimization_level: "none" runs the operators as they are, "basic" fuses them, "aggressive" also
    measures, for a tenth of a second, in which format ternary weights are read fastest here. The
    results are the same to the bit. ternary_format: "2bit" or "1.6bit" (bits a weight) instead of
    what the level says.

    cache_dir: folder where packed weights of models above 16 MB are kept, so that the next load
    maps them. "auto" is $TRITIUM_CACHE_DIR or else "tritium" in the user's folder for caches; None
    keeps nothing. max_cache_size: bytes of that folder; what was used longest ago goes first.
    Where it cannot be written, one RuntimeWarning says so.

    DeviceError if the device, the thread count or the kernel set named in TRITIUM_KERNELS cannot be
    met; OptimizationError for an unknown level, and when a model is planned in a format that the
    kernel set does not have.
    """

    def __init__(
        self,
        device: str = "auto",
        *,
        threads: int | None = None,
        memory_limit: int | None = None,
        optimization_level: str = "basic",
        ternary_format: str = "auto",
        cache_dir: str | os.PathLike[str] | None = "auto",
        max_cache_size: int = 16_000_000_000,
    ) -> None:
        self.core = _core.InferenceEngine(
            device=device,
            threads=threads,
            memory_limit=memory_limit,
            optimization_level=optimization_level,
            ternary_format=ternary_format,
            cache_dir=None if cache_dir is None else os.path.expanduser(os.fspath(cache_dir)),
            max_cache_size=max_cache_size,
        )

    @property
    def device(self) -> str:
        """The device in use: "cpu"."""
        return self.core.device

    @property
    def threads(self) -> int:
        """Number of threads that compute."""
        return self.core.threads

    @property
    def kernel_set(self) -> str:
        """Name of the kernel set in use: "scalar", "avx2", ..."""
        return self.core.kernel_set

    def infer(self, model: Model, x: ArrayLike) -> NDArray[np.float32]:
        """What a model gives for x, as float32 in memory of its own.

        For a network, x is a sample of model.input_shape or a batch (n, *input_shape), real
        numbers of any type, converted to float32; the result is model.output_shape or (n,
        *output_shape). A sample's result does not depend on the samples beside it.

        For a language model, x is one sequence of token ids, integers (tokens,), each in [0,
        vocab_size); the result is its logits (tokens, vocab_size).

        BatchProcessingError if x is empty, longer than the model's context, of another shape, or
        holds something else.
        """
        if isinstance(model, LanguageModel):
            ids = as_token_ids(x, vocab_size=model.config.vocab_size, where="infer")
            return self.core.infer(model.core, np.asarray(ids, dtype=np.int32))
        samples = as_samples(x, shape=model.input_shape, where="infer")
        return self.core.infer_samples(model.core, samples)

    def infer_batch(self, model: Model, items: Sequence[ArrayLike]) -> list[NDArray[np.float32]]:
        """What `infer` gives for each item, in order.

        Items are samples or batches, of any numbers of samples; those of a network run together,
        and their results are parts of one array. Items of a language model are sequences and run
        one after the other. BatchProcessingError as for `infer`; it names the item.
        """
        if isinstance(model, LanguageModel):
            sequences = [
                as_token_ids(
                    item, vocab_size=model.config.vocab_size, where=f"infer_batch, item {place}"
                )
                for place, item in enumerate(items)
            ]
            return [self.core.infer(model.core, np.asarray(ids, np.int32)) for ids in sequences]
        shape = model.input_shape
        samples = [
            as_samples(item, shape=shape, where="infer_batch", place=place)
            for place, item in enumerate(items)
        ]
        if not samples:
            return []
        together = np.concatenate([item.ravel() for item in samples]).reshape(-1, *shape)
        results = self.core.infer_samples(model.core, together)
        if len(results) == len(samples) and all(item.ndim == len(shape) for item in samples):
            return list(results)
        outputs, first = [], 0
        for item in samples:
            if item.ndim == len(shape):
                outputs.append(results[first])
                first += 1
            else:
                outputs.append(results[first : first + len(item)])
                first += len(item)
        return outputs

    def plan(
        self,
        model: Model,
        *,
        context_size: int | None = None,
        kv_dtype: str = "f16",
        head: str = "auto",
    ) -> _core.ExecutionPlan:
        """What this engine would run for `model`, and its memory. Nothing is allocated.

        Options as in `LLM`.
        """
        return self.core.plan(model.core, context_size, kv_dtype=kv_dtype, head=head)

    def memory_usage(self) -> _core.MemoryUsage:
        """Bytes in use now, by kind."""
        return self.core.memory_usage()


def as_samples(
    x: ArrayLike, *, shape: tuple[int, ...], where: str, place: int | None = None
) -> NDArray[np.float32]:
    """x as float32, a sample of `shape` or a batch (n, *shape), n >= 1; without a copy where it is
    that already.

    BatchProcessingError, its message beginning with [where], or [where, item place], if it is not.
    """
    # Nearly every call, decided in a tenth of a microsecond.
    if (
        type(x) is np.ndarray
        and x.dtype is _FLOAT32
        and (x.shape == shape or (x.shape[1:] == shape and len(x) > 0))
    ):
        return x
    if place is not None:
        where = f"{where}, item {place}"
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
