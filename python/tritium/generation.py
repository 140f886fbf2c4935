"""Which sequence is fed what, step by step, until every request has its answer?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from . import _core
from .slots import Slot, Slots
from .streaming import FinishReason, TextBuilder, TextChunk, Timings, TokenLogprob

PROMPT_TOKENS_PER_STEP = 256
"""More are fed in several steps: between two steps an interrupt or a cancellation gets its turn."""


@dataclass(frozen=True)
class Request:
    """One checked request: everything fits the model and the context."""

    prompt: list[int]  # (tokens,), at least one
    max_tokens: int  # how many the context still takes at most
    sampling: _core.Sampling
    end_ids: frozenset[int]
    text: Callable[[], TextBuilder]
    emits_text: bool  # False: every token is a chunk
    wants_logprobs: bool
    started: float  # time.perf_counter() when it came


class _Running:
    """One request and how far it has come."""

    def __init__(
        self, index: int, request: Request, slot: Slot, *, held: int = 0, keeps_slot: bool = False
    ) -> None:
        self.index = index
        self.request = request
        self.slot = slot
        self.keeps_slot = keeps_slot
        self.finished = False
        self._held = held  # tokens of the prompt that were in the cache already
        self._fed = held  # tokens of the prompt in the cache
        self._last: int | None = None  # generated, not yet fed
        self._text = request.text()
        self._generated = 0
        self._token_ids: list[int] = []  # since the last chunk
        self._logprobs: list[TokenLogprob] = []  # since the last chunk
        self._prefill_seconds = 0.0
        self._decode_seconds = 0.0
        self._first_token = 0.0

    def next_feed(self, budget: int) -> tuple[list[int], bool]:
        """(token ids to feed, whether to sample after them): at most `budget` of the prompt, or the
        last token.
        """
        if self._last is not None:
            return [self._last], True
        end = min(self._fed + budget, len(self.request.prompt))
        piece = self.request.prompt[self._fed : end]
        self._fed = end
        return piece, end == len(self.request.prompt)

    def advance(self, result: _core.StepResult, seconds: float) -> TextChunk | None:
        """Take what a step of `seconds` gave; the next chunk if there is something to show."""
        token = result.token
        if token is None:
            self._prefill_seconds += seconds
            return None
        if self._last is None:
            self._prefill_seconds += seconds
            self._first_token = time.perf_counter() - self.request.started
        else:
            self._decode_seconds += seconds
        self._last = token
        self._generated += 1
        self._token_ids.append(token)
        if result.logprob is not None:
            self._logprobs.append(
                TokenLogprob(token, result.logprob, tuple(result.top_logprobs or ()))
            )
        return self._chunk(*self._text_of(token))

    def _text_of(self, token: int) -> tuple[str, FinishReason | None]:
        text = ""
        reason: FinishReason | None = None
        if token in self.request.end_ids:
            reason = "stop"
        else:
            text, stopped = self._text.push(token)
            if stopped:
                return text, "stop_string"
            if self._generated == self.request.max_tokens:
                reason = "length"
        if reason is not None:
            rest, stopped = self._text.flush()
            return text + rest, "stop_string" if stopped else reason
        return text, None

    def _chunk(self, text: str, reason: FinishReason | None) -> TextChunk | None:
        self.finished = reason is not None
        if not (text or self.finished or not self.request.emits_text):
            return None
        chunk = TextChunk(
            text=text,
            token_ids=tuple(self._token_ids),
            logprobs=tuple(self._logprobs) if self.request.wants_logprobs else None,
            finish_reason=reason,
            timings=self._timings() if self.finished else None,
        )
        self._token_ids.clear()
        self._logprobs.clear()
        return chunk

    def _timings(self) -> Timings:
        return Timings(
            prompt_tokens=len(self.request.prompt),
            held_tokens=self._held,
            generated_tokens=self._generated,
            prefill_seconds=self._prefill_seconds,
            decode_seconds=self._decode_seconds,
            time_to_first_token=self._first_token,
        )


def generate_chunks(
    slots: Slots, requests: Sequence[Request], *, check: Callable[[], None] = lambda: None
) -> Generator[tuple[int, TextChunk], None, None]:
    """Run all requests together, yielding (index of the request, chunk) as text appears.

    As many requests as there are free sequences run at once, the rest follow. `check` is called
    before each step and may raise. However this generator ends, its sequences are closed.
    """
    waiting = deque(enumerate(requests))
    running: list[_Running] = []
    try:
        while waiting or running:
            check()
            _admit(slots, waiting, running, check)
            yield from _step(slots, running)
    finally:
        for entry in running:
            entry.slot.close()


def resume_chunks(
    slots: Slots,
    request: Request,
    slot: Slot,
    held: int,
    *,
    check: Callable[[], None] = lambda: None,
) -> Generator[TextChunk, None, None]:
    """Run one request in a sequence that holds the first `held` tokens of its prompt, not all.

    The sequence stays open. Without its last generated token, which was not fed, it then holds
    prompt and answer; after an interruption, the first so many of these.
    """
    running = [_Running(0, request, slot, held=held, keeps_slot=True)]
    while running:
        check()
        for _, chunk in _step(slots, running):
            yield chunk


def _admit(
    slots: Slots,
    waiting: deque[tuple[int, Request]],
    running: list[_Running],
    check: Callable[[], None],
) -> None:
    """Start waiting requests in free sequences. Waits only if nothing runs."""
    while waiting:
        index, request = waiting[0]
        if running:
            slot = slots.try_open(request.sampling)
            if slot is None:
                return
        else:
            slot = slots.open(request.sampling, check=check)
        running.append(_Running(index, request, slot))
        waiting.popleft()


def _step(slots: Slots, running: list[_Running]) -> Iterator[tuple[int, TextChunk]]:
    """One pass over the running sequences. Those that finish give their sequence back and leave."""
    budget = PROMPT_TOKENS_PER_STEP
    feeds, fed = [], []
    for entry in running:
        token_ids, sample = entry.next_feed(budget)
        if token_ids:
            feeds.append((entry.slot.sequence, token_ids, sample))
            fed.append(entry)
            budget = max(0, budget - len(token_ids))
    begin = time.perf_counter()
    results = slots.session.step(feeds)
    seconds = time.perf_counter() - begin
    chunks = []
    for entry, result in zip(fed, results, strict=True):
        chunk = entry.advance(result, seconds)
        if chunk is not None:
            chunks.append((entry.index, chunk))
        if entry.finished:
            if not entry.keeps_slot:
                entry.slot.close()
            running.remove(entry)
    yield from chunks
