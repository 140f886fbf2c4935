"""Do random models give what transformers gives: every linear layer, the logits, and the tokens?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import transformers_model
from numpy.typing import NDArray
from tiny_models import CASES, SEEDS, Case
from transformers import PreTrainedModel
from transformers.integrations.bitnet import pack_weights
from transformers.quantizers.quantizers_utils import should_convert_module

import reference
from agreement import (
    LINEAR_TOLERANCE,
    LOGITS_TOLERANCE,
    clear_positions,
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
    model: PreTrainedModel
    recording: transformers_model.Recording
    logits: NDArray[np.float32]  # (tokens, vocab), with keys and values in float16


@pytest.fixture(scope="module", params=CASES, ids=str)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    case: Case = request.param
    folder = twin = tmp_path_factory.mktemp("model")
    case.write(folder)
    if case.needs_twin:
        twin = tmp_path_factory.mktemp("twin")
        case.write_twin(twin)
    model = transformers_model.load_float32(twin)
    ids = case.token_ids()
    logits = transformers_model.half_cache_logits(model, ids)
    return Oracle(case, folder, model, transformers_model.record(model, ids), logits)


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


@pytest.mark.parametrize("seed", SEEDS)
def test_modules_are_kept_in_floats_as_transformers_keeps_them(seed: int) -> None:
    from tritium.loaders.kept_modules import KeptModules

    choose = random.Random(seed)
    parts = [f"{part}_proj" for part in ("self_attn.q", "self_attn.o", "mlp.up", "mlp.down")]
    modules = [f"model.layers.{i}.{part}" for i in (0, 1, 10, 11) for part in parts] + ["lm_head"]
    kept = 0
    for _ in range(5000):
        module = choose.choice(modules)
        begin = choose.choice([0, choose.randrange(len(module))])
        piece = module[begin : choose.randrange(begin, len(module)) + 1]
        changes = {0: ".", 1: ".*", 2: r"\."}
        pattern = "".join(changes.get(choose.randrange(30), letter) for letter in piece)
        for name in modules:
            theirs = not should_convert_module(name, [pattern])
            assert (name in KeptModules([pattern])) == theirs, (pattern, name)
            assert reference.is_kept(name, [pattern]) == theirs, (pattern, name)
            kept += theirs
    assert kept > 5000


@pytest.mark.parametrize("parts", ["rope-linear", "rope-llama3", ""])
@pytest.mark.parametrize("shape", ["narrow", "head-of-256"])
def test_frequencies_are_those_of_transformers(shape: str, parts: str, tmp_path: Path) -> None:
    case = Case("llama", shape, "masters-f32", 0, parts)
    case.write(tmp_path)
    theirs = transformers_model.load_float32(tmp_path).model.rotary_emb.inv_freq.numpy()
    config = reference.load_folder(tmp_path).config
    # A power of torch has an error of its own, of a unit or two in the last place.
    np.testing.assert_allclose(config.rope.frequencies(config.head_dim), theirs, rtol=5e-7)


def ternary_layers(folder: Path) -> dict[str, reference.TernaryLinear]:
    """Of the reference's model."""
    linears = reference.load_folder(folder).linears
    return {n: x for n, x in linears.items() if isinstance(x, reference.TernaryLinear)}


def test_every_layer_was_recorded(oracle: Oracle) -> None:
    model = reference.load_folder(oracle.folder)
    assert oracle.recording.linears.keys() == ternary_layers(oracle.folder).keys()
    kept = model.linears.keys() - oracle.recording.linears.keys()
    assert oracle.recording.dense.keys() == kept | {"lm_head"}


def test_the_reference_gives_the_codes_and_outputs_of_transformers(
    oracle: Oracle, report: Report
) -> None:
    linears = ternary_layers(oracle.folder)
    worst, total = 0.0, 0
    for name, call in oracle.recording.linears.items():
        q, absmax = reference.quantize_activations(call.x)
        np.testing.assert_array_equal(q, call.codes, err_msg=name)
        total += q.size
        worst = max(worst, linear_difference(linears[name].from_codes(q, absmax), call.y))
    row = report[str(oracle.case)]
    row["codes"] = f"{total} equal"
    row["linear"] = f"{worst:.1e}"
    assert worst <= LINEAR_TOLERANCE


def test_layers_in_floats_give_the_outputs_of_transformers(oracle: Oracle) -> None:
    model = reference.load_folder(oracle.folder)
    head = "model.embed_tokens.weight" if model.config.tied_head else "lm_head.weight"
    layers = dict(model.linears) | {"lm_head": reference.DenseLinear(model.floats[head])}
    for name, call in oracle.recording.dense.items():
        assert linear_difference(layers[name](call.x), call.y) <= LINEAR_TOLERANCE, name


def test_the_kernels_give_the_codes_and_outputs_of_transformers(
    oracle: Oracle, selected_kernels: _core.KernelSet
) -> None:
    linears = ternary_layers(oracle.folder)
    for name, call in oracle.recording.linears.items():
        q, absmax, _ = selected_kernels.quantize(call.x)
        np.testing.assert_array_equal(q, call.codes, err_msg=name)
        linear = linears[name]
        multiplier = reference.multiplier(absmax, linear.scale, linear.divides)
        for gemm in (False, True):
            acc = selected_kernels.ternary_matmul(linear.trits, q, gemm=gemm)
            y = selected_kernels.dequantize(acc, multiplier, linear.bias)
            assert linear_difference(y, call.y) <= LINEAR_TOLERANCE, name


# Whole models -------------------------------------------------------------------------------------


def test_the_logits_of_the_reference_are_those_of_transformers(
    oracle: Oracle, report: Report
) -> None:
    logits = reference.load_folder(oracle.folder).forward(oracle.case.token_ids())
    agreement = compare_logits(logits, oracle.logits)
    sdpa = transformers_model.sdpa_logits(oracle.model, oracle.case.token_ids())
    row = report[str(oracle.case)]
    row["transformers: sdpa against eager"] = compare_logits(
        sdpa, oracle.recording.logits
    ).summary()
    row["reference: rms, top-1"] = agreement.summary()
    assert agreement.holds, agreement


def test_keys_and_values_in_float16_change_the_logits_little(
    oracle: Oracle, report: Report
) -> None:
    logits = reference.load_folder(oracle.folder).forward(oracle.case.token_ids())
    agreement = compare_logits(logits, oracle.recording.logits)
    report[str(oracle.case)]["reference against float32"] = agreement.summary()
    assert agreement.relative_rms <= LOGITS_TOLERANCE, agreement


def test_the_logits_of_tritium_are_those_of_transformers(oracle: Oracle, report: Report) -> None:
    import tritium

    model = tritium.load(oracle.folder)
    logits = tritium.InferenceEngine().infer(model, oracle.case.token_ids())
    agreement = compare_logits(logits, oracle.logits)
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
