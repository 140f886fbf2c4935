"""Do results come in order while items still arrive, in a loop and in asyncio, and does it stop?"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

import tritium
from item_sources import (
    INPUTS,
    OUTPUTS,
    Producer,
    WatchedEngine,
    engine_fixture,  # noqa: F401
    model_fixture,  # noqa: F401
    no_thread_is_left_behind,  # noqa: F401
    samples,
)
from tritium.micro_batches import MicroBatches

FOREVER = 1e6  # seconds


async def arriving(items: Any) -> AsyncIterator[Any]:
    """Items, some at once and some after others had their turn."""
    for place, item in enumerate(items):
        if place % 3 == 0:
            await asyncio.sleep(0)
        yield item


def ours() -> list[str]:
    """Our threads that run, but for the one of MLX, which never ends."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("tritium-") and name != "tritium-mlx"]


async def all_gone() -> None:
    """Returns when none of our threads and no other task is left."""
    while ours() or len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.001)


# Both forms ---------------------------------------------------------------------------------------


def stream_list(engine: tritium.InferenceEngine, model: Any, items: Any, **options: Any) -> list:
    return list(engine.stream(model, items, **options))


def astream_list(engine: tritium.InferenceEngine, model: Any, items: Any, **options: Any) -> list:
    async def collect() -> list:
        source = items if isinstance(items, Producer) else arriving(items)
        results = [result async for result in engine.astream(model, source, **options)]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert ours() == []
        return results

    return asyncio.run(collect())


both = pytest.mark.parametrize("collect", [stream_list, astream_list], ids=["loop", "asyncio"])


@both
@pytest.mark.parametrize("buffer_size", [1, 2, 16, 300])
def test_thousands_of_items_have_the_bits_that_each_has_alone(
    engine: tritium.InferenceEngine, model: tritium.Model, collect: Any, buffer_size: int
) -> None:
    x = samples(3000)
    results = collect(engine, model, x, buffer_size=buffer_size)
    assert len(results) == 3000
    for one, result in zip(x, results, strict=True):
        np.testing.assert_array_equal(result, engine.infer(model, one))


@both
def test_items_of_any_lengths_keep_their_shapes(
    engine: tritium.InferenceEngine, model: tritium.Model, collect: Any
) -> None:
    x = samples(70)
    items = [x[0], x[1:4], x[4:5], x[5].tolist(), x[6:66].astype(np.float64), x[66:]]
    results = collect(engine, model, items)
    assert [result.shape[:-1] for result in results] == [(), (3,), (1,), (), (60,), (4,)]
    for item, result in zip(items, results, strict=True):
        np.testing.assert_array_equal(result, engine.infer(model, item))


@both
def test_sequences_of_a_language_model_are_items_too(
    engine: tritium.InferenceEngine, collect: Any
) -> None:
    language = tritium.load()
    sequences = [[1, 2, 3], [4], [5, 6]] * 4
    for ids, result in zip(sequences, collect(engine, language, sequences), strict=True):
        np.testing.assert_array_equal(result, engine.infer(language, ids))


@both
def test_no_items_give_no_results(
    engine: tritium.InferenceEngine, model: tritium.Model, collect: Any
) -> None:
    assert collect(engine, model, []) == []


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buffer_size": 0}, "buffer_size must be at least 1, got 0"),
        ({"buffer_size": 1.5}, "buffer_size must be at least 1, got 1.5"),
        ({"max_wait": -1}, "max_wait must be seconds >= 0, got -1"),
        ({"max_wait": float("nan")}, "max_wait must be seconds >= 0, got nan"),
    ],
)
def test_impossible_options_are_refused(
    engine: tritium.InferenceEngine,
    model: tritium.Model,
    collect: Any,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(tritium.BatchProcessingError, match=message):
        collect(engine, model, [], **options)


def test_what_cannot_be_iterated_is_refused_at_once(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    with pytest.raises(TypeError):
        engine.stream(model, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        engine.astream(model, [1])  # type: ignore[arg-type]


# Errors -------------------------------------------------------------------------------------------


def collect_until_error(engine: Any, model: Any, items: Any, form: str) -> tuple[list, Exception]:
    results: list[np.ndarray] = []

    async def consume() -> None:
        source = items if isinstance(items, Producer) else arriving(items)
        async for result in engine.astream(model, source):
            results.append(result)

    try:
        if form == "asyncio":
            asyncio.run(consume())
        else:
            for result in engine.stream(model, items):
                results.append(result)
    except Exception as error:
        return results, error
    raise AssertionError("no error")


@pytest.mark.parametrize("form", ["loop", "asyncio"])
@pytest.mark.parametrize("bad", [0, 1, 37, 99])
def test_a_bad_item_raises_after_the_results_before_it(
    model: tritium.Model, form: str, bad: int
) -> None:
    engine = WatchedEngine()
    items: list[Any] = list(samples(100))
    items[bad] = np.zeros(5)
    results, error = collect_until_error(engine, model, items, form)
    assert isinstance(error, tritium.BatchProcessingError)
    assert str(error).startswith(f"[stream, item {bad}] the model takes")
    assert len(results) == bad
    for one, result in zip(items, results, strict=False):
        np.testing.assert_array_equal(result, engine.infer(model, one))


@pytest.mark.parametrize("form", ["loop", "asyncio"])
def test_a_call_that_fails_fails_for_its_item(model: tritium.Model, form: str) -> None:
    x = samples(100)
    x[41, 0] = 1e6

    def refuse(given: np.ndarray) -> None:
        if (given[..., 0] == 1e6).any():
            raise ValueError("too large")

    engine = WatchedEngine(refuse)
    results, error = collect_until_error(engine, model, x, form)
    assert (len(results), str(error)) == (41, "too large")
    assert engine.infer(model, x[0]).shape == (OUTPUTS,)  # it goes on working


@pytest.mark.parametrize("form", ["loop", "asyncio"])
def test_a_source_that_raises_does_so_after_the_results_before(
    engine: tritium.InferenceEngine, model: tritium.Model, form: str
) -> None:
    results, error = collect_until_error(engine, model, Producer(fails_at=50), form)
    assert (len(results), str(error)) == (50, "the source broke")


# When a micro-batch runs --------------------------------------------------------------------------


def test_a_result_comes_although_the_next_item_does_not(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    more: queue.Queue[bool] = queue.Queue()

    def source() -> Iterator[np.ndarray]:
        yield np.ones(INPUTS)
        while more.get():
            yield np.ones(INPUTS)

    results = engine.stream(model, source())
    for _ in range(5):  # each item is made after the result of the one before
        assert next(results).shape == (OUTPUTS,)
        more.put(True)
    more.put(False)
    assert len(list(results)) == 1


def test_in_asyncio_a_result_comes_although_the_next_item_does_not(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    async def ping_pong() -> int:
        items: asyncio.Queue[np.ndarray | None] = asyncio.Queue()

        async def source() -> AsyncIterator[np.ndarray]:
            while (item := await items.get()) is not None:
                yield item

        items.put_nowait(np.zeros(INPUTS))
        count = 0
        async for result in engine.astream(model, source()):
            assert result.shape == (OUTPUTS,)
            count += 1
            items.put_nowait(np.ones(INPUTS) if count < 5 else None)
        return count

    assert asyncio.run(ping_pong()) == 5


def test_a_full_micro_batch_waits_for_nothing(model: tritium.Model) -> None:
    engine = WatchedEngine()
    results = engine.stream(model, Producer(), buffer_size=8, max_wait=FOREVER)
    for _ in range(100):
        next(results)
    results.close()
    assert set(engine.sizes) == {4}


def test_a_buffer_of_one_runs_each_item_at_once(model: tritium.Model) -> None:
    engine = WatchedEngine()
    results = engine.stream(model, Producer(), buffer_size=1, max_wait=FOREVER)
    for _ in range(10):
        next(results)
    results.close()
    assert set(engine.sizes) == {1}


def test_the_last_items_wait_for_nothing(model: tritium.Model) -> None:
    engine = WatchedEngine()
    assert len(list(engine.stream(model, samples(10), max_wait=FOREVER))) == 10
    assert engine.sizes == [8, 2]


def test_an_item_waits_as_long_as_the_clock_says() -> None:
    now, ran = [0.0], []

    def run(first: int, items: list[int]) -> list[int]:
        ran.append(list(items))
        return items

    batches: MicroBatches[int, int] = MicroBatches(
        run, batch_size=lambda: 100, bound=lambda: 200, max_wait=60, clock=lambda: now[0]
    )
    batches.start()
    batches.put(1)
    now[0] = 59.9
    batches.put(2)
    assert not batches.can_take()
    now[0] = 60.0
    with batches._lock:
        batches._work_came.notify_all()  # what the time-out of its wait does
    assert batches.take() == [1, 2]
    batches.put(3)
    batches.end()
    assert batches.take() == [3]
    assert batches.take() is None
    batches.close()
    assert ran == [[1, 2], [3]]


# Back-pressure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer_size", [1, 2, 5, 16])
def test_the_source_is_never_read_ahead_of_the_buffer(
    engine: tritium.InferenceEngine, model: tritium.Model, buffer_size: int
) -> None:
    source = Producer()
    results = engine.stream(model, source, buffer_size=buffer_size)
    for place in range(500):
        next(results)
        assert source.given - (place + 1) <= buffer_size
    results.close()
    assert source.given <= 500 + buffer_size


@pytest.mark.parametrize("buffer_size", [1, 2, 5, 16])
def test_in_asyncio_the_source_is_never_read_ahead_of_the_buffer(
    engine: tritium.InferenceEngine, model: tritium.Model, buffer_size: int
) -> None:
    async def consume() -> None:
        source = Producer()
        async with aclosing(engine.astream(model, source, buffer_size=buffer_size)) as results:
            for place in range(500):
                await anext(results)
                assert source.given - (place + 1) <= buffer_size
        assert source.given <= 500 + buffer_size

    asyncio.run(consume())


def test_a_slow_consumer_stops_the_source(model: tritium.Model) -> None:
    engine, source = WatchedEngine(), Producer()
    full = threading.Event()

    def watched() -> Iterator[np.ndarray]:
        for item in source:
            if source.given == 16 + 1:
                full.set()
            yield item

    results = engine.stream(model, watched())
    next(results)  # one of eight: none of their room is free again
    assert not full.wait(0.05)
    assert source.given <= 16
    for _ in range(7):
        next(results)
    assert full.wait(60)
    results.close()


# The end ------------------------------------------------------------------------------------------


def test_nothing_runs_before_the_first_result_is_asked_for(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    source = Producer()
    results = engine.stream(model, source)
    later = engine.astream(model, source)
    assert source.given == 0
    assert ours() == []
    del results, later


@pytest.mark.parametrize("taken", [1, 8, 100])
def test_a_stream_closed_early_leaves_nothing_running(
    engine: tritium.InferenceEngine, model: tritium.Model, taken: int
) -> None:
    source = Producer()
    results = engine.stream(model, source)
    assert len(list(itertools.islice(results, taken))) == taken
    assert ours()
    results.close()
    assert ours() == []
    given = source.given
    assert next(source)[0] == given + 1  # nobody else reads it any more


def test_leaving_the_loop_ends_the_stream(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    for _ in engine.stream(model, Producer()):
        break
    assert ours() == []


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
def test_an_interrupt_ends_the_stream(model: tritium.Model) -> None:
    go_on = threading.Event()

    def hold(x: np.ndarray) -> None:
        if len(engine.sizes) == 3:
            os.kill(os.getpid(), signal.SIGINT)  # the consumer waits for this micro-batch
            assert go_on.wait(60)

    def end(signum: int, frame: Any) -> None:
        go_on.set()
        raise KeyboardInterrupt

    engine = WatchedEngine(hold)
    before = signal.signal(signal.SIGINT, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(engine.stream(model, Producer()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert ours() == []
    assert engine.infer(model, np.ones(INPUTS)).shape == (OUTPUTS,)


@pytest.mark.parametrize("where", ["source", "engine", "consumer"])
def test_a_cancelled_task_leaves_nothing_running(model: tritium.Model, where: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(x: np.ndarray) -> None:
        if where == "engine":
            entered.set()
            assert go_on.wait(60)

    engine = WatchedEngine(hold)
    ended: list[str] = []

    async def source() -> AsyncIterator[np.ndarray]:
        try:
            for _ in range(4):
                yield np.ones(INPUTS)
            if where == "source":
                entered.set()
            await asyncio.Event().wait()
        finally:
            ended.append("source")

    async def consume(items: AsyncIterator[np.ndarray]) -> None:
        async for _ in engine.astream(model, items):
            if where == "consumer":
                entered.set()
                await asyncio.Event().wait()

    async def main() -> None:
        items = source()
        task = asyncio.create_task(consume(items))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        await all_gone()
        assert ended == ["source"]  # what it awaited was cancelled

    asyncio.run(main())
    assert engine.infer(model, np.ones(INPUTS)).shape == (OUTPUTS,)


def test_a_loop_that_ends_takes_open_streams_with_it(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    kept: list[Any] = []

    async def main() -> None:
        kept.append(engine.astream(model, Producer()))
        await anext(kept[0])

    asyncio.run(main())
    assert ours() == []


def test_a_source_that_is_cancelled_itself_is_no_hang(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    async def source() -> AsyncIterator[np.ndarray]:
        yield np.ones(INPUTS)
        raise asyncio.CancelledError("by somebody else")

    async def collect(results: list[np.ndarray]) -> None:
        async for result in engine.astream(model, source()):
            results.append(result)

    results: list[np.ndarray] = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(collect(results))
    assert len(results) == 1


def test_several_streams_share_an_engine(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    x = samples(400)
    expected = engine.infer(model, x)

    async def collect(first: int) -> None:
        place = first
        async for result in engine.astream(model, arriving(x[first:])):
            np.testing.assert_array_equal(result, expected[place])
            place += 1
        assert place == len(x)

    async def main() -> None:
        await asyncio.gather(*(collect(10 * i) for i in range(5)))

    asyncio.run(main())
