"""Do the reference and the engine give what transformers gave?  Recorded by tools/make_fixtures.py.

The same comparison as tests/oracles makes live, without torch.
"""

from __future__ import annotations

import numpy as np
import pytest

import reference
import tritium
from agreement import LINEAR_TOLERANCE, compare_logits, equal_tokens, linear_difference
from recorded import FIXTURES, NAMES, Fixture
from tritium import _core

LARGEST_SIZE = 700_000  # bytes; they are part of every clone
SUPPORTED = [kernels for kernels in _core.kernel_sets() if kernels.supported]


@pytest.fixture(scope="module", params=NAMES)
def recorded(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(request.param)


@pytest.fixture(params=SUPPORTED, ids=lambda kernels: kernels.name)
def kernels(request: pytest.FixtureRequest) -> _core.KernelSet:
    return request.param


def test_the_fixtures_stay_small() -> None:
    size = sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file())
    assert 0 < size <= LARGEST_SIZE


# The reference ------------------------------------------------------------------------------------


def test_every_ternary_layer_was_recorded(recorded: Fixture) -> None:
    layers = recorded.reference.linears
    ternary = {n for n, layer in layers.items() if isinstance(layer, reference.TernaryLinear)}
    assert {name for name, _ in recorded.linears()} == ternary
    assert (len(ternary) < len(layers)) == (recorded.name == "llama-kept")


def test_the_reference_gives_the_codes_and_linear_outputs_of_transformers(
    recorded: Fixture,
) -> None:
    for name, call in recorded.linears():
        q, absmax = reference.quantize_activations(call.x)
        np.testing.assert_array_equal(q, call.codes, err_msg=name)
        linear = recorded.reference.linears[name]
        assert isinstance(linear, reference.TernaryLinear)
        assert linear_difference(linear.from_codes(q, absmax), call.y) <= LINEAR_TOLERANCE, name


def test_the_reference_gives_the_logits_of_transformers(recorded: Fixture) -> None:
    agreement = compare_logits(recorded.reference.forward(recorded.token_ids), recorded.logits)
    assert agreement.holds, agreement


# Tritium ------------------------------------------------------------------------------------------


def test_kernels_give_the_codes_and_linear_outputs_of_transformers(
    recorded: Fixture, kernels: _core.KernelSet
) -> None:
    for name, call in recorded.linears():
        q, absmax, _ = kernels.quantize(call.x)
        np.testing.assert_array_equal(q, call.codes, err_msg=name)
        linear = recorded.reference.linears[name]
        assert isinstance(linear, reference.TernaryLinear)
        multiplier = reference.multiplier(absmax, linear.scale, linear.divides)
        for gemm in (False, True):
            acc = kernels.ternary_matmul(linear.trits, q, gemm=gemm)
            y = kernels.dequantize(acc, multiplier, linear.bias)
            assert linear_difference(y, call.y) <= LINEAR_TOLERANCE, name


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
