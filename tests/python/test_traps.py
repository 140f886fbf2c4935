"""Every known way to read a ternary checkpoint wrongly, and the tests that fail if it is taken.

Each of these has been in an engine that shipped. A trap whose rule can be broken in the reference
is fallen into here, and the comparison with transformers must notice; since the engine gives the
bits of the reference, the same comparison guards it. The others name the tests that guard them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reference
import tritium
from agreement import LINEAR_TOLERANCE, compare_logits, linear_difference
from hf_folders import edit_json, from_bfloat16, to_bfloat16, write_bitnet_folder
from recorded import NAMES, Fixture
from reference import F32, DenseLinear, Floats, Model, TernaryLinear

# The comparison that must notice ------------------------------------------------------------------


@cache
def recorded(name: str) -> Fixture:
    return Fixture(name)


def agrees(model: Model, fixture: Fixture) -> bool:
    """Whether a model gives the layers and the logits that transformers gave."""
    for name, call in fixture.linears():
        layer = model.linears[name]
        if isinstance(layer, TernaryLinear):
            layer = replace(layer, norm=None)  # the recorded input has passed it
        if linear_difference(layer(call.x), call.y) > LINEAR_TOLERANCE:
            return False
    return compare_logits(model.forward(fixture.token_ids), fixture.logits).holds


@pytest.mark.parametrize("name", NAMES)
def test_who_falls_into_no_trap_agrees(name: str) -> None:
    assert agrees(recorded(name).reference, recorded(name))


# Wrong rules --------------------------------------------------------------------------------------

Linear = TernaryLinear | DenseLinear
Change = Callable[[Model], Model]


def on_linears(change: Callable[[TernaryLinear], Linear], *parts: str) -> Change:
    """A change of the ternary layers, or of those whose names end in one of `parts`."""

    def fall(model: Model) -> Model:
        linears = {
            name: change(layer)
            if isinstance(layer, TernaryLinear) and name.endswith(parts or ("",))
            else layer
            for name, layer in model.linears.items()
        }
        return replace(model, linears=linears)

    return fall


def on_config(**changes: Any) -> Change:
    return lambda model: replace(model, config=replace(model.config, **changes))


def with_the_other_scale_rule(layer: TernaryLinear) -> TernaryLinear:
    return replace(layer, divides=not layer.divides)


def in_other_rows(order: Callable[[int], NDArray[Any]]) -> Callable[[TernaryLinear], TernaryLinear]:
    """Stored rows, ceil(N / 4) in each of 4 stripes, taken in another order."""

    def change(layer: TernaryLinear) -> TernaryLinear:
        rows = layer.trits.shape[0]
        height = -(-rows // 4)
        stored = np.pad(layer.trits, ((0, 4 * height - rows), (0, 0)), constant_values=-1)
        return replace(layer, trits=stored[order(height)][:rows])

    return change


def neighbours(height: int) -> NDArray[Any]:
    return np.arange(4 * height).reshape(4, height).T.reshape(-1)


def high_bits_first(height: int) -> NDArray[Any]:
    return np.arange(4 * height).reshape(4, height)[::-1].reshape(-1)


def with_the_other_activation(model: Model) -> Model:
    other = {"relu2": "silu", "silu": "relu2"}[model.config.activation]
    return replace(model, config=replace(model.config, activation=other))


def with_interleaved_rope(model: Model) -> Model:
    """Pairs (2j, 2j + 1) instead of (j, j + half): the rows of q and k in another order."""
    head = np.arange(model.config.head_dim).reshape(2, -1).T.reshape(-1)

    def reordered(values: NDArray[Any]) -> NDArray[Any]:
        heads = values.reshape(-1, model.config.head_dim, *values.shape[1:])
        return heads[:, head].reshape(values.shape)

    linears = dict(model.linears)
    for name, layer in model.linears.items():
        if name.endswith(("q_proj", "k_proj")):
            bias = None if layer.bias is None else reordered(layer.bias)
            if isinstance(layer, TernaryLinear):
                linears[name] = replace(layer, trits=reordered(layer.trits), bias=bias)
            else:
                linears[name] = replace(layer, weights=reordered(layer.weights), bias=bias)
    return replace(model, linears=linears)


def without_weights_of(norm: str) -> Change:
    def fall(model: Model) -> Model:
        floats = {n: np.ones_like(w) if norm in n else w for n, w in model.floats.items()}
        return replace(model, floats=floats)

    return fall


class WithSubNormOfEachHead(Model):
    """attn_sub_norm on each head alone."""

    def _norm(self, name: str, x: Floats) -> Floats:
        if not name.endswith("attn_sub_norm"):
            return super()._norm(name, x)
        heads, eps = self.config.heads, self.config.rms_norm_eps
        parts = x.reshape(x.shape[0], heads, -1)
        y = reference.rms_norm(parts, np.ones(parts.shape[-1], F32), eps).reshape(x.shape)
        return y * self.floats[name + ".weight"]


def with_sub_norm_of_each_head(model: Model) -> Model:
    return WithSubNormOfEachHead(model.config, model.floats, model.linears)


def with_theta_of_another_family(model: Model) -> Model:
    theta = 500000.0 if model.config.rope.theta == 10000.0 else 10000.0
    return on_config(rope=replace(model.config.rope, theta=theta))(model)


def with_rope_kind(kind: str) -> Change:
    return lambda model: on_config(rope=replace(model.config.rope, kind=kind))(model)


def with_bias(change: Callable[[Floats, np.float32], Floats | None]) -> Change:
    return on_linears(
        lambda layer: layer
        if layer.bias is None
        else replace(layer, bias=change(layer.bias, layer.scale))
    )


def with_the_norm_of_q_for_k_and_v(model: Model) -> Model:
    linears = dict(model.linears)
    for name, layer in model.linears.items():
        q = linears[re.sub("[kv]_proj$", "q_proj", name)]
        if isinstance(layer, TernaryLinear) and isinstance(q, TernaryLinear):
            linears[name] = replace(layer, norm=q.norm if name[-6] in "kv" else layer.norm)
    return replace(model, linears=linears)


def with_everything_ternary(model: Model) -> Model:
    linears = {
        name: TernaryLinear(*reference.ternarize(layer.weights), bias=layer.bias)
        if isinstance(layer, DenseLinear)
        else layer
        for name, layer in model.linears.items()
    }
    return replace(model, linears=linears)


def with_a_ternary_head(model: Model) -> Model:
    name = "model.embed_tokens.weight" if model.config.tied_head else "lm_head.weight"
    trits, scale = reference.ternarize(model.floats[name])
    head = trits.astype(F32) * scale
    changed = {"lm_head.weight": head}
    return replace(on_config(tied_head=False)(model), floats=dict(model.floats) | changed)


class Emulated(TernaryLinear):
    """A ternary layer in another arithmetic for its inputs."""

    def __call__(self, x: Floats, residual: Floats | None = None) -> Floats:
        if self.norm is not None:
            x = reference.rms_norm(x, self.norm, self.norm_eps)
        scale = F32(1) / self.scale if self.divides else self.scale
        y: Floats = self.inputs(x) @ self.trits.T.astype(F32) * scale
        y = y if self.bias is None else y + self.bias
        return y if residual is None else y + residual

    def inputs(self, x: Floats) -> Floats:
        """x (T, K) as the product takes them."""
        return x


class InScales(Emulated):
    """The right one."""

    def inputs(self, x: Floats) -> Floats:
        step = np.abs(x).max(axis=1, keepdims=True) / F32(127)
        return np.rint(x / step) * step


class InOneScale(Emulated):
    def inputs(self, x: Floats) -> Floats:
        step = np.abs(x).max() / F32(127)
        return np.rint(x / step) * step


class InBfloat16(Emulated):
    def inputs(self, x: Floats) -> Floats:
        def rounded(values: Floats) -> Floats:
            return from_bfloat16(to_bfloat16(values))

        scale = rounded(F32(127) / rounded(np.abs(x).max(axis=1, keepdims=True)))
        codes: Floats = np.clip(np.rint(rounded(rounded(x) * scale)), -128, 127) / scale
        return codes


class In128Steps(Emulated):
    def inputs(self, x: Floats) -> Floats:
        step = np.abs(x).max(axis=1, keepdims=True) / F32(128)
        return np.clip(np.rint(x / step), -128, 127) * step


def emulated(kind: type[Emulated]) -> Change:
    return on_linears(lambda c: kind(c.trits, c.scale, c.divides, c.bias, c.norm, c.norm_eps))


@pytest.mark.parametrize("name", NAMES)
def test_an_emulated_layer_agrees_if_its_inputs_are_right(name: str) -> None:
    assert agrees(emulated(InScales)(recorded(name).reference), recorded(name))


def masters_of(fixture: Fixture) -> Mapping[str, NDArray[Any]]:
    return reference.read_safetensors(fixture.folder / "model.safetensors")


def with_masters(name: str, change: Callable[[Floats], tuple[NDArray[np.int8], Any]]) -> Change:
    """The masters of fixture `name` made ternary in another way."""

    def fall(model: Model) -> Model:
        stored = masters_of(recorded(name))
        linears = dict(model.linears)
        for linear, layer in model.linears.items():
            assert isinstance(layer, TernaryLinear)
            trits, scale = change(stored[linear + ".weight"])
            if np.ndim(scale) == 1:  # one for each row
                masters = trits.astype(F32) * scale[:, None]
                linears[linear] = DenseLinear(masters, layer.bias)
            else:
                linears[linear] = replace(layer, trits=trits, scale=F32(scale))
        return replace(model, linears=linears)

    return fall


def by_row(master: Floats) -> tuple[NDArray[np.int8], Floats]:
    mean = np.abs(master).mean(axis=1)
    return np.clip(np.rint(master / mean[:, None]), -1, 1).astype(np.int8), mean


def by_sign(master: Floats) -> tuple[NDArray[np.int8], np.floating[Any]]:
    return np.sign(master).astype(np.int8), np.abs(master).mean()


def by_largest(master: Floats) -> tuple[NDArray[np.int8], np.floating[Any]]:
    largest = np.abs(master).max()
    return np.rint(master / largest).astype(np.int8), largest


# The table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trap:
    """A wrong rule, where it can be fallen into, and the tests that guard against it."""

    fall: Change | None = None
    fixtures: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


PACKED = ("packed", "divide", "llama-divide", "llama-packed", "llama-kept", "bitnet-biases")
SUB_NORMS = ("packed", "masters", "divide", "reproduction", "bitnet-biases")
ALL = tuple(NAMES)

CONFIG = "tests/python/loaders/test_config.py::"
FOLDERS = "tests/python/loaders/test_folders.py::"
KERNELS = "tests/python/test_kernels_against_reference.py::"
HERE = "tests/python/test_traps.py::"
WEIGHT = "tests/cpp/model/ternary_weight_test.cpp::TernaryWeight."

TRAPS = {
    # scales
    "weight_scale multiplies where it divides, or divides where it multiplies": Trap(
        on_linears(with_the_other_scale_rule), PACKED,
        (CONFIG + "test_linear_class_and_mode_decide_form_and_scale_rule",),
    ),
    "a rule without linear_class is taken for autobitlinear": Trap(
        tests=(CONFIG + "test_a_llama_of_packed_weights_divides_by_its_scales",),
    ),
    "of a quantization_config given twice the first counts, or the file is refused": Trap(
        tests=(FOLDERS + "test_of_two_rules_the_last_one_counts",),
    ),
    "a scale that is stored without dimensions is refused": Trap(
        tests=(FOLDERS + "test_a_scale_without_dimensions_is_one_scale",),
    ),
    # packing
    "four neighbouring rows share a byte": Trap(
        on_linears(in_other_rows(neighbours)), PACKED,
        (WEIGHT + "ReadsThePackingOfTransformers",),
    ),
    "the highest bits of a byte hold the first rows": Trap(
        on_linears(in_other_rows(high_bits_first)), PACKED,
        (WEIGHT + "ReadsThePackingOfTransformers",),
    ),
    "codes lie along the inputs": Trap(
        tests=(FOLDERS + "test_a_wrong_shape_of_packed_codes_gives_both_shapes",),
    ),
    "numbers of rows that are no multiple of 4 are refused, or read by N // 4": Trap(
        tests=(
            WEIGHT + "ReadsBackWhatWasPackedForRowsThatAreNoMultipleOfFour",
            "tests/python/test_engine_against_reference.py::"
            "test_logits_have_the_bits_of_the_reference",
        ),
    ),
    "code 3 is read as a weight": Trap(tests=(WEIGHT + "RefusesCode3WithItsPlace",)),
    # masters
    "masters get a scale for each row": Trap(
        with_masters("masters", by_row), ("masters",),
        (WEIGHT + "MastersAreTernarisedByTheirMeanMagnitude",),
    ),
    "no master becomes 0": Trap(with_masters("masters", by_sign), ("masters",)),
    "masters are compared with the largest of them": Trap(
        with_masters("reproduction", by_largest), ("reproduction",)
    ),
    "a master of half the mean becomes a weight": Trap(
        tests=(WEIGHT + "MastersAreTernarisedByTheirMeanMagnitude",),
    ),
    "tiny masters are divided by their mean": Trap(
        tests=(
            WEIGHT + "ScaleOfZeroMastersIsTheSmallestAllowed",
            HERE + "test_dead_channels_give_finite_numbers",
        ),
    ),
    "half of the smallest numbers of float16 are flushed to 0": Trap(
        tests=(WEIGHT + "WidensHalvesAndBfloats",),
    ),
    # activations of the linear layers
    "inputs are not quantised": Trap(emulated(Emulated), ALL),
    "inputs are quantised with one scale for all tokens": Trap(emulated(InOneScale), ALL),
    "the scale of inputs is computed in the bfloat16 of the file": Trap(emulated(InBfloat16), ALL),
    "inputs go to 128 steps": Trap(emulated(In128Steps), ALL),
    "halves are rounded away from 0, or down": Trap(
        tests=(KERNELS + "test_quantize_rounds_halves_to_even",),
    ),
    "a row of zeros divides by 0": Trap(
        tests=(KERNELS + "test_quantize_meets_zeros_subnormals_and_the_floor",),
    ),
    "sums overflow int16": Trap(
        tests=(
            KERNELS + "test_ternary_sums_do_not_saturate",
            "tests/cpp/kernels/accumulator_test.cpp::AccumulatorTest."
            "ExtremeWeightsAndActivationsGiveExactSums",
        ),
    ),
    "inputs of 640, 3200 or 8640 are cut to a multiple of 128 or 256": Trap(
        tests=(KERNELS + "test_ternary_sums_equal_the_reference_at_the_shapes_of_real_models",),
    ),
    "a prompt and a single token go through kernels that differ": Trap(
        tests=(
            KERNELS + "test_ternary_sums_equal_the_reference_at_awkward_sizes",
            "tests/cpp/backend/cpu_backend_test.cpp::CpuBackend."
            "GivesTheSameBitsForEveryChunkingOfThePrompt",
        ),
    ),
    # the feed-forward network
    "the activation is chosen by the architecture": Trap(
        with_the_other_activation, ALL,
        (CONFIG + "test_the_published_configuration_is_understood",),
    ),
    "the square of relu2 overflows float16": Trap(
        tests=(HERE + "test_squares_beyond_float16_are_kept",),
    ),
    # norms
    "attn_sub_norm is left out": Trap(without_weights_of("attn_sub_norm"), SUB_NORMS),
    "ffn_sub_norm is left out": Trap(without_weights_of("ffn_sub_norm"), SUB_NORMS),
    "both sub-norms are left out, as in Llama": Trap(
        on_config(sub_norms=False), SUB_NORMS,
        (FOLDERS + "test_sub_norms_in_a_llama_model_are_refused",),
    ),
    "attn_sub_norm is that of each head": Trap(
        with_sub_norm_of_each_head, ("packed", "divide", "masters", "bitnet-biases")
    ),
    "the names of the reproductions are not known": Trap(
        tests=(FOLDERS + "test_the_names_of_a_reproduction_become_neutral",),
    ),
    "norms have the eps of another family": Trap(
        tests=(
            HERE + "test_the_eps_of_norms_is_that_of_the_file",
            CONFIG + "test_absent_fields_have_the_defaults_of_the_family",
        ),
    ),
    "the norm inside a linear layer is left out": Trap(
        on_linears(lambda layer: replace(layer, norm=None)),
        ("llama-masters", "llama-kept", "bitnet-biases"),
    ),
    "q, k and v share the norm of q, as they share their input": Trap(
        with_the_norm_of_q_for_k_and_v, ("llama-masters", "bitnet-biases"),
        (
            "tests/cpp/backend/cpu_backend_test.cpp::CpuBackend."
            "GivesTheSameBitsWithBiasesAndInnerNormsAtEveryLevelAndThreadCount",
        ),
    ),
    # positions
    "pairs of rotary positions are neighbours": Trap(with_interleaved_rope, ALL),
    "rope_theta is that of another family": Trap(
        with_theta_of_another_family, ALL,
        (CONFIG + "test_the_rope_base_is_read_from_either_place",),
    ),
    "scaled positions are not scaled": Trap(
        with_rope_kind("default"), ("llama-packed", "llama-masters"),
        (CONFIG + "test_scaled_positions_are_read_in_old_and_new_forms",),
    ),
    "all frequencies of llama3 are scaled": Trap(with_rope_kind("linear"), ("llama-masters",)),
    "head_dim is hidden_size / heads": Trap(
        tests=(
            CONFIG + "test_falcon_says_its_head_dim_and_what_it_says_beside_changes_nothing",
            HERE + "test_a_head_dim_that_is_not_read_is_noticed",
        ),
    ),
    "a window of attention is ignored": Trap(
        tests=(
            CONFIG + "test_nonsense_is_refused_with_its_field_and_what_was_expected",
            CONFIG + "test_a_window_that_hides_nothing_changes_nothing",
        ),
    ),
    # the head and what else stays in floats
    "an untied head is the embedding": Trap(on_config(tied_head=True), ("llama-divide",)),
    "a tied head is looked for in the file": Trap(
        tests=(FOLDERS + "test_both_forms_load_from_one_file_and_from_shards",),
    ),
    "a head that differs is tied": Trap(
        tests=(FOLDERS + "test_a_head_that_differs_from_tied_embeddings_is_refused",),
    ),
    "the head is ternary": Trap(
        with_a_ternary_head, ALL,
        (CONFIG + "test_nonsense_is_refused_with_its_field_and_what_was_expected",),
    ),
    "modules_to_not_convert is ignored": Trap(
        with_everything_ternary, ("llama-kept",),
        (CONFIG + "test_names_keep_modules_as_in_transformers",),
    ),
    # biases
    "biases are left out": Trap(
        with_bias(lambda bias, scale: None), ("llama-packed", "llama-masters", "bitnet-biases"),
        (FOLDERS + "test_biases_are_loaded_if_the_configuration_says_so",),
    ),
    "a stored scale that multiplies leaves the bias alone": Trap(
        with_bias(lambda bias, scale: bias / scale), ("llama-packed", "bitnet-biases")
    ),
    "the scale of masters multiplies the bias too": Trap(
        with_bias(lambda bias, scale: bias * scale), ("llama-masters",)
    ),
    # what is not this
    "an ordinary Llama is run as a ternary one": Trap(
        tests=(CONFIG + "test_an_ordinary_llama_model_is_refused_as_not_ternary",),
    ),
    "only one of the names of the 2B4T architecture is known": Trap(
        tests=(CONFIG + "test_each_name_of_the_family_is_known",),
    ),
    "one of several end tokens is known": Trap(
        tests=(FOLDERS + "test_end_tokens_are_a_number_or_a_list",),
    ),
}  # fmt: skip


FALLS = [
    pytest.param(trap.fall, fixture, id=f"{text}-{fixture}")
    for text, trap in TRAPS.items()
    if trap.fall is not None
    for fixture in trap.fixtures
]


@pytest.mark.parametrize(("fall", "name"), FALLS)
def test_falling_into_a_trap_is_noticed(fall: Change, name: str) -> None:
    fixture = recorded(name)
    assert not agrees(fall(fixture.reference), fixture)


@pytest.mark.parametrize("text", TRAPS)
def test_every_trap_has_a_test_that_exists(text: str, repository: Path) -> None:
    trap = TRAPS[text]
    assert trap.fixtures or trap.tests
    for test in trap.tests:
        path, name = test.split("::")
        assert name in names_of_tests(repository / path), test


@cache
def names_of_tests(path: Path) -> set[str]:
    """Names of the tests in a file: functions, or Suite.Name of GoogleTest."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".cpp":
        found = re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", text, re.MULTILINE)
        return {f"{suite}.{name}" for suite, name in found}
    return {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


# Traps that show in special models only -----------------------------------------------------------


def engine_logits(folder: Path, ids: NDArray[Any]) -> Floats:
    return tritium.InferenceEngine().infer(tritium.load(folder), ids)


def change_tensors(folder: Path, change: Callable[[str, Floats], Floats], where: str) -> None:
    """Rewrite the float32 tensors of a folder whose names contain `where`."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(bytes(content[8:start])).items():
        if where in name:
            assert entry["dtype"] == "F32"
            begin, end = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(bytes(content[begin:end]), F32).reshape(entry["shape"])
            content[begin:end] = change(name, values).astype(F32).tobytes()
    path.write_bytes(content)


IDS = np.arange(40) % 31


@pytest.mark.parametrize("family", ["bitnet", "llama"])
def test_squares_beyond_float16_are_kept(family: str, tmp_path: Path) -> None:
    write_bitnet_folder(tmp_path, seed=5, family=family, activation="relu2", dtype="float32")
    change_tensors(tmp_path, lambda _, scale: scale * 3000, "gate_proj.weight_scale")
    model = reference.load_folder(tmp_path)
    largest = 0.0

    class Watched(Model):
        def _norm(self, name: str, x: Floats) -> Floats:
            nonlocal largest
            largest = max(largest, float(np.abs(x).max()) if "ffn" in name else 0)
            return super()._norm(name, x)

    expected = Watched(model.config, model.floats, model.linears).forward(IDS)
    assert family == "llama" or largest > 1e3 * 65504
    logits = engine_logits(tmp_path, IDS)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("form", ["masters", "packed"])
def test_dead_channels_give_finite_numbers(form: str, tmp_path: Path) -> None:
    # as in the 2B4T model: weights of 1e-34, norms of 1e-32; here a whole matrix too
    write_bitnet_folder(tmp_path, seed=6, form=form, dtype="float32")

    def dead(name: str, values: Floats) -> Floats:
        values = values.copy()
        values[::3] *= F32(1e-34 if values.ndim == 2 else 1e-32)
        return values

    change_tensors(tmp_path, dead, "norm")
    if form == "masters":
        change_tensors(tmp_path, dead, "up_proj.weight")
        change_tensors(tmp_path, lambda _, w: w * F32(1e-34), "layers.1.self_attn.v_proj.weight")
    model = reference.load_folder(tmp_path)
    expected = model.forward(IDS)
    logits = engine_logits(tmp_path, IDS)
    assert np.isfinite(logits).all()
    assert logits.std() > 0
    np.testing.assert_array_equal(logits, expected)
    if form == "masters":
        silent = model.linears["model.layers.1.self_attn.v_proj"]
        assert isinstance(silent, TernaryLinear)
        assert not silent.trits.any()
        assert silent.scale == F32(1e-5)


@pytest.mark.parametrize("where", ["rms_norm_eps", "quantization_config"])
def test_the_eps_of_norms_is_that_of_the_file(where: str, tmp_path: Path) -> None:
    # inputs so small that eps decides
    write_bitnet_folder(tmp_path, seed=7, family="llama", dtype="float32", use_rms_norm=True)
    change_tensors(tmp_path, lambda _, w: w * F32(1e-4), "embed_tokens")
    change_tensors(tmp_path, lambda _, w: w * F32(1e-4), "layernorm")
    logits = []
    for eps in (1e-5, 1e-6):
        rule = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
        value = eps if where == "rms_norm_eps" else rule | {"rms_norm_eps": eps}
        edit_json(tmp_path / "config.json", **{where: value})
        logits.append(engine_logits(tmp_path, IDS))
        np.testing.assert_array_equal(logits[-1], reference.load_folder(tmp_path).forward(IDS))
    assert not compare_logits(logits[0], logits[1]).holds


def test_a_head_dim_that_is_not_read_is_noticed(tmp_path: Path) -> None:
    write_bitnet_folder(tmp_path, seed=8, family="llama", hidden=64, heads=2, head_dim=256)
    assert tritium.load(tmp_path).config.head_dim == 256
    edit_json(tmp_path / "config.json", head_dim=...)
    with pytest.raises(tritium.ModelLoadError, match=r"q_proj.weight .* has shape \[128, 64\]"):
        tritium.load(tmp_path)
