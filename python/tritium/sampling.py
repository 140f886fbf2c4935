"""How is the next token chosen?"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

from . import _core
from .errors import BatchProcessingError

_SEED_LIMIT = 2**63


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is drawn from the logits. The default is greedy: the likeliest token.

    BatchProcessingError for a value outside its range; the message gives name, value and range.
    """

    temperature: float = 0.0
    """Divides the logits, >= 0. At 0 the likeliest token is taken and nothing is random."""
    top_k: int = 0
    """Draw from the k likeliest tokens only, >= 0. 0 means all."""
    top_p: float = 1.0
    """Draw from the fewest likeliest tokens whose probabilities reach this sum, in (0, 1]."""
    min_p: float = 0.0
    """Drop tokens less probable than this share of the likeliest token's probability, in [0, 1]."""
    repetition_penalty: float = 1.0
    """Weakens tokens seen in the last `repetition_window` tokens, > 0. 1 changes nothing."""
    repetition_window: int = 64
    """Number of latest tokens that the penalty looks at, >= 0."""
    seed: int | None = None
    """In [0, 2**63): the same seed gives the same tokens. None takes a random one."""
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    """Added to logits, by token id; -inf forbids a token. Applied after the repetition penalty and
    before the temperature; top_k, top_p and min_p follow in this order."""

    def __post_init__(self) -> None:
        self._check_real("temperature", lambda x: x >= 0, "a finite number >= 0")
        self._check_integer("top_k", "an integer >= 0")
        self._check_real("top_p", lambda x: 0 < x <= 1, "a number in (0, 1]")
        self._check_real("min_p", lambda x: 0 <= x <= 1, "a number in [0, 1]")
        self._check_real("repetition_penalty", lambda x: x > 0, "a finite number > 0")
        self._check_integer("repetition_window", "an integer >= 0")
        if self.seed is not None:
            self._check_integer("seed", "None or an integer in [0, 2**63)", _SEED_LIMIT)
        self._check_bias()

    def _check_real(self, name: str, fits: Callable[[float], bool], allowed: str) -> None:
        value = getattr(self, name)
        is_real = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_real and math.isfinite(value) and fits(value)):
            self._reject(name, allowed)

    def _check_integer(self, name: str, allowed: str, limit: int = 2**31) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
            self._reject(name, allowed)

    def _check_bias(self) -> None:
        allowed = "a mapping of token ids >= 0 to numbers, finite or -inf"
        if not isinstance(self.logit_bias, Mapping):
            self._reject("logit_bias", allowed)
        for token, bias in self.logit_bias.items():
            is_id = isinstance(token, Integral) and not isinstance(token, bool)
            is_real = isinstance(bias, Real) and not isinstance(bias, bool)
            if not (is_id and 0 <= token < 2**31 and is_real and bias < math.inf):
                self._reject("logit_bias", allowed)
        # Later changes of the caller's mapping are not ours.
        object.__setattr__(self, "logit_bias", dict(self.logit_bias))

    def check_ids(self, vocab_size: int) -> None:
        """BatchProcessingError if `logit_bias` holds an id outside [0, vocab_size)."""
        for token in self.logit_bias:
            if token >= vocab_size:
                raise BatchProcessingError(
                    f"[sampling] logit_bias holds token id {token}, which lies outside "
                    f"[0, {vocab_size})"
                )

    def _reject(self, name: str, allowed: str) -> None:
        raise BatchProcessingError(
            f"[sampling] {name} is {getattr(self, name)!r}, must be {allowed}"
        )

    def to_core(self, *, logprobs: int | None = None) -> _core.Sampling:
        """The core's form. `logprobs`: None for none, n for the chosen token's and the n best
        tokens'.
        """
        return _core.Sampling(
            temperature=float(self.temperature),
            top_k=self.top_k,
            top_p=float(self.top_p),
            min_p=float(self.min_p),
            repetition_penalty=float(self.repetition_penalty),
            repetition_window=self.repetition_window,
            seed=secrets.randbelow(_SEED_LIMIT) if self.seed is None else self.seed,
            logprobs=-1 if logprobs is None else logprobs,
            logit_bias={int(token): float(bias) for token, bias in self.logit_bias.items()},
        )
