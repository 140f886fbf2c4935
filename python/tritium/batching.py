"""How does one run many items, in batches of a good size and within the memory there is?"""

from __future__ import annotations

import math
import statistics
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import BatchProcessingError
from .items import ItemResult, infer_items
from .memory import available_memory_bytes
from .micro_batches import MicroBatches
from .model import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .engine import InferenceEngine

_ROUNDS = 5
_SECONDS_A_ROUND = 0.002
_SECONDS_A_BATCH = 0.0001
_GAIN = 1.05
_PATIENCE = 2
_SECONDS_BETWEEN_PROBES = 0.1


@dataclass(frozen=True)
class BatchConfig:
    """How a BatchProcessor works. BatchProcessingError for numbers that cannot be."""

    max_batch_size: int = 256
    """Items of a batch at most; how many up to that, the processor finds out (BatchSize)."""
    memory_threshold: float = 0.5
    """The share of the available memory, in (0, 1], that items under way may take: their float32
    copies and their results. Available is what the system and all control groups still leave.
    """
    parallel_workers: int = 1
    """Threads that convert items and call the engine. Calls queue in the engine, which has threads
    of its own: another worker converts while a batch runs. That helps where converting is slow and
    happens outside Python, and where a core has nothing else to do; otherwise workers only take
    turns at the interpreter.
    """

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "parallel_workers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise BatchProcessingError(f"[batch] {name} must be at least 1, got {value!r}")
        if not 0 < self.memory_threshold <= 1:
            raise BatchProcessingError(
                f"[batch] memory_threshold must lie in (0, 1], got {self.memory_threshold!r}"
            )


class BatchSize:
    """The size of batches with which a model runs fastest, found by climbing.

    It begins with 1 and doubles. Each size runs five rounds, of as many batches as take 2 ms; the
    median of the rounds' samples or tokens a second is the size's rate. To the time of each batch
    0.1 ms is added: what threads cost each other by handing it on. Time in which batches of several
    workers overlap counts once. A size is the best so far if its rate is more than 5 % above that
    of the best before it. After two sizes in a row that are not, or after max_batch_size, the best
    one is kept for good.

    How fast items come and results go does not count; nor do batches that are smaller, because the
    input ends or memory is short, or those in which an item failed.
    """

    def __init__(self, max_batch_size: int) -> None:
        self._most = max_batch_size
        self._rounds: list[float] = []
        self._rows = 0
        self._seconds = 0.0
        self._last_end = -math.inf
        self._best = 1
        self._lock = threading.Lock()
        self.current = 1
        """Items of the next batch."""
        self.settled = False
        """Whether `current` stays."""
        self.rates: dict[int, float] = {}
        """For each size that was tried, samples or tokens a second."""

    def record(self, items: int, rows: int, start: float, end: float) -> None:
        """A batch of `items` that hold `rows` samples or tokens ran from start to end, seconds."""
        with self._lock:
            seconds = end - max(start, self._last_end)
            self._last_end = end
            if self.settled or items != self.current:
                return  # the last items of an input, or as many as memory allowed
            self._rows += rows
            self._seconds += seconds + _SECONDS_A_BATCH
            if self._seconds < _SECONDS_A_ROUND:
                return
            self._rounds.append(self._rows / self._seconds)
            self._rows, self._seconds = 0, 0.0
            if len(self._rounds) == _ROUNDS:
                self._decide(statistics.median(self._rounds))
                self._rounds.clear()

    def _decide(self, rate: float) -> None:
        self.rates[self.current] = rate
        if rate > _GAIN * self.rates[self._best]:
            self._best = self.current
        tried = list(self.rates)
        failed = len(tried) - 1 - tried.index(self._best)
        self.settled = failed == _PATIENCE or self.current == self._most
        self.current = self._best if self.settled else min(2 * self.current, self._most)


class BatchProcessor:
    """Runs any number of items through an engine, in order, each with its own value or error.

    Several threads may use it. The sizes of batches that it has found hold for all later calls with
    the same model. clock: seconds, for measuring batches; available_memory: bytes, None where it is
    not known.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        config: BatchConfig | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        available_memory: Callable[[], int | None] = available_memory_bytes,
    ) -> None:
        self.engine = engine
        self.config = config or BatchConfig()
        self._clock = clock
        self._available_memory = available_memory
        self._sizes: weakref.WeakKeyDictionary[Model, BatchSize] = weakref.WeakKeyDictionary()
        self._running: set[MicroBatches[Any, ItemResult]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def process(
        self, model: Model, items: Iterable[ArrayLike]
    ) -> Generator[ItemResult, None, None]:
        """The results of `items`, in order, while they are being made.

        An item is what `InferenceEngine.infer` takes: a sample or a batch of samples of a network,
        a sequence of tokens of a language model. It must not change until its result is there. An
        item that fails has its error in its result, and the others have their values. Values of one
        batch may be parts of one array.

        `items` may be endless. A thread of its own reads it, and never more than (parallel_workers
        + 1) * max_batch_size items ahead of the result that was handed out last. If `items` itself
        raises, that comes out after the results of all items before.

        Closing the iterator, or an interrupt while it waits, ends the work; it waits for the
        batches that run and for the item that `items` is at.

        BatchProcessingError if the processor is closed, now or while results are awaited.
        """
        self._check_open()
        return self._process(model, iter(items))

    def batch_size(self, model: Model) -> BatchSize:
        """What is known about batches of this model."""
        with self._lock:
            return self._sizes.setdefault(model, BatchSize(self.config.max_batch_size))

    def close(self) -> None:
        """End all that runs, and wait for its threads; nothing can be processed afterwards."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for batches in running:
            batches.close()

    def __enter__(self) -> BatchProcessor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _process(
        self, model: Model, source: Iterator[ArrayLike]
    ) -> Generator[ItemResult, None, None]:
        size = self.batch_size(model)
        in_flight = self.config.parallel_workers + 1  # a batch for each worker, and one to come
        outputs = math.prod(model.output_shape)
        budget = _MemoryBudget(
            self.config.memory_threshold / in_flight,
            row_bytes=4 * (math.prod(model.input_shape) + outputs),
            clock=self._clock,
            available_memory=self._available_memory,
        )

        def run(first: int, items: list[ArrayLike]) -> list[ItemResult]:
            start = self._clock()
            results = infer_items(self.engine, model, items, first, "batch")
            rows = [result.value.size // outputs for result in results if result.value is not None]
            size.record(len(rows), sum(rows), start, self._clock())
            budget.most_rows = max([budget.most_rows, *rows])
            return results

        def batch_size() -> int:
            return min(size.current, budget.items())

        batches: MicroBatches[ArrayLike, ItemResult] = MicroBatches(
            run,
            batch_size=batch_size,
            bound=lambda: in_flight * batch_size(),
            workers=self.config.parallel_workers,
        )
        with self._lock:
            self._check_open()
            self._running.add(batches)
        try:
            yield from batches.results(source)
        finally:
            self._running.discard(batches)

    def _check_open(self) -> None:
        if self._closed:
            raise BatchProcessingError("[batch] the processor is closed")


class _MemoryBudget:
    """How many items of the largest size seen fit a share of the available memory; at least 1."""

    def __init__(
        self,
        share: float,
        *,
        row_bytes: int,
        clock: Callable[[], float],
        available_memory: Callable[[], int | None],
    ) -> None:
        self._share = share
        self._row_bytes = row_bytes
        self._clock = clock
        self._available_memory = available_memory
        self._probed_at = -math.inf
        self._bytes: int | None = None
        self.most_rows = 1
        """Samples or tokens of the largest item so far."""

    def items(self) -> int:
        now = self._clock()
        if now - self._probed_at >= _SECONDS_BETWEEN_PROBES:
            self._bytes = self._available_memory()
            self._probed_at = now
        if self._bytes is None:
            return sys.maxsize
        return max(1, int(self._share * self._bytes) // (self._row_bytes * self.most_rows))
