"""Do random models give what transformers gives: every linear layer, the logits, and the tokens?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import transformers_model
from numpy.typing import NDArray
from tiny_models import CASES, Case
from transformers import BitNetForCausalLM
from transformers.integrations.bitnet import pack_weights

import reference
from agreement import (
    LARGEST_CODE_DIFFERENCE,
    LINEAR_TOLERANCE,
    SHARE_OF_DIFFERENT_CODES,
    clear_positions,
    code_differences,
    compare_logits,
    equal_tokens,
    linear_difference,
)

if TYPE_CHECKING:
    from tritium import _core

Report = dict[str, dict[str, str]]

NEW_TOKENS = 16


@dataclass(frozen=True)
class Oracle:
    """A model folder and what transformers makes of it."""

    case: Case
    folder: Path
    model: BitNetForCausalLM
    recording: transformers_model.Recording


@pytest.fixture(scope="module", params=CASES, ids=str)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    case: Case = request.param
    folder = tmp_path_factory.mktemp("model")
    case.write(folder)
    model = transformers_model.load_float32(folder)
    return Oracle(case, folder, model, transformers_model.record(model, case.token_ids()))


@pytest.fixture(scope="module")
def selected_kernels() -> Iterator[_core.KernelSet]:
    from tritium import _core

    name = _core.InferenceEngine().kernel_set
    return next(kernels for kernels in _core.kernel_sets() if kernels.name == name)


# Layer by layer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [4, 8, 20, 100, 636])
def test_the_reference_packs_the_bytes_of_transformers(rows: int) -> None:
    trits = np.random.default_rng(rows).integers(-1, 2, (rows, 31), dtype=np.int8)
    theirs = pack_weights(torch.from_numpy(trits.copy()))  # it changes its argument
    np.testing.assert_array_equal(reference.pack_stripes(trits), theirs.numpy())


def test_every_linear_layer_was_recorded(oracle: Oracle) -> None:
    assert oracle.recording.linears.keys() == reference.load_folder(oracle.folder).linears.keys()


def test_the_reference_gives_the_codes_and_outputs_of_transformers(
    oracle: Oracle, report: Report
) -> None:
    linears = reference.load_folder(oracle.folder).linears
    different, largest, total, worst = 0, 0, 0, 0.0
    for name, call in oracle.recording.linears.items():
        q, absmax = reference.quantize_activations(call.x)
        count, difference = code_differences(q, call.codes)
        different, largest, total = different + count, max(largest, difference), total + q.size
        y = linears[name].from_codes(call.codes, absmax)
        worst = max(worst, linear_difference(y, call.y))
    row = report[str(oracle.case)]
    row["codes that differ"] = f"{different} of {total}"
    row["linear"] = f"{worst:.1e}"
    assert largest <= LARGEST_CODE_DIFFERENCE
    assert different <= SHARE_OF_DIFFERENT_CODES * total
    assert worst <= LINEAR_TOLERANCE


def test_the_kernels_give_the_codes_and_outputs_of_transformers(
    oracle: Oracle, selected_kernels: _core.KernelSet
) -> None:
    linears = reference.load_folder(oracle.folder).linears
    different, total = 0, 0
    for name, call in oracle.recording.linears.items():
        q, absmax, _ = selected_kernels.quantize(call.x)
        count, largest = code_differences(q, call.codes)
        assert largest <= LARGEST_CODE_DIFFERENCE, name
        different, total = different + count, total + q.size
        linear = linears[name]
        multiplier = reference.multiplier(absmax, linear.scale, linear.divides)
        for gemm in (False, True):
            acc = selected_kernels.ternary_matmul(linear.trits, call.codes, gemm=gemm)
            y = selected_kernels.dequantize(acc, multiplier)
            assert linear_difference(y, call.y) <= LINEAR_TOLERANCE, name
    assert different <= SHARE_OF_DIFFERENT_CODES * total


# Whole models -------------------------------------------------------------------------------------


def test_the_logits_of_the_reference_are_those_of_transformers(
    oracle: Oracle, report: Report
) -> None:
    logits = reference.load_folder(oracle.folder).forward(oracle.case.token_ids())
    agreement = compare_logits(logits, oracle.recording.logits)
    sdpa = transformers_model.sdpa_logits(oracle.model, oracle.case.token_ids())
    row = report[str(oracle.case)]
    row["transformers: sdpa against eager"] = compare_logits(
        sdpa, oracle.recording.logits
    ).summary()
    row["reference: rms, top-1"] = agreement.summary()
    assert agreement.holds, agreement


def test_the_logits_of_tritium_are_those_of_transformers(oracle: Oracle, report: Report) -> None:
    import tritium

    model = tritium.load(oracle.folder)
    logits = tritium.InferenceEngine().infer(model, oracle.case.token_ids())
    agreement = compare_logits(logits, oracle.recording.logits)
    report[str(oracle.case)]["tritium: rms, top-1"] = agreement.summary()
    assert agreement.holds, agreement


def greedy_tokens(folder: Path, prompt: list[int], count: int) -> list[int]:
    """`count` tokens that tritium's core chooses after a prompt."""
    import tritium
    from tritium import _core

    session = _core.Session(_core.InferenceEngine(), tritium.load(folder).core)
    sequence = session.open()
    feed, tokens = prompt, []
    while len(tokens) < count:
        (result,) = session.step([(sequence, feed, True)])
        assert result.token is not None
        tokens.append(result.token)
        feed = [result.token]
    return tokens


def test_greedy_tokens_of_tritium_are_those_of_transformers(oracle: Oracle, report: Report) -> None:
    prompt = oracle.case.token_ids()[:60]  # the answer crosses into the second page of 64
    theirs, logits = transformers_model.greedy(oracle.model, prompt, NEW_TOKENS)
    clear: NDArray[np.bool_] = clear_positions(logits)
    ours = greedy_tokens(oracle.folder, prompt, NEW_TOKENS)
    equal, excusable = equal_tokens(ours, theirs, clear)
    report[str(oracle.case)]["greedy"] = f"{equal}/{NEW_TOKENS}"
    assert excusable, f"token {equal}: {ours[equal]}, transformers clearly prefers {theirs[equal]}"
