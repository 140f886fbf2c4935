"""Does this installation compute what it should, on this machine?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .engine import InferenceEngine
from .errors import ModelLoadError, TritiumError
from .llm import LLM
from .perplexity import Perplexity, bundled_text, measure_perplexity
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAR_MARGIN = 0.05
"""Where the best golden logit leads by more than this share of the logits' deviation, ours must
agree.
"""
VALUE_TOLERANCE = 0.03
"""Relative rms by which stored golden logits may differ: float32 sums in another order, then int8
rounding.
"""


@dataclass(frozen=True)
class Check:
    """One question that the doctor asked."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """What the doctor found."""

    version: str
    devices: list[dict[str, Any]]
    """name (str), available (bool) and detail (str) of each kind: what it is, or why it is not
    here.
    """
    cpu_features: list[str]
    kernel_sets: list[dict[str, Any]]
    """name (str), supported (bool), selected (bool) of each set in this build, best first."""
    selected: str | None
    """The kernel set in use, or that of another device; None if none could be selected."""
    model: str | None
    """The model that was run; None if it could not be loaded."""
    chat: str | None = None
    """Where the model's chat format comes from; None for a base model."""
    perplexity: Perplexity | None = None
    """Of the bundled text, to be compared with the reference's; None if it could not be read."""
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there were checks and all of them passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True)
class GoldenCase:
    """One prompt with what the reference answered."""

    prompt: str
    prompt_ids: list[int]
    tokens: list[int]
    """Greedy answer."""
    margins: list[float]
    """Best logit minus second best, at each of `tokens`."""
    logit_std: list[float]
    """Standard deviation of the logits, at each of `tokens`."""
    logits: dict[int, float]
    """Some logits after the last prompt token, by token id."""

    def is_clear(self, position: int) -> bool:
        """Whether rounding cannot change the choice of token `position`."""
        return self.margins[position] > CLEAR_MARGIN * self.logit_std[position]


def examine(
    source: str | Path | None = None, device: str = "auto", *, fallback: bool = False
) -> Report:
    """Check every supported kernel set, then a model against the golden answers beside it.

    source: a model; default the bundled one. device, fallback: where the model runs, as in `LLM`.
    What goes wrong becomes a failed check. A model without a `golden.json` beside it is run, but
    nothing is known of its answers: compare its perplexity with what the reference gives.
    """
    sets = _core.kernel_sets()
    checks = [check_kernel_set(s) for s in sets if s.supported]
    selected, model, chat, found = None, None, None, None
    try:
        selected = InferenceEngine(device, fallback=fallback).kernel_set
        with LLM(source, device, fallback=fallback, max_sequences=1) as llm:
            model = llm.model.name
            golden = llm.model.folder / "golden.json"
            if source is None or golden.is_file():
                checks += check_model(llm, read_golden(golden))
            else:
                checks.append(check_runs(llm))
            if llm.tokenizer is not None:
                chat = _chat_source(llm)
                found = measure_perplexity(llm, bundled_text())
    except TritiumError as error:
        step = "engine" if selected is None else "model"
        checks.append(Check(step, False, f"{type(error).__name__}: {error}"))
    return Report(
        version=_core.__version__,
        devices=[
            {"name": d.name, "available": d.is_available, "detail": d.missing or d.detail}
            for d in _core.devices()
        ],
        cpu_features=_core.cpu_features(),
        kernel_sets=[
            {"name": s.name, "supported": s.supported, "selected": s.name == selected} for s in sets
        ],
        selected=selected,
        model=model,
        chat=chat,
        perplexity=found,
        checks=checks,
    )


def check_kernel_set(kernel_set: _core.KernelSet, *, seed: int = 0) -> Check:
    """Whether each kernel of a set gives the bits of the scalar one, on random problems."""
    name = f"kernels {kernel_set.name}"
    results = kernel_set.check(seed)
    problems = sum(count for _, count, _ in results)
    broken = [f"{kernel}: {difference}" for kernel, _, difference in results if difference]
    idle = [f"{kernel}: no problem was compared" for kernel, count, _ in results if count == 0]
    if broken or idle:
        return Check(name, False, "; ".join(broken + idle))
    if not results:
        return Check(name, False, "no kernel was compared")
    detail = f"{len(results)} kernels give scalar's bits on {problems} problems"
    return Check(name, True, detail)


def check_runs(llm: LLM) -> Check:
    """Whether a model of which nothing is known gives finite logits."""
    count = min(32, llm.context_size)
    logits = llm.logits([(7 * i + 1) % llm.model.config.vocab_size for i in range(count)])
    wrong = int(logits.size - np.isfinite(logits).sum())
    if wrong:
        return Check("logits", False, f"{wrong} of {logits.size} are not finite")
    return Check("logits", True, "finite; no golden.json says which are right")


def _chat_source(llm: LLM) -> str | None:
    try:
        return llm.chat_format.source
    except ModelLoadError:
        return None


def read_golden(file: Path) -> list[GoldenCase]:
    """The cases of a `golden.json`. ModelLoadError if it is missing or is none."""
    if not file.is_file():
        raise ModelLoadError(f"[golden] {file} does not exist, so nothing is known to compare with")
    try:
        cases = [_golden_case(case) for case in json.loads(file.read_text("utf-8"))["cases"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelLoadError(
            f"[golden] {file} cannot be used: {type(error).__name__}: {error}"
        ) from error
    if not cases:
        raise ModelLoadError(f"[golden] {file} has 0 cases")
    return cases


def _golden_case(case: dict[str, Any]) -> GoldenCase:
    tokens = [int(token) for token in case["tokens"]]
    stored = case["prompt_logits"]
    found = GoldenCase(
        prompt=case["prompt"],
        prompt_ids=[int(token) for token in case["prompt_ids"]],
        tokens=tokens,
        margins=[float(margin) for margin in case["margins"]],
        logit_std=[float(deviation) for deviation in case["logit_std"]],
        logits={int(token): float(logit) for token, logit in stored["first"] + stored["top"]},
    )
    lengths = {len(found.tokens), len(found.margins), len(found.logit_std)}
    if len(lengths) != 1 or not found.tokens or not found.prompt_ids or not found.logits:
        raise ValueError(f"lists of lengths {sorted(lengths)} for the tokens of {found.prompt!r}")
    return found


def check_model(llm: LLM, cases: list[GoldenCase]) -> list[Check]:
    """A model against golden answers: greedy tokens, the argmax at each position, logit values.

    The answers are rerun as the reference chose them, so that one difference does not hide or cause
    others.
    """
    forced = [llm.logits(case.prompt_ids + case.tokens[:-1]) for case in cases]
    logits = [rows[len(case.prompt_ids) - 1 :] for case, rows in zip(cases, forced, strict=True)]
    checks = [
        _summary("greedy tokens", cases, (_greedy_difference(llm, case) for case in cases)),
        _summary("best tokens", cases, map(_argmax_difference, cases, logits)),
        _check_values(cases, logits),
    ]
    if (tokenizer := llm.tokenizer) is not None:
        differences = (_prompt_difference(tokenizer, case) for case in cases)
        checks.insert(0, _summary("tokenizer", cases, differences))
    return checks


def _summary(name: str, cases: list[GoldenCase], differences: Iterator[str]) -> Check:
    """One check over all cases; its detail is the first difference."""
    found = [
        f"prompt {case.prompt!r}: {difference}"
        for case, difference in zip(cases, differences, strict=True)
        if difference
    ]
    if found:
        return Check(name, False, f"{len(found)} of {len(cases)} prompts differ; {found[0]}")
    return Check(name, True, f"as the reference for {len(cases)} prompts")


def _prompt_difference(tokenizer: Tokenizer, case: GoldenCase) -> str:
    ids = tokenizer.encode(case.prompt)
    return "" if ids == case.prompt_ids else f"ids {ids}, golden {case.prompt_ids}"


def _greedy_difference(llm: LLM, case: GoldenCase) -> str:
    ours = llm.generate(case.prompt_ids, max_tokens=len(case.tokens)).token_ids
    for position, (token, golden) in enumerate(zip(ours, case.tokens, strict=False)):
        if token != golden:
            # After a choice that rounding may turn, the two answers go different ways.
            return _token_difference(case, position, token) if case.is_clear(position) else ""
    if len(ours) != len(case.tokens):
        return f"{len(ours)} tokens, golden {len(case.tokens)}"
    return ""


def _argmax_difference(case: GoldenCase, logits: NDArray[np.float32]) -> str:
    """logits (tokens, vocab_size): those from which each golden token was chosen."""
    best = logits.argmax(axis=1)
    wrong = [
        position
        for position, token in enumerate(case.tokens)
        if best[position] != token and case.is_clear(position)
    ]
    if not wrong:
        return ""
    first = _token_difference(case, wrong[0], int(best[wrong[0]]))
    return f"{len(wrong)} of {len(case.tokens)} differ, first {first}"


def _token_difference(case: GoldenCase, position: int, token: int) -> str:
    share = case.margins[position] / case.logit_std[position]
    return (
        f"token {position} is {token}, golden {case.tokens[position]} "
        f"(which leads by {share:.0%} of the logits' deviation)"
    )


def _check_values(cases: list[GoldenCase], logits: list[NDArray[np.float32]]) -> Check:
    worst, prompt = 0.0, ""
    for case, rows in zip(cases, logits, strict=True):
        golden = np.array(list(case.logits.values()))
        ours = rows[0, list(case.logits)].astype(np.float64)
        error = float(np.sqrt(np.mean((ours - golden) ** 2) / np.mean(golden**2)))
        if not error <= worst:  # also where it is not a number
            worst, prompt = error, case.prompt
    detail = f"relative rms at most {worst:.2%} (limit {VALUE_TOLERANCE:.0%})"
    if math.isfinite(worst) and worst <= VALUE_TOLERANCE:
        return Check("logit values", True, detail)
    return Check("logit values", False, f"{detail}, for prompt {prompt!r}")
