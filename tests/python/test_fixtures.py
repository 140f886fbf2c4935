"""Do the reference and the engine give what transformers gave?  Recorded by tools/make_fixtures.py.

The same comparison as tests/oracles makes live, without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reference
import tritium
from agreement import (
    LARGEST_CODE_DIFFERENCE,
    LINEAR_TOLERANCE,
    SHARE_OF_DIFFERENT_CODES,
    LinearCall,
    code_differences,
    compare_logits,
    equal_tokens,
    linear_difference,
)
from tritium import _core

FIXTURES = Path(__file__).parents[1] / "fixtures"
LARGEST_SIZE = 400_000  # bytes; they are part of every clone
SUPPORTED = [kernels for kernels in _core.kernel_sets() if kernels.supported]


class Fixture:
    """A model folder and what transformers computed from it."""

    def __init__(self, name: str) -> None:
        self.folder = FIXTURES / name
        with np.load(self.folder / "transformers.npz") as arrays:
            self.arrays: dict[str, NDArray[Any]] = dict(arrays)
        self.reference = reference.load_folder(self.folder)
        self.token_ids = self.arrays["token_ids"]  # (tokens,)
        self.logits = self.arrays["logits"]  # (tokens, vocab)

    def linears(self) -> Iterator[tuple[str, reference.TernaryLinear, LinearCall]]:
        """Each linear layer with what it did."""
        for name, linear in self.reference.linears.items():
            x, codes, y = (self.arrays[f"{name}/{part}"] for part in ("x", "codes", "y"))
            yield name, linear, LinearCall(x, codes, y)


@pytest.fixture(scope="module", params=["packed", "masters", "divide"])
def recorded(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(request.param)


@pytest.fixture(params=SUPPORTED, ids=lambda kernels: kernels.name)
def kernels(request: pytest.FixtureRequest) -> _core.KernelSet:
    return request.param


def test_the_fixtures_stay_small() -> None:
    size = sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file())
    assert 0 < size <= LARGEST_SIZE


# The reference ------------------------------------------------------------------------------------


def test_the_reference_gives_the_codes_of_transformers(recorded: Fixture) -> None:
    different, total = 0, 0
    for name, _, call in recorded.linears():
        q, _ = reference.quantize_activations(call.x)
        count, largest = code_differences(q, call.codes)
        assert largest <= LARGEST_CODE_DIFFERENCE, name
        different, total = different + count, total + q.size
    assert total > 0
    assert different <= SHARE_OF_DIFFERENT_CODES * total


def test_the_reference_gives_the_linear_outputs_of_transformers(recorded: Fixture) -> None:
    for name, linear, call in recorded.linears():
        _, absmax = reference.quantize_activations(call.x)
        y = linear.from_codes(call.codes, absmax)
        assert linear_difference(y, call.y) <= LINEAR_TOLERANCE, name


def test_the_reference_gives_the_logits_of_transformers(recorded: Fixture) -> None:
    agreement = compare_logits(recorded.reference.forward(recorded.token_ids), recorded.logits)
    assert agreement.holds, agreement


def with_the_other_activation(model: reference.Model) -> reference.Model:
    other = {"relu2": "silu", "silu": "relu2"}[model.config.activation]
    return replace(model, config=replace(model.config, activation=other))


def with_inverted_scales(model: reference.Model) -> reference.Model:
    linears = {n: replace(m, divides=not m.divides) for n, m in model.linears.items()}
    return replace(model, linears=linears)


def with_packed_rows_swapped(model: reference.Model) -> reference.Model:
    linears = {n: replace(m, trits=m.trits[::-1]) for n, m in model.linears.items()}
    return replace(model, linears=linears)


def without(norm: str) -> Callable[[reference.Model], reference.Model]:
    def change(model: reference.Model) -> reference.Model:
        floats = {n: np.ones_like(w) if norm in n else w for n, w in model.floats.items()}
        return replace(model, floats=floats)

    return change


def with_interleaved_rope(model: reference.Model) -> reference.Model:
    """Pairs (2j, 2j + 1) instead of (j, j + half): the rows of q and k in another order."""
    head = np.arange(model.config.head_dim).reshape(2, -1).T.reshape(-1)
    linears = dict(model.linears)
    for name, linear in model.linears.items():
        if name.endswith(("q_proj", "k_proj")):
            heads = linear.trits.reshape(-1, model.config.head_dim, linear.trits.shape[1])
            linears[name] = replace(linear, trits=heads[:, head].reshape(linear.trits.shape))
    return replace(model, linears=linears)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_the_other_activation, id="the other activation"),
        pytest.param(with_inverted_scales, id="scales inverted"),
        pytest.param(with_packed_rows_swapped, id="rows in another order"),
        pytest.param(without("attn_sub_norm"), id="attn_sub_norm without weights"),
        pytest.param(without("ffn_sub_norm"), id="ffn_sub_norm without weights"),
        pytest.param(with_interleaved_rope, id="interleaved rope"),
    ],
)
def test_a_wrong_rule_is_noticed(
    recorded: Fixture, change: Callable[[reference.Model], reference.Model]
) -> None:
    logits = change(recorded.reference).forward(recorded.token_ids)
    assert not compare_logits(logits, recorded.logits).holds


# Tritium ------------------------------------------------------------------------------------------


def test_kernels_give_the_codes_and_linear_outputs_of_transformers(
    recorded: Fixture, kernels: _core.KernelSet
) -> None:
    different, total = 0, 0
    for name, linear, call in recorded.linears():
        q, absmax, _ = kernels.quantize(call.x)
        count, largest = code_differences(q, call.codes)
        assert largest <= LARGEST_CODE_DIFFERENCE, name
        different, total = different + count, total + q.size
        multiplier = reference.multiplier(absmax, linear.scale, linear.divides)
        for gemm in (False, True):
            acc = kernels.ternary_matmul(linear.trits, call.codes, gemm=gemm)
            y = kernels.dequantize(acc, multiplier)
            assert linear_difference(y, call.y) <= LINEAR_TOLERANCE, name
    assert different <= SHARE_OF_DIFFERENT_CODES * total


def test_tritium_gives_the_logits_of_transformers(recorded: Fixture) -> None:
    logits = tritium.InferenceEngine().infer(tritium.load(recorded.folder), recorded.token_ids)
    agreement = compare_logits(logits, recorded.logits)
    assert agreement.holds, agreement


def test_tritium_gives_the_bits_of_the_reference_with_every_kernel_set(
    recorded: Fixture, kernels: _core.KernelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITIUM_KERNELS", kernels.name)
    engine = tritium.InferenceEngine()
    assert engine.kernel_set == kernels.name
    logits = engine.infer(tritium.load(recorded.folder), recorded.token_ids)
    np.testing.assert_array_equal(logits, recorded.reference.forward(recorded.token_ids))


def test_tritium_chooses_the_tokens_of_transformers(recorded: Fixture) -> None:
    theirs = recorded.arrays["greedy_tokens"].tolist()
    session = _core.Session(_core.InferenceEngine(), tritium.load(recorded.folder).core)
    sequence = session.open()
    feed, ours = recorded.arrays["greedy_prompt"].tolist(), []
    for _ in theirs:
        (result,) = session.step([(sequence, feed, True)])
        assert result.token is not None
        ours.append(result.token)
        feed = [result.token]
    equal, excusable = equal_tokens(ours, theirs, recorded.arrays["greedy_clear"])
    assert excusable, f"token {equal}: {ours[equal]}, transformers clearly prefers {theirs[equal]}"
