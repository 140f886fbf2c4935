"""How BatchProcessor finds its batch size, and what many items cost in each form of the API.

    python benchmarks/bench_batching.py [--threads 2] [--items 40000] [--plot docs/batch_sizes.png]

The network is that of benchmarks/bench_network.py, 512 -> 1024 -> 512 with 1,048,576 ternary
weights; items are single samples, arrays of float32. Prints the rate of each size that the climb
tried, and samples a second of each form, medians of rounds in which all forms take turns. --plot
draws sizes over time, and rates over sizes, also for a network of 2,304 weights and for one
whose memory allows 24 items.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tritium
from tritium.layers import BitLinear, ReLU
from tritium.memory import available_memory_bytes
from tritium.roofline import load_pyplot

COLOURS = ["#1f6f8b", "#c2571a", "#3a7d44", "#7a4fa3"]


class CountingEngine(tritium.InferenceEngine):
    """Notes when each call came and how many samples it had."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads=threads)
        self.calls: list[tuple[float, int]] = []

    def infer(self, model: tritium.Model, x: np.ndarray) -> np.ndarray:
        self.calls.append((time.perf_counter(), 1 if x.ndim == 1 else len(x)))
        return super().infer(model, x)


@dataclass
class Climb:
    """What a processor tried until it had settled, or until the items ended."""

    name: str
    calls: list[tuple[float, int]]
    rates: dict[int, float]
    settled: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="draw the climbs into this file")
    arguments = parser.parse_args()

    large, small = make_network(512, 1024), make_network(24, 48)
    climbs = [
        climb(f"1,048,576 weights, {threads} thread{'s' * (threads > 1)}", large, threads)
        for threads in sorted({1, arguments.threads})
    ]
    climbs.append(climb("2,304 weights", small, arguments.threads))
    few = 24 * 4 * (512 + 512)  # bytes of 24 items
    climbs.append(
        climb("1,048,576 weights, memory for 24 items", large, arguments.threads, memory=few)
    )
    for found in climbs:
        rates = ", ".join(f"{size}: {rate:,.0f}" for size, rate in found.rates.items())
        print(f"{found.name}: settled at {found.settled}; samples/s: {rates}")
    if arguments.plot:
        draw(arguments.plot, climbs)
    compare(large, arguments.threads, arguments.items, arguments.rounds)


def make_network(width: int, hidden: int) -> tritium.Model:
    random = np.random.default_rng(1)
    first, second = (
        random.integers(-1, 2, shape, dtype=np.int8) for shape in ((hidden, width), (width, hidden))
    )
    return tritium.build_model(
        [BitLinear(first, 0.03), ReLU(), BitLinear(second, 0.03)], input_shape=(width,)
    )


def make_items(model: tritium.Model, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(2)
    return list(random.standard_normal((count, *model.input_shape), dtype=np.float32))


def climb(name: str, model: tritium.Model, threads: int, memory: int | None = None) -> Climb:
    engine = CountingEngine(threads)
    workers = 1
    config = tritium.BatchConfig(memory_threshold=1, parallel_workers=workers)
    probe = available_memory_bytes if memory is None else lambda: (workers + 1) * memory
    processor = tritium.BatchProcessor(engine, config, available_memory=probe)
    deque(processor.process(model, make_items(model, 20_000)), maxlen=0)
    size = processor.batch_size(model)
    return Climb(name, engine.calls, size.rates, size.current if size.settled else None)


def compare(model: tritium.Model, threads: int, count: int, rounds: int) -> None:
    engine = tritium.InferenceEngine(threads=threads)
    items = make_items(model, count)
    array = np.stack(items)

    async def arriving() -> AsyncIterator[np.ndarray]:
        for item in items:
            yield item

    async def consume(buffer_size: int) -> None:
        async for _ in engine.astream(model, arriving(), buffer_size=buffer_size):
            pass

    def drain(results: Iterable[object]) -> None:
        deque(results, maxlen=0)

    processors = {
        workers: tritium.BatchProcessor(engine, tritium.BatchConfig(parallel_workers=workers))
        for workers in (1, 2, 4)
    }
    forms: dict[str, Callable[[], object]] = {
        "infer(array)": lambda: engine.infer(model, array),
        "infer_batch(list)": lambda: engine.infer_batch(model, items),
        "infer(item), a loop": lambda: drain(engine.infer(model, item) for item in items),
        **{
            f"process, {workers} workers": lambda p=processor: drain(p.process(model, items))
            for workers, processor in processors.items()
        },
        **{
            f"stream, buffer {size}": lambda size=size: drain(
                engine.stream(model, items, buffer_size=size)
            )
            for size in (16, 256)
        },
        "astream, buffer 16": lambda: asyncio.run(consume(16)),
        "astream, buffer 256": lambda: asyncio.run(consume(256)),
    }
    for form in forms.values():
        form()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            seconds[name].append(time.perf_counter() - start)
    print(f"kernel set {engine.kernel_set}, {threads} threads, {count} items, {rounds} rounds")
    for name, times in seconds.items():
        print(f"{name:<22} {count / statistics.median(times):>10,.0f} samples/s")
    for workers, processor in processors.items():
        size = processor.batch_size(model)
        print(f"{workers} workers settled at {size.current if size.settled else None}")


def draw(file: Path, climbs: list[Climb]) -> None:
    pyplot = load_pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for found, colour in zip(climbs, COLOURS, strict=False):
        seconds, sizes = zip(*found.calls[:-1], strict=True)  # the last one takes what is left
        since = [1e3 * (second - seconds[0]) for second in seconds]
        left.step(since, sizes, where="post", color=colour, label=found.name)
        right.plot(list(found.rates), list(found.rates.values()), color=colour, marker="o", ms=3)
        if found.settled:
            right.plot(found.settled, found.rates[found.settled], "o", color=colour, ms=9, mfc="w")
    left.set(xlabel="ms since the first batch", ylabel="items of a batch")
    right.set(xlabel="items of a batch", ylabel="samples/s", xscale="log", yscale="log")
    left.set_yscale("log", base=2)
    right.set_xscale("log", base=2)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(fontsize=6)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
