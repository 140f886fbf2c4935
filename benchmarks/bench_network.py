"""What a call from Python costs: the network of benchmarks/bench_network.cpp, 512 -> 1024 -> 512,
1,048,576 ternary weights, through InferenceEngine.infer and infer_batch.

    python benchmarks/bench_network.py [--threads 2] [--core build/release/benchmarks/bench_network]

Prints, for each batch, the time of a call from Python, inferences a second, and their share of
what the integer units can do at most, measured in the same run with the same threads; with --core,
also the time of the same work in C++, measured by that program in turn, and the difference. Of both
the fastest round counts, which other work on the machine disturbed least. The line "32 x 1" is a
list of 32 samples given to infer_batch. Results are checked against numpy first.
"""

from __future__ import annotations

import argparse
import json
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
ITEMS = 32  # of the list for infer_batch
WEIGHTS = 2 * 512 * 1024
SECONDS = 0.1  # of one round of one batch
SCALE = np.float32(0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--optimization-level", default="basic")
    parser.add_argument("--core", type=Path, help="the program bench_network")
    arguments = parser.parse_args()

    random = np.random.default_rng(1)
    first, second = (
        random.integers(-1, 2, shape, dtype=np.int8) for shape in ((1024, 512), (512, 1024))
    )
    layers = [BitLinear(first, SCALE), ReLU(), BitLinear(second, SCALE)]
    model = tritium.build_model(layers, input_shape=(512,))
    engine = tritium.InferenceEngine(
        threads=arguments.threads, optimization_level=arguments.optimization_level
    )
    x = random.standard_normal((max(BATCHES), 512)).astype(np.float32)
    check(engine.infer(model, x), x, first, second)

    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        str(batch): (batch, partial(engine.infer, model, x[0] if batch == 1 else x[:batch]))
        for batch in BATCHES
    }
    calls[f"{ITEMS} x 1"] = (ITEMS, partial(engine.infer_batch, model, list(x[:ITEMS])))
    python: dict[str, list[float]] = {name: [] for name in calls}
    core: dict[str, list[float]] = {name: [] for name in calls}
    peaks: list[float] = []
    for _ in range(arguments.rounds):
        for name, (_, call) in calls.items():
            python[name].append(seconds_a_call(call))
            peaks.append(engine.core.measure_limits(1 << 20).multiply_adds_per_second)
        if arguments.core:
            seconds_of = seconds_in_core(arguments.core, arguments.threads)
            for name, (batch, _) in calls.items():
                core[name].append(seconds_of[batch])

    plan = engine.plan(model)
    print(f"kernel set {engine.kernel_set}, {engine.threads} threads, ", end="")
    print(
        f"level {arguments.optimization_level}: {len(plan.steps)} steps, {plan.ternary_format}, ",
        end="",
    )
    print(f"{plan.estimated_memory:,} bytes; the fastest of {arguments.rounds} rounds")
    print(" batch  Python us  inferences/s  of peak   C++ us  more us   more")
    for name, (batch, _) in calls.items():
        ours = min(python[name])
        line = f"{name:>6} {ours * 1e6:>10.2f} {batch / ours:>13,.0f} "
        line += f"{batch * WEIGHTS / ours / max(peaks):>8.1%}"
        if arguments.core:
            theirs = min(core[name])
            line += f" {theirs * 1e6:>8.2f} {(ours - theirs) * 1e6:>8.2f} {ours / theirs - 1:>6.1%}"
        print(line)


def seconds_a_call(call: Callable[[], Any]) -> float:
    """Mean over a round."""
    call()
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS:
        for _ in range(10):
            call()
        calls += 10
    return passed / calls


def seconds_in_core(program: Path, threads: int) -> dict[int, float]:
    """By batch the mean over a round."""
    batches = "|".join(map(str, BATCHES))
    done = subprocess.run(
        [
            program,
            f"--benchmark_filter=threads:{threads}/samples:({batches})/",
            f"--benchmark_min_time={SECONDS}",
            "--benchmark_format=json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    times = [run["real_time"] * 1e-6 for run in json.loads(done.stdout)["benchmarks"]]
    return dict(zip(BATCHES, times, strict=True))


def check(y: np.ndarray, x: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    def layer(x: np.ndarray, trits: np.ndarray) -> np.ndarray:
        absmax = np.maximum(np.abs(x).max(axis=1), np.float32(1e-5))[:, None]
        q = np.rint(x * ((np.float32(1) / absmax) * np.float32(127)))
        sums = (q.astype(np.float64) @ trits.T.astype(np.float64)).astype(np.float32)
        return sums * (SCALE * (absmax / np.float32(127)))

    np.testing.assert_array_equal(y, layer(np.maximum(layer(x, first), 0), second))


if __name__ == "__main__":
    main()
