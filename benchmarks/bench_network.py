"""What a call from Python costs: the network of benchmarks/bench_network.cpp, 512 -> 1024 -> 512,
1,048,576 ternary weights, through InferenceEngine.infer.

    python benchmarks/bench_network.py [--threads 2] [--core build/dev/benchmarks/bench_network]

Prints, for each batch, the median time of a call from Python and inferences a second; with --core,
also the time of the same work in C++, measured by that program in turn, and the difference. The
result is checked against numpy first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tritium
from tritium.layers import BitLinear, ReLU

BATCHES = [1, 8, 16, 32, 64, 256]
SECONDS = 0.2  # of one round of one batch
SCALE = np.float32(0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=Path, help="the program bench_network")
    arguments = parser.parse_args()

    random = np.random.default_rng(1)
    first, second = (
        random.integers(-1, 2, shape, dtype=np.int8) for shape in ((1024, 512), (512, 1024))
    )
    layers = [BitLinear(first, SCALE), ReLU(), BitLinear(second, SCALE)]
    model = tritium.build_model(layers, input_shape=(512,))
    engine = tritium.InferenceEngine(threads=arguments.threads)
    x = random.standard_normal((max(BATCHES), 512)).astype(np.float32)
    check(engine.infer(model, x), x, first, second)

    python: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    core: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(arguments.rounds):
        for batch in BATCHES:
            samples = x[0] if batch == 1 else x[:batch]
            python[batch].append(seconds_a_call(partial(engine.infer, model, samples)))
            if arguments.core:
                core[batch].append(seconds_in_core(arguments.core, arguments.threads, batch))

    print(f"kernel set {engine.kernel_set}, {engine.threads} threads; medians of", end=" ")
    print(f"{arguments.rounds} rounds")
    print("batch  Python us  inferences/s   C++ us  more us   more")
    for batch in BATCHES:
        ours = statistics.median(python[batch])
        line = f"{batch:>5} {ours * 1e6:>10.2f} {batch / ours:>13,.0f}"
        if core[batch]:
            theirs = statistics.median(core[batch])
            line += f" {theirs * 1e6:>8.2f} {(ours - theirs) * 1e6:>8.2f} {ours / theirs - 1:>6.1%}"
        print(line)


def seconds_a_call(call: Callable[[], Any]) -> float:
    """Median over short series of calls."""
    call()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(10):
            call()
        times.append((time.perf_counter() - start) / 10)
    return statistics.median(times)


def seconds_in_core(program: Path, threads: int, batch: int) -> float:
    done = subprocess.run(
        [
            program,
            f"--benchmark_filter=threads:{threads}/samples:{batch}/",
            f"--benchmark_min_time={SECONDS}",
            "--benchmark_format=json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["benchmarks"][0]["real_time"] * 1e-6


def check(y: np.ndarray, x: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    def layer(x: np.ndarray, trits: np.ndarray) -> np.ndarray:
        absmax = np.maximum(np.abs(x).max(axis=1), np.float32(1e-5))[:, None]
        q = np.rint(x * ((np.float32(1) / absmax) * np.float32(127)))
        sums = (q.astype(np.float64) @ trits.T.astype(np.float64)).astype(np.float32)
        return sums * (SCALE * (absmax / np.float32(127)))

    np.testing.assert_array_equal(y, layer(np.maximum(layer(x, first), 0), second))


if __name__ == "__main__":
    main()
