"""What does a caller get back, and where does a text end?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import BatchProcessingError
from .tokenizer import Detokenizer

FinishReason = Literal["stop", "length", "stop_string"]
"""The model's end token, the token or context limit, or a stop string."""


@dataclass(frozen=True)
class TokenLogprob:
    """Natural log-probabilities at one generated position."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token id, log-probability) of the likeliest tokens, best first."""


@dataclass(frozen=True)
class Timings:
    """Where the time of one request went. Seconds are wall time."""

    prompt_tokens: int
    generated_tokens: int
    prefill_seconds: float
    """In the steps that fed the prompt; the last of them gives the first token."""
    decode_seconds: float
    """In the steps that gave all further tokens."""
    time_to_first_token: float
    """From the request to the first token, waiting for a free sequence included."""
    held_tokens: int = 0
    """Of the prompt tokens, those that were not fed because the sequence held them already."""

    @property
    def prefill_tokens_per_second(self) -> float:
        return _rate(self.prompt_tokens - self.held_tokens, self.prefill_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        return _rate(self.generated_tokens - 1, self.decode_seconds)


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if tokens > 0 and seconds > 0 else 0.0


@dataclass(frozen=True)
class TextChunk:
    """A piece of a growing answer. Joined texts and token ids are the whole answer."""

    text: str
    """Whole characters, never a part of one. Empty where the model has no tokenizer."""
    token_ids: tuple[int, ...]
    """Tokens generated since the last chunk, the end token included."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One for each of `token_ids` if they were asked for."""
    finish_reason: FinishReason | None = None
    """Set on the last chunk only, like `timings`."""
    timings: Timings | None = None


@dataclass(frozen=True)
class GenerationResult:
    """A finished answer."""

    text: str
    token_ids: list[int]
    """Every generated token: also the end token, and those of a stop string that `text` leaves out.
    """
    finish_reason: FinishReason
    prompt_tokens: int
    timings: Timings
    logprobs: list[TokenLogprob] | None = None
    """One for each of `token_ids` if they were asked for."""


def join(chunks: Iterable[TextChunk]) -> GenerationResult:
    """The whole answer from all of its chunks."""
    text: list[str] = []
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] = []
    last = None
    for last in chunks:
        text.append(last.text)
        token_ids.extend(last.token_ids)
        logprobs.extend(last.logprobs or ())
    if last is None or last.finish_reason is None or last.timings is None:
        raise BatchProcessingError("[join] the chunks end before the answer does")
    return GenerationResult(
        text="".join(text),
        token_ids=token_ids,
        finish_reason=last.finish_reason,
        prompt_tokens=last.timings.prompt_tokens,
        timings=last.timings,
        logprobs=None if last.logprobs is None else logprobs,
    )


class StopStrings:
    """Finds the first of some strings in a text that arrives in pieces.

    What could still become a stop string is held back; how the text is cut into pieces changes
    nothing.
    """

    def __init__(self, strings: Sequence[str] = ()) -> None:
        self._strings = tuple(strings)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(text that is free to go, whether a stop string was found). The stop string itself is
        never given.
        """
        self._held += text
        ends = [
            (start + len(s), start) for s in self._strings if (start := self._held.find(s)) >= 0
        ]
        if ends:
            _, start = min(ends)
            free, self._held = self._held[:start], ""
            return free, True
        keep = max((_overlap(self._held, s) for s in self._strings), default=0)
        cut = len(self._held) - keep
        free, self._held = self._held[:cut], self._held[cut:]
        return free, False

    def flush(self) -> str:
        """What is held back, at the end of the text."""
        free, self._held = self._held, ""
        return free


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins, shorter than `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class TextBuilder:
    """Tokens to text for one answer: whole characters only, up to a stop string."""

    def __init__(self, detokenizer: Detokenizer | None, stop: Sequence[str] = ()) -> None:
        self._detokenizer = detokenizer
        self._stop = StopStrings(stop)

    def push(self, token: int) -> tuple[str, bool]:
        """(new text, whether a stop string ended it)."""
        if self._detokenizer is None:
            return "", False
        return self._stop.push(self._detokenizer.push(token))

    def flush(self) -> tuple[str, bool]:
        """What is still held back, at the end of the answer."""
        if self._detokenizer is None:
            return "", False
        text, found = self._stop.push(self._detokenizer.flush())
        return (text, True) if found else (text + self._stop.flush(), False)
