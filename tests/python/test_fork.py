"""After fork() a child gets an error where it would else wait for threads that it does not have."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import tritium
from tritium import _core
from tritium.layers import BitLinear

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


def _child(llm: tritium.LLM, results: multiprocessing.Queue) -> None:
    try:
        llm.generate("Once", max_tokens=1)
    except tritium.DeviceError as error:
        results.put(str(error))
    else:
        results.put("no error")


@pytest.mark.filterwarnings("ignore:This process")  # fork() beside threads is what is tested
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_gets_a_device_error_and_the_parent_goes_on(threads: int) -> None:
    context = multiprocessing.get_context("fork")
    with tritium.LLM(threads=threads) as llm:
        before = llm.generate("Once", max_tokens=3).token_ids
        results = context.Queue()
        process = context.Process(target=_child, args=(llm, results))
        process.start()
        message = results.get(timeout=60)
        process.join(timeout=60)
        assert "cannot be used in its child" in message
        assert process.exitcode == 0
        assert llm.generate("Once", max_tokens=3).token_ids == before


def test_a_forked_child_can_make_an_engine_of_its_own() -> None:
    with tritium.LLM(threads=2) as llm:
        expected = llm.generate("Once", max_tokens=3).token_ids
        sys.stdout.flush()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            with tritium.LLM(threads=2) as own:
                os.write(write, repr(own.generate("Once", max_tokens=3).token_ids).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pipe.read().decode() == repr(expected)
        assert os.waitpid(child, 0)[1] == 0


def _network() -> tritium.Model:
    weight = np.random.default_rng(0).integers(-1, 2, (2000, 500), dtype=np.int8)
    return tritium.build_model([BitLinear(weight, 0.1)], input_shape=(500,))


CALLS: dict[str, Callable[[tritium.InferenceEngine, tritium.Model], object]] = {
    "infer": lambda engine, model: engine.infer(model, np.zeros(500)),
    "infer_batch": lambda engine, model: engine.infer_batch(model, [np.zeros(500)]),
    "plan": lambda engine, model: engine.plan(model),
    "memory_usage": lambda engine, model: engine.memory_usage(),
    "release": lambda engine, model: engine.release(model),
    "release all": lambda engine, model: engine.release(),
    "limits": lambda engine, model: engine.core.measure_limits(1 << 20),
    "LLM": lambda engine, model: _core.Session(engine.core, tritium.load().core),
}


def _in_child(action: Callable[[], str]) -> str:
    """What the action says in a child made by fork(), which then ends as a program does."""
    sys.stdout.flush()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, action().encode())
            gc.collect()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], 60)
        if not ready:
            os.kill(child, 9)
        said = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return said


# The child is made while other threads are in the middle of calls and hold every lock in turn.
@pytest.mark.filterwarnings("ignore:This process")
def test_every_call_of_an_engine_in_use_is_a_device_error_in_the_child() -> None:
    engines = [tritium.InferenceEngine.builder().threads(2).build()]
    models = [_network(), _network()]
    done = threading.Event()

    def work(model: tritium.Model) -> None:
        while not done.is_set():
            engines[0].infer(model, np.zeros((40, 500)))
            engines[0].memory_usage()
            engines[0].release(model)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()

    def call_all() -> str:
        said = []
        for name, call in CALLS.items():
            try:
                call(engines[0], models[0])
            except tritium.DeviceError as error:
                said.append("refused" if "in its child" in str(error) else str(error))
            else:
                said.append(f"{name}: no error")
        engines.clear()  # destroyed in the child, too
        models.clear()
        return ",".join(said)

    try:
        for _ in range(20):
            assert _in_child(call_all) == ",".join(["refused"] * len(CALLS))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert engines[0].infer(models[0], np.zeros(500)).shape == (2000,)


@pytest.mark.filterwarnings("ignore:This process")
def test_a_language_model_in_use_is_a_device_error_in_the_child() -> None:
    with tritium.LLM(threads=2, max_sequences=2) as llm:
        done = threading.Event()

        def work() -> None:
            while not done.is_set():
                llm.generate("Once", max_tokens=2)

        def generate() -> str:
            try:
                llm.generate("Once", max_tokens=2)
            except tritium.DeviceError:
                return "refused"
            return "no error"

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert [_in_child(generate) for _ in range(20)] == ["refused"] * 20
        finally:
            done.set()
            for thread in threads:
                thread.join()
