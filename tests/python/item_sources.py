"""A small network, and engines and producers that say what happens to them."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tritium
from tritium.layers import BitLinear, ReLU

INPUTS, OUTPUTS = 24, 9


class WatchedEngine(tritium.InferenceEngine):
    """Notes the sizes of the batches that it is given, and does more if told."""

    def __init__(self, before: Callable[[np.ndarray], None] = lambda x: None) -> None:
        super().__init__(threads=1)
        self.sizes: list[int] = []
        self.before = before

    def infer(self, model: tritium.Model, x: Any) -> np.ndarray:
        self.sizes.append(1 if x.ndim == 1 else len(x))
        self.before(x)
        return super().infer(model, x)


class Producer:
    """Endless samples, all n in the n-th; knows how many it has given."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.given = 0
        self._fails_at = fails_at

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self.given == self._fails_at:
            raise OSError("the source broke")
        self.given += 1
        return np.full(INPUTS, self.given, np.float32)

    def __aiter__(self) -> AsyncIterator[np.ndarray]:
        return self

    async def __anext__(self) -> np.ndarray:
        return next(self)


def make_network() -> tritium.Model:
    random = np.random.default_rng(1)
    first, second = (
        random.integers(-1, 2, shape, dtype=np.int8) for shape in ((40, INPUTS), (OUTPUTS, 40))
    )
    layers = [BitLinear(first, 0.5), ReLU(), BitLinear(second, 0.25)]
    return tritium.build_model(layers, input_shape=(INPUTS,))


def samples(count: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, INPUTS)).astype(np.float32)


@pytest.fixture(name="model", scope="module")
def model_fixture() -> tritium.Model:
    return make_network()


@pytest.fixture(name="engine")
def engine_fixture() -> tritium.InferenceEngine:
    return tritium.InferenceEngine(threads=1)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before
