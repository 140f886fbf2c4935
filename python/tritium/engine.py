"""How does one run a model on a device, without text?"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .custom_operator import CustomOperator
from .engine_builder import EngineBuilder
from .item_stream import astream_items, check_stream_options, stream_items
from .items import as_input, as_samples, as_token_ids, infer_together
from .model import LanguageModel, Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class InferenceEngine:
    """Runs models on one device with its own threads. Several threads may use it; calls queue.

    device: one of `tritium.devices()`, or "auto": $TRITIUM_DEVICE if it is set, else the best that
    is available; where several are, each is measured once, and a better one is passed over if it is
    slower. "cpu" is in every build. gpu_acceleration: True lets "auto" take GPUs only, False none
    of them. fallback: the CPU runs what the device cannot, and everything if the device cannot be
    used; one RuntimeWarning says so. threads: of the CPU; default the performance cores that this
    process may use.

    batch_size: the most samples of a network that one pass takes, on each thread; a longer batch
    runs in several passes, a shorter one in one. Default 16, on GPUs 256. memory_pool_size: bytes
    of the memory that passes work in, arenas, staging and the logits of language models, taken when
    it is needed; results belong to the caller. memory_limit: bytes of everything that the engine
    allocates, that pool, packed weights and KV pages together; default no limit. Sizes are numbers
    of bytes or texts such as "512MB": B, kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of
    1024.

    optimization_level: "none" runs the operators as they are, "basic" fuses them, "aggressive" also
    measures, for a tenth of a second, in which format memory delivers ternary weights fastest, for
    models larger than the caches. The results are the same to the bit. ternary_format: "2bit" or
    "1.6bit" (bits a weight) instead of what the level says.

    cache_dir: folder where packed weights of models above 16 MB are kept, so that the next load
    maps them. "auto" is $TRITIUM_CACHE_DIR or else "tritium" in the user's folder for caches; None
    keeps nothing. max_cache_size: bytes of that folder; what was used longest ago goes first.
    Where it cannot be written, one RuntimeWarning says so.

    A model is prepared, its ternary weights packed, when it is first used, and stays prepared until
    it is garbage (then the next call gives its memory back), released, or until memory is short
    and another model needs it.

    custom_operators: those that models may name (tritium.layers.Custom). Two of one name are an
    OptimizationError, and so is a model that names another, when it is planned or first run.

    DeviceError if the device, the thread count or the kernel set named in TRITIUM_KERNELS cannot be
    met; BatchProcessingError for a batch_size outside [1, 65536]; MemoryLimitError for sizes that
    are none, and when a model does not fit them; OptimizationError for an unknown level, and when a
    model is planned in a format that the kernel set does not have. After any error the engine goes
    on working. In the child after fork() every call is a DeviceError.
    """

    def __init__(
        self,
        device: str = "auto",
        *,
        gpu_acceleration: bool | None = None,
        fallback: bool = False,
        threads: int | None = None,
        batch_size: int | None = None,
        memory_pool_size: int | str = "512MB",
        memory_limit: int | str | None = None,
        optimization_level: str = "basic",
        ternary_format: str = "auto",
        cache_dir: str | os.PathLike[str] | None = "auto",
        max_cache_size: int = 16_000_000_000,
        custom_operators: Sequence[CustomOperator] = (),
    ) -> None:
        self._custom_operators = tuple(custom_operators)  # the core refers to them weakly
        self.core = _core.InferenceEngine(
            device=device,
            gpu_acceleration=gpu_acceleration,
            fallback=fallback,
            threads=threads,
            batch_size=batch_size,
            memory_pool_size=memory_pool_size,
            memory_limit=memory_limit,
            optimization_level=optimization_level,
            ternary_format=ternary_format,
            cache_dir=None if cache_dir is None else os.path.expanduser(os.fspath(cache_dir)),
            max_cache_size=max_cache_size,
            custom_operators=[operator.core for operator in self._custom_operators],
        )

    @staticmethod
    def builder() -> EngineBuilder:
        """Options one after the other, then `build()`."""
        return EngineBuilder()

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

    @property
    def batch_size(self) -> int:
        """The most samples of a network that one pass takes."""
        return self.core.batch_size

    @property
    def optimization_level(self) -> str:
        """ "none", "basic" or "aggressive"."""
        return self.core.optimization_level

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

        Items are samples or batches, of any numbers of samples. Those of a network run together as
        far as they fit the caches, and results that ran together are parts of one array; an item
        that fills the caches alone is not copied. Items of a language model are sequences and run
        one after the other. BatchProcessingError as for `infer`, before anything runs; it names the
        item. BatchProcessor is for more items than memory holds, and for items that may fail.
        """
        inputs = [
            as_input(model, item, where=f"infer_batch, item {place}")
            for place, item in enumerate(items)
        ]
        return infer_together(self, model, inputs)

    def stream(
        self,
        model: Model,
        items: Iterable[ArrayLike],
        *,
        buffer_size: int = 16,
        max_wait: float = 0.002,
    ) -> Generator[NDArray[np.float32], None, None]:
        """What `infer` gives for each item, in order, while items still arrive.

        Items run in micro-batches of up to half of `buffer_size`; one that is not full runs when
        its first item has waited for `max_wait` seconds. `items` may be endless: a thread of its
        own reads it, never more than `buffer_size` items ahead of the result that was handed out
        last. An item must not change until its result is there. Values of one micro-batch may be
        parts of one array.

        An item that cannot be run raises when its turn comes, after the results of all items before
        it, and ends the stream; the message names it. So does what `items` itself raises. The
        engine goes on working. BatchProcessor goes on past items that fail.

        Closing the iterator, or an interrupt while it waits, ends the work; it waits for the
        micro-batch that runs and for the item that `items` is at. BatchProcessingError also for a
        buffer_size below 1 or a max_wait below 0.
        """
        check_stream_options(buffer_size, max_wait)
        return stream_items(self, model, iter(items), buffer_size, max_wait)

    def astream(
        self,
        model: Model,
        items: AsyncIterable[ArrayLike],
        *,
        buffer_size: int = 16,
        max_wait: float = 0.002,
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """`stream` for asyncio: a task reads `items`, a thread runs the micro-batches.

        Cancelling the task or closing the iterator cancels what `items` awaits, ends the work after
        the micro-batch that runs, and waits for that without blocking the loop.
        """
        check_stream_options(buffer_size, max_wait)
        return astream_items(self, model, aiter(items), buffer_size, max_wait)

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
        """Bytes in use now, by kind and by model. Does not wait for the call that runs."""
        return self.core.memory_usage()

    def release(self, model: Model | None = None) -> None:
        """Forget what was prepared to infer with `model`; without one, with every model, and give
        back the memory that is kept for reuse. The next `infer` prepares the model again. A
        language model that an `LLM` uses stays prepared for that.
        """
        if model is None:
            self.core.release_all()
        else:
            self.core.release(model.core)
