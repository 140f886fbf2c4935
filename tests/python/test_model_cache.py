"""Does the cache of models load each once, keep what is in use, and stay within its limits?"""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tritium
from tritium.layers import BitLinear

BYTES = 30 * 20 + 4  # trits and a scale


def network() -> tritium.Model:
    weight = np.random.default_rng(0).integers(-1, 2, (30, 20), dtype=np.int8)
    return tritium.build_model([BitLinear(weight, 0.5)], input_shape=(20,))


def test_a_model_is_loaded_once_and_given_as_it_is():
    cache = tritium.ModelCache(2, 10_000)
    model = cache.get_or_load("a", network)
    assert isinstance(model, tritium.Model)
    assert cache.get_or_load("a", lambda: pytest.fail("loaded again")) is model
    assert "a" in cache
    assert "b" not in cache
    assert len(cache) == 1
    statistics = cache.statistics
    assert (statistics.hits, statistics.misses, statistics.evictions) == (1, 1, 0)
    assert (statistics.entries, statistics.bytes) == (1, BYTES)
    assert "1 hits, 1 misses, 0 evictions" in repr(statistics)


def test_a_language_model_stays_one():
    cache = tritium.ModelCache(2, 1 << 30)
    model = cache.get_or_load("demo", tritium.load)
    assert isinstance(model, tritium.LanguageModel)
    assert cache.statistics.bytes >= model.folder.joinpath("model.safetensors").stat().st_size * 0.9


def test_those_used_longest_ago_make_room():
    cache = tritium.ModelCache(2, 10_000)
    for key in "abac":
        cache.get_or_load(key, network)
    assert [key in cache for key in "abc"] == [True, False, True]
    by_bytes = tritium.ModelCache(100, 3 * BYTES)
    for key in "abcd":
        by_bytes.get_or_load(key, network)
    assert [key in by_bytes for key in "abcd"] == [False, True, True, True]
    assert by_bytes.statistics.bytes == 3 * BYTES


def test_what_is_evicted_is_gone():
    cache = tritium.ModelCache(1, 10_000)
    freed = threading.Event()

    class Watched(tritium.Model):
        def __del__(self) -> None:
            freed.set()

    cache.get_or_load("a", lambda: Watched(network().core, "watched"))
    assert not freed.is_set()
    cache.get_or_load("b", network)
    gc.collect()
    assert freed.is_set()


def test_a_model_that_a_variable_or_one_of_its_core_holds_stays():
    def by_variable(model):
        return model

    def by_core(model):
        return model.core

    for hold in (by_variable, by_core):
        cache = tritium.ModelCache(1, 10_000)
        held = hold(cache.get_or_load("a", network))
        with pytest.raises(
            tritium.MemoryLimitError,
            match="'b' has 604 bytes; 10000 bytes and 1 models",
        ):
            cache.get_or_load("b", network)
        assert "a" in cache
        del held
        gc.collect()
        cache.get_or_load("b", network)
        assert "a" not in cache


def test_what_cannot_fit_is_refused():
    cache = tritium.ModelCache(2, BYTES - 1)
    with pytest.raises(tritium.MemoryLimitError, match="'a' has 604 bytes; 603 bytes"):
        cache.get_or_load("a", network)
    assert len(cache) == 0
    for capacity, memory in ((0, 1), (1, 0), (-1, 5), (5, -1)):
        with pytest.raises(tritium.MemoryLimitError, match="must be at least 1"):
            tritium.ModelCache(capacity, memory)


def test_concurrent_callers_wait_for_one_load_while_others_work():
    cache = tritium.ModelCache(8, 1 << 20)
    loads: list[str] = []

    def load(key: str) -> tritium.Model:
        loads.append(key)
        time.sleep(0.02)
        return network()

    def work(place: int) -> bool:
        same = True
        for step in range(20):
            key = "abc"[(place + step) % 3]
            model = cache.get_or_load(key, lambda key=key: load(key))
            same = same and cache.get_or_load(key, network) is model and len(cache) <= 3
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sorted(loads) == ["a", "b", "c"]


def test_evictions_from_many_threads_neither_hang_nor_lose_a_model():
    cache = tritium.ModelCache(12, 1 << 20)
    engine = tritium.InferenceEngine(threads=1)
    x = np.ones(20)
    expected = engine.infer(network(), x)

    def work(place: int) -> bool:
        return all(
            np.array_equal(
                engine.infer(cache.get_or_load(str((place * step) % 17), network), x), expected
            )
            for step in range(100)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert len(cache) <= 12


def test_a_failure_reaches_all_that_wait_and_is_not_kept():
    cache = tritium.ModelCache(2, 10_000)
    started, go = threading.Event(), threading.Event()

    def fail() -> tritium.Model:
        started.set()
        go.wait(10)
        raise KeyError("no such model")

    def attempt() -> str:
        try:
            cache.get_or_load("a", fail)
        except KeyError as error:
            return str(error)
        return "no error"

    with ThreadPoolExecutor(4) as pool:
        attempts = [pool.submit(attempt) for _ in range(4)]
        started.wait(10)
        time.sleep(0.05)
        go.set()
        assert [each.result(10) for each in attempts] == ["'no such model'"] * 4
    assert "a" not in cache
    assert isinstance(cache.get_or_load("a", network), tritium.Model)


def test_what_is_no_model_is_a_type_error():
    cache = tritium.ModelCache(2, 10_000)
    for wrong in (None, 5, "model", network().core):
        with pytest.raises(TypeError, match=r"load must return a tritium.Model"):
            cache.get_or_load("a", lambda wrong=wrong: wrong)
    assert len(cache) == 0


def test_a_load_that_asks_for_its_own_key_is_an_error():
    cache = tritium.ModelCache(2, 10_000)
    with pytest.raises(tritium.ModelLoadError, match="loading 'a' asks the cache for 'a'"):
        cache.get_or_load("a", lambda: cache.get_or_load("a", network))


def test_it_forgets_and_models_live_on():
    cache = tritium.ModelCache(2, 10_000)
    model = cache.get_or_load("a", network)
    cache.clear()
    assert len(cache) == 0
    assert cache.statistics.bytes == 0
    assert model.output_shape == (30,)
    assert cache.get_or_load("a", network) is not model
