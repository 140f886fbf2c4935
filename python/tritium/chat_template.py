"""How is an untrusted chat template rendered within bounded time and memory?"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .errors import BatchProcessingError, ModelLoadError

MAX_TEMPLATE_BYTES = 256 << 10
MAX_OUTPUT_CHARACTERS = 4 << 20
RENDER_SECONDS = 2.0
RENDER_MEMORY = 40 << 20
"""Bytes by which the rendering process may grow."""
_START_SECONDS = 60.0

_WORKER = Path(__file__).with_name("render_template.py")


class ChatTemplate:
    """A Jinja template of a checkpoint, rendered in a process of its own.

    The process starts with the first rendering and then waits for the next, so one rendering costs
    about a millisecond. If it takes longer than RENDER_SECONDS it is killed; the next rendering
    starts another. Several threads may use a template; their renderings take turns.
    """

    def __init__(self, text: str, where: str) -> None:
        """`where` opens every message: the file that the template comes from.

        ModelLoadError if the template is longer than MAX_TEMPLATE_BYTES.
        """
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_TEMPLATE_BYTES:
            raise ModelLoadError(
                f"[chat template] {where}: {size} bytes, expected at most {MAX_TEMPLATE_BYTES}"
            )
        self._text = text
        self._where = where
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def render(self, variables: dict[str, Any]) -> str:
        """The text that the template makes of `variables`, which must be JSON.

        ModelLoadError with the line for a template that is not one, BatchProcessingError with the
        line where rendering these variables fails, takes longer than RENDER_SECONDS, needs more
        than RENDER_MEMORY, or gives more than MAX_OUTPUT_CHARACTERS.
        """
        with self._lock:
            worker = self._worker
            if worker is None or not worker.is_ours():
                worker = self._start()
            try:
                answer = worker.ask(
                    {"variables": variables, "most_characters": MAX_OUTPUT_CHARACTERS},
                    RENDER_SECONDS,
                )
            except _WorkerEnded as ended:
                self._drop()
                raise BatchProcessingError(self._message(str(ended), None)) from None
            except BaseException:  # interrupted
                self._drop()
                raise
            if "error" in answer:
                raise BatchProcessingError(self._message(answer["error"], answer["line"]))
            return answer["text"]

    def close(self) -> None:
        """End the process. A later rendering starts another."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        if getattr(self, "_worker", None) is not None:
            self._drop()

    def _start(self) -> _Worker:
        self._drop()
        worker = self._worker = _Worker()
        try:
            worker.ask({"path": sys.path, "memory_bytes": RENDER_MEMORY}, _START_SECONDS)
            answer = worker.ask({"template": self._text}, RENDER_SECONDS)
        except _WorkerEnded as ended:
            self._drop()
            raise ModelLoadError(self._message(str(ended), None)) from None
        except BaseException:
            self._drop()
            raise
        if "error" in answer:
            self._drop()
            raise ModelLoadError(self._message(answer["error"], answer["line"]))
        return worker

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _message(self, text: str, line: int | None) -> str:
        place = self._where if line is None else f"{self._where}, line {line}"
        return f"[chat template] {place}: {' '.join(text.split())}"


class _WorkerEnded(Exception):
    """The process gave no answer."""


class _Worker:
    """One process that renders."""

    def __init__(self) -> None:
        if not sys.executable:
            raise ModelLoadError(
                "[chat template] this Python does not know its own program (sys.executable), so no "
                "template can be rendered; write the prompt yourself and use generate"
            )
        self._owner = os.getpid()
        # Without site, and with this process's path: exactly the jinja2 that is used here.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
            # An interrupt at the terminal is for this process alone.
            start_new_session=os.name != "nt",
        )

    def is_ours(self) -> bool:
        """False in the child after fork(): two processes cannot talk over one pipe."""
        return self._owner == os.getpid()

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer. _WorkerEnded, with the process killed, if there is none in time."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        except BaseException:  # interrupted: the answer would be taken for that of the next request
            self._process.kill()
            raise
        finally:
            timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        self._process.kill()
        raise _WorkerEnded(
            f"takes longer than {seconds:g} seconds" if late.is_set() else "ends its process"
        )

    def end(self) -> None:
        if not self.is_ours():
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not written yet goes nowhere
                if pipe is not None:
                    pipe.close()
