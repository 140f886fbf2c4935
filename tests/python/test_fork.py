"""After fork() a child gets an error where it would else wait for threads that it does not have."""

from __future__ import annotations

import multiprocessing
import os
import sys

import pytest

import tritium

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
