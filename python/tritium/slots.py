"""Who holds which sequence of a session?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import _core
from .errors import BatchProcessingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TOKENS_PER_STEP = 256
"""More are fed in several steps: between two steps an interrupt gets its turn."""


class Slot:
    """One open sequence. It is given back by `close`, or when nobody holds the slot any more."""

    def __init__(self, slots: Slots, sampling: _core.Sampling | None) -> None:
        self._slots = slots
        self._opened: list[int] = []
        # An interrupt may come after any line; `extend` has stored the id before that.
        self._opened.extend(map(slots.session.open, (sampling,)))

    @property
    def sequence(self) -> int:
        """The core's id of the sequence."""
        return self._opened[0]

    def close(self) -> None:
        """Give the sequence back. Its memory is free at once. May be called again."""
        if self._opened:
            self._slots.release(self._opened[0])
            self._opened.clear()

    def __del__(self) -> None:
        if hasattr(self, "_opened"):  # an interrupt may end even __init__
            self.close()


class Slots:
    """The sequences of one session. Where all are taken, the next caller waits for one."""

    def __init__(self, session: _core.Session, limit: int) -> None:
        self.session = session
        self.limit = limit
        self._owners: dict[int, int] = {}  # sequence -> thread that opened it
        self._changed = threading.Condition()

    @property
    def open_count(self) -> int:
        return len(self._owners)

    def try_open(self, sampling: _core.Sampling | None = None) -> Slot | None:
        """A new sequence, or None if all are taken."""
        self.session.check_process()  # after fork() the lock may be held by a thread that is gone
        with self._changed:
            if len(self._owners) >= self.limit:
                return None
            slot = Slot(self, sampling)
            self._owners[slot.sequence] = threading.get_ident()
            return slot

    def open(
        self, sampling: _core.Sampling | None = None, *, check: Callable[[], None] = lambda: None
    ) -> Slot:
        """A new sequence; waits while all are taken. `check` is called now and then and may raise.

        BatchProcessingError if this thread itself holds them all, since then nobody else can free
        one.
        """
        me = threading.get_ident()
        while True:
            check()
            self.session.check_process()
            with self._changed:
                slot = self.try_open(sampling)
                if slot is not None:
                    return slot
                if all(owner == me for owner in list(self._owners.values())):
                    raise BatchProcessingError(
                        f"[session] this thread has {self.open_count} unfinished sequences open, "
                        f"the limit is {self.limit}: finish or close one first"
                    )
                self._changed.wait(timeout=0.1)

    def release(self, sequence: int) -> None:
        """Close a sequence and wake who waits for one. Twice is fine: no id is used again."""
        self.session.close(sequence)
        with self._changed:
            self._owners.pop(sequence, None)
            self._changed.notify_all()


class FedSequence:
    """One sequence whose tokens the caller feeds."""

    def __init__(self, slots: Slots, check: Callable[[], None]) -> None:
        self._slots = slots
        self._slot = slots.open(check=check)

    def feed(self, token_ids: Sequence[int]) -> None:
        """Feed tokens and compute no logits."""
        for start in range(0, len(token_ids), _TOKENS_PER_STEP):
            piece = token_ids[start : start + _TOKENS_PER_STEP]
            self._slots.session.step([(self._slot.sequence, piece, False)])

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Feed tokens (tokens,); the logits after each: float32 (tokens, vocab_size)."""
        return self._slots.session.logits(self._slot.sequence, token_ids)

    def __enter__(self) -> FedSequence:
        return self

    def __exit__(self, *exception: object) -> None:
        self._slot.close()
