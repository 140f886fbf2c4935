"""Does the bundled model answer as transformers does, and are its golden answers still right?"""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_model
from numpy.typing import NDArray
from transformers import AutoTokenizer, BitNetForCausalLM

import reference
import tritium
from agreement import CLEAR_MARGIN, LOGITS_TOLERANCE, compare_logits, equal_tokens, relative_rms
from tritium import _core

FOLDER = Path(tritium.__file__).parent / "demo_model"
CASES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["cases"]


@dataclass(frozen=True)
class Answer:
    """A golden case, and the logits that transformers gives here for prompt and answer."""

    golden: dict[str, Any]
    token_ids: list[int]  # prompt and all but the last golden token
    logits: NDArray[np.float32]  # (tokens, vocab)
    sdpa: NDArray[np.float32]  # (tokens, vocab) from transformers' other attention

    @property
    def choices(self) -> NDArray[np.float32]:
        """Logits (answer tokens, vocab) from which the golden tokens were chosen."""
        return self.logits[len(self.golden["prompt_ids"]) - 1 :]

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Which golden tokens are the only right ones, (answer tokens,)."""
        margins, deviations = np.array(self.golden["margins"]), np.array(self.golden["logit_std"])
        clear: NDArray[np.bool_] = margins > CLEAR_MARGIN * deviations
        return clear


@pytest.fixture(scope="module")
def theirs() -> BitNetForCausalLM:
    return transformers_model.load_float32(FOLDER)


@pytest.fixture(scope="module", params=CASES, ids=[case["prompt"] for case in CASES])
def answer(request: pytest.FixtureRequest, theirs: BitNetForCausalLM) -> Answer:
    ids = request.param["prompt_ids"] + request.param["tokens"][:-1]
    return Answer(
        request.param,
        ids,
        transformers_model.record(theirs, ids).logits,
        transformers_model.sdpa_logits(theirs, ids),
    )


@pytest.fixture(scope="module")
def session() -> Iterator[_core.Session]:
    return _core.Session(_core.InferenceEngine(), tritium.load(FOLDER).core)


def test_golden_prompts_are_encoded_as_transformers_encodes_them(answer: Answer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer(answer.golden["prompt"])["input_ids"] == answer.golden["prompt_ids"]


def test_golden_tokens_are_what_transformers_chooses(answer: Answer) -> None:
    chosen = answer.choices.argmax(axis=1)
    assert answer.clear.any()
    np.testing.assert_array_equal(
        chosen[answer.clear], np.array(answer.golden["tokens"])[answer.clear]
    )


def test_golden_logits_are_those_of_transformers(answer: Answer) -> None:
    stored = answer.golden["prompt_logits"]
    ids, values = zip(*stored["first"], *stored["top"], strict=True)
    # Another CPU sums in another order, and is as far from transformers as we are.
    here = answer.choices[0][list(ids)]
    assert relative_rms(here, np.array(values, np.float32)) <= LOGITS_TOLERANCE


def test_the_reference_gives_the_logits_of_transformers(answer: Answer) -> None:
    model = reference.load_folder(FOLDER)
    agreement = compare_logits(model.forward(answer.token_ids), answer.logits)
    assert agreement.holds, agreement


def test_tritium_gives_the_logits_of_transformers(
    answer: Answer, session: _core.Session, report: dict[str, dict[str, str]]
) -> None:
    sequence = session.open()
    logits = session.logits(sequence, answer.token_ids)
    session.close(sequence)
    agreement = compare_logits(logits, answer.logits)
    row = report[f"demo: {answer.golden['prompt'][:30]!r}"]
    row["transformers: sdpa against eager"] = compare_logits(answer.sdpa, answer.logits).summary()
    row["tritium: rms, top-1"] = agreement.summary()
    assert agreement.holds, agreement


def test_the_script_that_compares_a_checkpoint_finds_that_it_agrees(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(repository / "tools" / "compare_with_transformers.py"))
    assert script["main"](FOLDER, "Once upon a time there was a fox.") == 0
    assert "0 wrong of" in capsys.readouterr().out


def test_tritium_answers_with_the_golden_tokens(
    answer: Answer, session: _core.Session, report: dict[str, dict[str, str]]
) -> None:
    golden = answer.golden["tokens"]
    sequence = session.open()
    feed, ours = answer.golden["prompt_ids"], []
    for _ in golden:
        (result,) = session.step([(sequence, feed, True)])
        assert result.token is not None
        ours.append(result.token)
        feed = [result.token]
    session.close(sequence)
    equal, excusable = equal_tokens(ours, golden, answer.clear)
    report[f"demo: {answer.golden['prompt'][:30]!r}"]["greedy"] = f"{equal}/{len(golden)}"
    assert excusable, f"token {equal}: {ours[equal]}, golden is {golden[equal]}"
