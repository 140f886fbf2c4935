"""How well does a model foresee a text?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources

import numpy as np

from .errors import BatchProcessingError, ModelLoadError
from .llm import LLM

DEFAULT_WINDOW = 512
_LOGITS_BYTES = 32 << 20


@dataclass(frozen=True)
class Perplexity:
    """How likely a model finds a text."""

    token_perplexity: float
    """exp(negative log-probability / tokens)."""
    byte_perplexity: float
    """exp(negative log-probability / bytes): comparable between tokenizers."""
    negative_log_probability: float
    """In nats, of all scored tokens together, summed in double precision."""
    tokens: int
    """Scored tokens: all but the first, which has nothing before it."""
    bytes: int
    """UTF-8 bytes of the text of the scored tokens."""
    window: int
    stride: int

    def as_dict(self) -> dict[str, float | int]:
        """For JSON."""
        return asdict(self)


def measure_perplexity(
    llm: LLM,
    text: str,
    *,
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Perplexity:
    """The perplexity of `text`.

    The text is cut into windows of `window` tokens (default 512, or the context if that is less)
    that begin `stride` tokens apart (default half a window). Each window is fed from nothing, and
    of its tokens those are scored that no earlier window has scored, so each has at least `window -
    stride` tokens before it, save at the beginning of the text. `progress` is called with the
    numbers of scored tokens and of all.

    BatchProcessingError if the text has fewer than two tokens or the sizes are out of range,
    ModelLoadError without a tokenizer.
    """
    tokenizer = llm.tokenizer
    if tokenizer is None:
        raise ModelLoadError(f"[perplexity] {llm.model.name} has no tokenizer to read a text with")
    window = min(DEFAULT_WINDOW, llm.context_size) if window is None else window
    _check("window", window, 2, llm.context_size)
    stride = max(1, window // 2) if stride is None else stride
    _check("stride", stride, 1, window - 1)
    ids = tokenizer.encode(text)
    if len(ids) < 2:
        raise BatchProcessingError(f"[perplexity] {len(ids)} tokens given, at least 2 are needed")
    unscored = len(tokenizer.decode(ids[:1]).encode("utf-8"))  # 0 for a begin token
    total, done = 0.0, 0
    for begin, end, scored in windows(len(ids), window, stride):
        for part in _negative_log_probabilities(llm, ids[begin:end], scored - begin):
            total += math.fsum(part)
            done += len(part)
            progress(done, len(ids) - 1)
    size = len(text.encode("utf-8")) - unscored
    return Perplexity(
        token_perplexity=_exp(total / done),
        byte_perplexity=_exp(total / max(size, 1)),
        negative_log_probability=total,
        tokens=done,
        bytes=size,
        window=window,
        stride=stride,
    )


def windows(tokens: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first scored token) of each window over `tokens` tokens."""
    scored = 1
    for begin in range(0, tokens, stride):
        end = min(begin + window, tokens)
        yield begin, end, scored
        if end == tokens:
            return
        scored = end


def bundled_text() -> str:
    """The text that `tritium doctor` measures, written for this package."""
    file = resources.files(__package__) / "text" / "perplexity.txt"
    return file.read_text("utf-8")


def _negative_log_probabilities(llm: LLM, ids: Sequence[int], first: int) -> Iterator[list[float]]:
    """In nats, of ids[first:] each after those before it, piece by piece."""
    rows = max(1, _LOGITS_BYTES // (4 * llm.model.config.vocab_size))
    with llm.open_sequence() as sequence:
        if first > 1:
            sequence.feed(ids[: first - 1])
        for start in range(max(first, 1) - 1, len(ids) - 1, rows):
            end = min(start + rows, len(ids) - 1)
            logits = sequence.logits(ids[start:end]).astype(np.float64)
            best = logits.max(axis=1)
            log_sum = best + np.log(np.exp(logits - best[:, None]).sum(axis=1))
            chosen = logits[np.arange(end - start), ids[start + 1 : end + 1]]
            yield (log_sum - chosen).tolist()


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf


def _check(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BatchProcessingError(
            f"[perplexity] {name} is {value!r}, must be an integer in [{low}, {high}]"
        )
