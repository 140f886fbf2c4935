"""How do results come while items still arrive, in a loop and in asyncio?"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from .errors import BatchProcessingError
from .items import ItemResult, infer_items
from .micro_batches import MicroBatches
from .model import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .engine import InferenceEngine


def check_stream_options(buffer_size: int, max_wait: float) -> None:
    """BatchProcessingError for numbers that cannot be."""
    if not isinstance(buffer_size, int) or buffer_size < 1:
        raise BatchProcessingError(f"[stream] buffer_size must be at least 1, got {buffer_size!r}")
    if not 0 <= max_wait < math.inf:
        raise BatchProcessingError(f"[stream] max_wait must be seconds >= 0, got {max_wait!r}")


def stream_items(
    engine: InferenceEngine,
    model: Model,
    source: Iterator[ArrayLike],
    buffer_size: int,
    max_wait: float,
) -> Generator[NDArray[Any], None, None]:
    """`InferenceEngine.stream`."""
    batches = _micro_batches(engine, model, buffer_size, max_wait)
    with closing(batches.results(source)) as results:
        for result in results:
            yield result.get()


async def astream_items(
    engine: InferenceEngine,
    model: Model,
    source: AsyncIterator[ArrayLike],
    buffer_size: int,
    max_wait: float,
) -> AsyncGenerator[NDArray[Any], None]:
    """`InferenceEngine.astream`."""
    import asyncio  # who listens has it already, everyone else need not pay for it

    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notify() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            loop.call_soon_threadsafe(changed.set)

    async def until(ready: Callable[[], bool]) -> None:
        while not ready():
            changed.clear()
            await changed.wait()

    async def feed() -> None:
        try:
            while True:
                await until(batches.has_room)
                batches.put(await anext(source))
        except StopAsyncIteration:
            batches.end()
        except BaseException as error:  # the consumer's, who awaits something else
            batches.end(error)

    batches = _micro_batches(engine, model, buffer_size, max_wait, notify)
    batches.start()
    feeder = loop.create_task(feed())
    try:
        while True:
            await until(batches.can_take)
            results = batches.take()
            if results is None:
                return
            for result in batches.hand_out(results):
                yield result.get()
    finally:
        batches.cancel()
        feeder.cancel()
        await asyncio.wait([feeder])
        await until(batches.has_stopped)
        batches.close()


def _micro_batches(
    engine: InferenceEngine,
    model: Model,
    buffer_size: int,
    max_wait: float,
    notify: Callable[[], None] = lambda: None,
) -> MicroBatches[ArrayLike, ItemResult]:
    half = max(1, buffer_size // 2)  # one fills while one runs
    return MicroBatches(
        lambda first, items: infer_items(engine, model, items, first, "stream"),
        batch_size=lambda: half,
        bound=lambda: buffer_size,
        max_wait=max_wait,
        notify=notify,
    )
