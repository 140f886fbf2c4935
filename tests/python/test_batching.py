"""Does a BatchProcessor give each item its own result, in order, in bounded memory, and stop?"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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
from tritium import BatchConfig, BatchProcessor, BatchSize
from tritium.memory import available_memory_bytes


def unlimited() -> int | None:
    return None


# Results ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_thousands_of_items_have_the_bits_that_each_has_alone(
    engine: tritium.InferenceEngine, model: tritium.Model, workers: int
) -> None:
    x = samples(5000)
    config = BatchConfig(max_batch_size=64, parallel_workers=workers)
    with BatchProcessor(engine, config) as processor:
        results = list(processor.process(model, iter(x)))
    assert [result.place for result in results] == list(range(5000))
    for one, result in zip(x, results, strict=True):
        np.testing.assert_array_equal(result.get(), engine.infer(model, one))


def test_items_of_any_lengths_keep_their_shapes(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    x = samples(3000)
    items = [x[0], x[1:4], x[4:5], x[5].tolist(), x[6:2500], x[2500].astype(np.float64), x[2501:]]
    results = [result.get() for result in BatchProcessor(engine).process(model, items)]
    assert [result.shape[:-1] for result in results] == [(), (3,), (1,), (), (2494,), (), (499,)]
    for item, result in zip(items, results, strict=True):
        np.testing.assert_array_equal(result, engine.infer(model, item))


def test_sequences_of_a_language_model_are_items_too(engine: tritium.InferenceEngine) -> None:
    language = tritium.load()
    sequences = [[1, 2, 3], [4], [-1], [5, 6]] * 5
    results = list(BatchProcessor(engine).process(language, sequences))
    for ids, result in zip(sequences, results, strict=True):
        if ids == [-1]:
            assert result.value is None
            assert "out of range" in str(result.error)
        else:
            np.testing.assert_array_equal(result.get(), engine.infer(language, ids))


def test_no_items_give_no_results(engine: tritium.InferenceEngine, model: tritium.Model) -> None:
    assert list(BatchProcessor(engine).process(model, [])) == []
    with pytest.raises(TypeError, match="not iterable"):
        BatchProcessor(engine).process(model, 5)  # type: ignore[arg-type]


def test_several_threads_can_use_one_processor(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    x = samples(2000)
    expected = engine.infer(model, x)
    wrong: list[int] = []
    with BatchProcessor(engine) as processor:

        def work(first: int) -> None:
            for result in processor.process(model, x[first:]):
                if not np.array_equal(result.get(), expected[first + result.place]):
                    wrong.append(result.place)

        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


# Errors -------------------------------------------------------------------------------------------


def test_an_item_that_does_not_fit_spoils_no_other(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    items: list[Any] = list(samples(1000))
    items[7], items[500], items[999] = np.zeros(5), "text", np.zeros(INPUTS, complex)
    results = list(BatchProcessor(engine).process(model, items))
    assert [result.place for result in results if result.error is not None] == [7, 500, 999]
    assert r"[batch, item 7] the model takes a sample of shape (24,)" in str(results[7].error)
    with pytest.raises(tritium.BatchProcessingError, match=r"item 500.*real numbers"):
        results[500].get()
    for item, result in zip(items, results, strict=True):
        if result.error is None:
            np.testing.assert_array_equal(result.get(), engine.infer(model, item))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_call_that_fails_is_narrowed_to_the_items_that_fail_alone(
    model: tritium.Model, workers: int
) -> None:
    x = samples(300)
    bad = {0, 50, 51, 299}
    x[list(bad), 3] = 1e6

    def refuse(given: np.ndarray) -> None:
        if (given[..., 3] == 1e6).any():
            raise ValueError("too large")

    engine = WatchedEngine(refuse)
    config = BatchConfig(parallel_workers=workers)
    results = list(BatchProcessor(engine, config).process(model, x))
    assert {result.place for result in results if result.error is not None} == bad
    assert all(str(results[index].error) == "too large" for index in bad)
    engine.before = lambda given: None
    for one, result in zip(x, results, strict=True):
        if result.place not in bad:
            np.testing.assert_array_equal(result.get(), engine.infer(model, one))


def test_a_source_that_raises_does_so_after_the_results_before(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    results: list[np.ndarray] = []
    outcomes = BatchProcessor(engine).process(model, Producer(fails_at=100))
    with pytest.raises(OSError, match="the source broke"):
        results.extend(outcome.get() for outcome in outcomes)
    assert len(results) == 100
    np.testing.assert_array_equal(results[99], engine.infer(model, np.full(INPUTS, 100)))


def test_a_probe_that_raises_is_no_hang(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    answers = itertools.chain([None], iter(int, 1))

    def probe() -> int | None:
        return None if next(answers) is None else int("not a number")

    now = itertools.count()
    processor = BatchProcessor(
        engine, BatchConfig(parallel_workers=1), clock=lambda: next(now), available_memory=probe
    )
    with pytest.raises(ValueError, match="not a number"):
        list(processor.process(model, samples(50)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"max_batch_size": 2.5}, "max_batch_size must be at least 1, got 2.5"),
        ({"parallel_workers": -1}, "parallel_workers must be at least 1, got -1"),
        ({"memory_threshold": 0}, r"memory_threshold must lie in \(0, 1\], got 0"),
        ({"memory_threshold": 1.5}, r"memory_threshold must lie in \(0, 1\], got 1.5"),
        ({"memory_threshold": float("nan")}, r"must lie in \(0, 1\], got nan"),
    ],
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(tritium.BatchProcessingError, match=message):
        BatchConfig(**options)


# Back-pressure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_an_endless_source_is_never_read_ahead_of_the_bound(
    engine: tritium.InferenceEngine, model: tritium.Model, workers: int
) -> None:
    source = Producer()
    config = BatchConfig(max_batch_size=8, parallel_workers=workers)
    with BatchProcessor(engine, config) as processor:
        results = processor.process(model, source)
        furthest = 0
        for result in itertools.islice(results, 2000):
            furthest = max(furthest, source.given - (result.place + 1))
        assert 0 < furthest <= (workers + 1) * 8
        results.close()
    assert source.given <= 2000 + (workers + 1) * 8


def test_nothing_is_read_before_a_result_is_asked_for(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    source = Producer()
    results = BatchProcessor(engine).process(model, source)
    assert source.given == 0
    del results


# The size of batches ------------------------------------------------------------------------------


def record(size: BatchSize, items: int, seconds: float) -> None:
    """A batch that begins when the last one has ended."""
    start = max(size._last_end, 0)
    size.record(items, items, start, start + seconds)


def settle(rate: Callable[[int], float], most: int = 256) -> BatchSize:
    """The climb where batches of a size run at `rate` items a second."""
    size = BatchSize(most)
    for _ in range(1000):
        record(size, size.current, size.current / rate(size.current))
    assert size.settled
    return size


def test_the_size_climbs_while_it_pays_and_stays_there() -> None:
    size = settle(lambda items: items / (100 + items) if items <= 32 else 0.1)
    assert size.current == 32
    assert list(size.rates) == [1, 2, 4, 8, 16, 32, 64, 128]
    for _ in range(100):
        record(size, 32, 1000.0)  # what comes later changes nothing
    assert size.current == 32
    assert size.settled


def test_the_smallest_of_sizes_that_are_as_fast_is_taken() -> None:
    assert settle(lambda items: 100).current == 1
    assert settle(lambda items: 100 + items / 100).current == 1


def test_one_size_that_does_not_pay_is_climbed_over() -> None:
    assert settle(lambda items: 0.9 if items == 4 else items).current == 256


@pytest.mark.parametrize("most", [1, 2, 3, 100, 256])
def test_the_size_never_passes_the_largest(most: int) -> None:
    size = settle(lambda items: items, most)
    assert size.current == most == max(size.rates)


def test_one_slow_round_in_five_does_not_count() -> None:
    size, seconds = BatchSize(64), itertools.cycle([1.0, 1.0, 50.0, 1.0, 1.0])
    while not size.settled:
        record(size, size.current, next(seconds))
    assert size.current == 64


def test_time_that_workers_share_counts_once() -> None:
    size = BatchSize(2)
    for end in range(1, 6):  # each takes 3 seconds, and one ends in every second
        size.record(1, 1, end - 3.0, end)
    assert size.rates[1] == pytest.approx(1, rel=1e-3)


def test_fast_batches_are_measured_together_and_pay_for_being_handed_on() -> None:
    size = BatchSize(4096)
    for _ in range(5 * 18):
        record(size, 1, 11e-6)  # 2 ms with 0.1 ms for each
    assert size.current == 1
    for _ in range(5):
        record(size, 1, 11e-6)
    assert size.current == 2
    assert size.rates[1] == pytest.approx(1 / 111e-6)
    while not size.settled:
        record(size, size.current, 1e-6 * (10 + size.current))
    assert size.current == 2048  # 5.1 % faster than 1024; 4096 are 2.6 % faster again


def test_the_processor_finds_the_size_by_its_clock(model: tritium.Model) -> None:
    now = [0.0]

    def work(x: np.ndarray) -> None:
        items = 1 if x.ndim == 1 else len(x)
        now[0] += 10 + items if items <= 16 else 20 * items

    engine = WatchedEngine(work)
    processor = BatchProcessor(
        engine,
        BatchConfig(max_batch_size=1000, parallel_workers=1),
        clock=lambda: now[0],
        available_memory=unlimited,
    )
    assert len(list(processor.process(model, samples(2000)))) == 2000
    size = processor.batch_size(model)
    assert (size.settled, size.current) == (True, 16)
    assert engine.sizes[:5] == [1] * 5
    assert set(engine.sizes) - {16} <= {1, 2, 4, 8, 32, 64, engine.sizes[-1]}
    assert engine.sizes.count(32) == engine.sizes.count(64) == 5
    engine.sizes.clear()
    assert len(list(processor.process(model, samples(160)))) == 160
    assert engine.sizes == [16] * 10  # what was found holds for the next call


def test_items_that_fail_are_no_measurement(model: tritium.Model) -> None:
    processor = BatchProcessor(WatchedEngine(), BatchConfig(parallel_workers=1))
    list(processor.process(model, [np.zeros(5)] * 100))
    assert processor.batch_size(model).rates == {}


# Memory -------------------------------------------------------------------------------------------

ITEM_BYTES = 4 * (INPUTS + OUTPUTS)


@pytest.mark.parametrize("workers", [1, 3])
def test_items_under_way_take_no_more_than_their_share_of_memory(
    model: tritium.Model, workers: int
) -> None:
    engine, source = WatchedEngine(), Producer()
    config = BatchConfig(max_batch_size=64, memory_threshold=0.25, parallel_workers=workers)
    allowed = 10 * (workers + 1)
    processor = BatchProcessor(
        engine, config, available_memory=lambda: 4 * allowed * ITEM_BYTES + ITEM_BYTES
    )
    processor.batch_size(model).current = 16
    results = processor.process(model, source)
    for result in itertools.islice(results, 1000):
        assert source.given - (result.place + 1) <= allowed
    results.close()
    assert max(engine.sizes) == 10
    assert processor.batch_size(model).rates == {}  # 16 could not be tried


def test_the_size_follows_memory_as_it_falls_and_rises(model: tritium.Model) -> None:
    now, memory = [0.0], [1 << 30]

    def work(x: np.ndarray) -> None:
        now[0] += 1  # so that memory is asked for before each batch

    engine = WatchedEngine(work)
    processor = BatchProcessor(
        engine,
        BatchConfig(max_batch_size=16, memory_threshold=1, parallel_workers=1),
        clock=lambda: now[0],
        available_memory=lambda: memory[0],
    )
    list(processor.process(model, samples(500)))
    assert processor.batch_size(model).current == 16
    for allowed, expected in [(3, 3), (0, 1), (1000, 16)]:
        memory[0] = 2 * allowed * ITEM_BYTES
        engine.sizes.clear()
        list(processor.process(model, samples(48)))
        assert engine.sizes == [expected] * (48 // expected)


def test_an_item_counts_as_the_largest_so_far(model: tritium.Model) -> None:
    now = [0.0]

    def work(x: np.ndarray) -> None:
        now[0] += 1

    engine = WatchedEngine(work)
    processor = BatchProcessor(
        engine,
        BatchConfig(max_batch_size=16, memory_threshold=1, parallel_workers=1),
        clock=lambda: now[0],
        available_memory=lambda: 2 * 40 * ITEM_BYTES,
    )
    list(processor.process(model, samples(500)))
    engine.sizes.clear()
    items = [samples(10)] * 16 + list(samples(40))
    list(processor.process(model, items))
    assert engine.sizes == [160, *[4] * 10]


def test_available_memory_is_the_least_that_any_group_leaves(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def available() -> int | None:
        return available_memory_bytes(tmp_path)

    assert available() is None
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert available() == 5000 * 1024
    write("proc/self/cgroup", "0::/user.slice/job\n")
    write("sys/fs/cgroup/user.slice/job/memory.max", "max\n")
    write("sys/fs/cgroup/user.slice/job/memory.current", "1000\n")
    assert available() == 5000 * 1024
    write("sys/fs/cgroup/user.slice/memory.max", "90000\n")
    write("sys/fs/cgroup/user.slice/memory.current", "50000\n")
    assert available() == 40000
    write("sys/fs/cgroup/user.slice/memory.stat", "anon 7\ninactive_file 3000\n")
    assert available() == 43000
    write("sys/fs/cgroup/user.slice/job/memory.max", "500\n")  # less than is used already
    assert available() == 0
    write("proc/self/cgroup", "4:cpu,memory:/docker/x\n3:cpu:/\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "70000\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "10000\n")
    write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n")
    assert available() == 62000  # the mount of a container, whose own path does not exist there
    write("proc/self/cgroup", "nonsense\n")
    assert available() == 5000 * 1024


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells")
def test_available_memory_is_known_here() -> None:
    found = available_memory_bytes()
    assert found is not None
    assert found > 0


# The end ------------------------------------------------------------------------------------------


def test_a_result_iterator_closed_early_leaves_nothing_running(model: tritium.Model) -> None:
    engine, source = WatchedEngine(), Producer()
    for result in BatchProcessor(engine).process(model, source):
        if result.place == 100:
            break
    given, calls = source.given, len(engine.sizes)
    assert next(source)[0] == given + 1  # nobody else reads it any more
    assert len(engine.sizes) == calls


def test_closing_the_processor_ends_who_waits_for_results(model: tritium.Model) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(x: np.ndarray) -> None:
        entered.set()
        assert go_on.wait(60)

    processor = BatchProcessor(WatchedEngine(hold))
    caught: list[BaseException] = []

    def consume() -> None:
        try:
            list(processor.process(model, Producer()))
        except BaseException as error:
            caught.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert entered.wait(60)
    closer = threading.Thread(target=processor.close)
    closer.start()
    consumer.join(0.01)
    go_on.set()
    closer.join(60)
    consumer.join(60)
    assert isinstance(caught[0], tritium.BatchProcessingError)
    with pytest.raises(tritium.BatchProcessingError, match="the processor is closed"):
        processor.process(model, [])
    processor.close()


def test_an_iterator_of_a_closed_processor_cannot_begin(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    with BatchProcessor(engine) as processor:
        results = processor.process(model, Producer())
    with pytest.raises(tritium.BatchProcessingError, match="the processor is closed"):
        next(results)


@pytest.mark.skipif(os.name == "nt", reason="there are no signals to send")
def test_an_interrupt_ends_who_waits_and_all_threads(model: tritium.Model) -> None:
    go_on = threading.Event()

    def hold(x: np.ndarray) -> None:
        if len(engine.sizes) == 20:
            os.kill(os.getpid(), signal.SIGINT)  # the consumer waits for this batch
            assert go_on.wait(60)

    def end(signum: int, frame: Any) -> None:
        go_on.set()
        raise KeyboardInterrupt

    engine = WatchedEngine(hold)
    before = signal.signal(signal.SIGINT, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(BatchProcessor(engine, BatchConfig(parallel_workers=1)).process(model, Producer()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert engine.infer(model, np.ones(INPUTS)).shape == (OUTPUTS,)


def _next_in_child(results: Iterator[Any], answer: Any) -> None:
    try:
        for _ in range(1000):
            next(results)
    except tritium.DeviceError as error:
        answer.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:This process")  # fork() beside threads is what is tested
def test_a_forked_child_gets_a_device_error(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    context = multiprocessing.get_context("fork")
    results = BatchProcessor(engine).process(model, Producer())
    next(results)
    answer = context.Queue()
    process = context.Process(target=_next_in_child, args=(results, answer))
    process.start()
    assert "cannot be used in its child" in answer.get(timeout=60)
    process.join(timeout=60)
    assert process.exitcode == 0
    assert next(results).error is None
    results.close()
    answer.close()
    answer.join_thread()


def test_results_hold_no_threads_and_inputs_are_let_go(
    engine: tritium.InferenceEngine, model: tritium.Model
) -> None:
    import weakref

    class Sample(np.ndarray):
        pass

    items = [samples(1)[0].view(Sample) for _ in range(20)]
    alive = [weakref.ref(item) for item in items]
    gc.disable()
    try:
        results = list(BatchProcessor(engine).process(model, iter(items)))
        items.clear()
        assert not any(item() is not None for item in alive)
    finally:
        gc.enable()
    assert len(results) == 20
