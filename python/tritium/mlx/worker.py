"""In which thread does MLX work?

In one for the whole process: what mx.compile has compiled and the streams belong to a thread. It
never ends, for MLX asks for the interpreter when it frees what was compiled in a thread that ends,
and a process that is ending would abort there.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from ..errors import DeviceError

_Result = TypeVar("_Result")

_process = os.getpid()
_calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
_running = threading.Lock()
_started = threading.Lock()


def check_process() -> None:
    """DeviceError in a child of the process that has started MLX."""
    if os.getpid() != _process:
        raise DeviceError(
            f"[mlx] MLX was started by process {_process} and does not work in its child "
            f"{os.getpid()}, which fork() made"
        )


def run(work: Callable[[], _Result]) -> _Result:
    """What work() gives, or raises, after the calls that came before. An interrupt waits for its
    end.
    """
    if _started.acquire(blocking=False):
        threading.Thread(target=_work, name="tritium-mlx", daemon=True).start()
        atexit.register(_running.acquire)  # lets the present call end, and no other begin
    future: Future[_Result] = Future()
    _calls.put((future, work))
    try:
        return future.result()
    except BaseException:
        wait([future])
        raise


def _work() -> None:
    while True:
        future, work = _calls.get()
        with _running:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del future, work  # their memory, while nothing else is to be done
