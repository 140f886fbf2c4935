"""Is BitLinear a layer of MLX like others?"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx import optimizers
from mlx.utils import tree_flatten
from ternary_cases import CASES, Case, Matrix, activations, same_bits

import reference
import tritium
from tritium import layers
from tritium.errors import BatchProcessingError, ModelLoadError
from tritium.mlx import BitLinear, unpack_panels


def layer_of(matrix: Matrix) -> BitLinear:
    return BitLinear.from_weights(
        matrix.trits, matrix.scale, matrix.bias, scale_direction=matrix.case.direction
    )


def engine_result(layer: layers.BitLinear, x):
    model = tritium.build_model([layer], input_shape=(x.shape[-1],))
    return tritium.InferenceEngine(threads=1).infer(model, x)


# Weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES[:9], ids=str)
def test_a_layer_of_a_network_becomes_one_of_mlx(case):
    matrix = Matrix.random(case)
    layer = layers.BitLinear(matrix.trits, matrix.scale, matrix.bias, case.direction)
    x = activations(4, case.inputs)
    assert same_bits(BitLinear.from_layer(layer)(mx.array(x)), engine_result(layer, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_masters_are_ternarised_as_the_engine_does(dtype):
    masters = np.random.default_rng(0).standard_normal((33, 65)).astype(dtype)
    trits, scale = reference.ternarize(masters.astype(np.float32))
    layer = BitLinear.from_weights(masters)
    assert np.array_equal(unpack_panels(layer.panels, 33, 65), trits)
    assert layer.scales.item() == scale
    x = activations(4, 65)
    assert same_bits(layer(mx.array(x)), engine_result(layers.BitLinear(masters), x))


def test_masters_come_from_mlx_too():
    masters = mx.array(np.random.default_rng(0).standard_normal((17, 20))).astype(mx.bfloat16)
    wide = np.array(masters.astype(mx.float32))
    x = mx.array(activations(2, 20))
    assert same_bits(BitLinear.from_weights(masters)(x), BitLinear.from_weights(wide)(x))


def test_masters_of_zeros_have_a_scale():
    layer = BitLinear.from_weights(np.zeros((3, 4)))
    assert layer.scales.item() == np.float32(1e-5)
    assert same_bits(layer(mx.ones((1, 4))), np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("outputs", [5, 8, 33])
def test_packed_weights_of_transformers_are_unpacked(outputs):
    matrix = Matrix.random(Case(outputs, 20))
    packed = reference.pack_stripes(matrix.trits)
    layer = BitLinear.from_weights(packed, matrix.scale, packed_outputs=outputs)
    x = activations(2, 20)
    assert same_bits(layer(mx.array(x)), matrix.product(x))


WRONG = {
    "trits without a scale": ({"weight": np.ones((2, 3), np.int8)}, "int8 and no scale is given"),
    "masters with a scale": ({"weight": np.ones((2, 3)), "scale": 1.0}, "float64 and a scale is"),
    "a weight of 2": (
        {"weight": np.array([[1, 2], [0, 2]]), "scale": 1.0},
        "2 of 4 weights are not -1, 0 or 1, the first is 2",
    ),
    "a code 3": (
        {"weight": np.full((1, 2), 3, np.uint8), "scale": 1.0, "packed_outputs": 1},
        "2 of 2 weights are not -1, 0 or 1, the first is 2",
    ),
    "another number of packed outputs": (
        {"weight": np.ones((2, 3), np.uint8), "scale": 1.0, "packed_outputs": 9},
        r"9 packed outputs are uint8 \(3, inputs\), got uint8 \(2, 3\)",
    ),
    "one axis": ({"weight": np.ones(3, np.int8), "scale": 1.0}, r"got \(3,\) and \(\)"),
    "words": ({"weight": np.array([["a"]])}, "real numbers are needed, got <U1"),
    "not finite": ({"weight": np.array([[np.nan]])}, "masters must be finite"),
    "scales of another length": (
        {"weight": np.ones((2, 3), np.int8), "scale": np.ones(3)},
        r"\(3,\) scales for 2 outputs",
    ),
    "groups that do not fit": (
        {"weight": np.ones((2, 3), np.int8), "scale": np.ones((2, 2))},
        "3 inputs cannot be 2 equal groups",
    ),
    "a scale of 0": ({"weight": np.ones((2, 3), np.int8), "scale": 0.0}, "greater than 0"),
    "a bias of another length": (
        {"weight": np.ones((2, 3), np.int8), "scale": 1.0, "bias": np.ones(3)},
        r"a bias of \(3,\) for 2 outputs",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_weights_is_an_error(wrong):
    arguments, message = WRONG[wrong]
    with pytest.raises(ModelLoadError, match=message):
        BitLinear.from_weights(**arguments)


def test_a_norm_is_a_layer_of_its_own():
    layer = layers.BitLinear(np.ones((2, 3)), norm=layers.RMSNorm(np.ones(3)))
    with pytest.raises(ModelLoadError, match=r"mlx\.nn\.RMSNorm"):
        BitLinear.from_layer(layer)


# A Module ----------------------------------------------------------------------------------------


def network() -> nn.Sequential:
    mx.random.seed(0)
    return nn.Sequential(
        layer_of(Matrix.random(Case(48, 32, scale="rows", bias=True))),
        nn.ReLU(),
        layer_of(Matrix.random(Case(20, 48, direction="divide"))),
        nn.Linear(20, 3),
    )


def test_a_network_of_it_runs_compiled_and_mapped():
    model = network()
    x = mx.array(activations(5, 32))
    y = model(x)
    assert y.shape == (5, 3)
    assert mx.array_equal(mx.compile(model)(x), y)
    state = mx.compile(lambda x: model(x), inputs=model.state)
    assert mx.array_equal(state(x), y)
    np.testing.assert_allclose(mx.vmap(model)(x), y, rtol=1e-5, atol=1e-5 * mx.abs(y).max().item())


def test_only_weights_that_have_gradients_are_trained():
    model = network()
    names = {name for name, _ in tree_flatten(model.trainable_parameters())}
    assert names == {"layers.0.bias", "layers.3.weight", "layers.3.bias"}
    x = mx.array(activations(2, 32))
    step = nn.value_and_grad(model, lambda model: model(x).sum())
    assert {name for name, _ in tree_flatten(step(model)[1])} == names
    model.unfreeze()
    with pytest.raises(BatchProcessingError, match="panels and scales are to be frozen"):
        step(model)


def test_what_stands_before_it_learns_through_it():
    model = nn.Sequential(nn.Linear(8, 32), *network().layers)
    x, target = mx.array(activations(16, 8)), mx.ones((16, 3))

    def loss(model):
        return mx.mean((model(x) / 100 - target) ** 2)

    before = dict(tree_flatten(model.parameters()))
    optimizer = optimizers.Adam(1e-2)
    step = nn.value_and_grad(model, loss)
    losses = []
    for _ in range(20):
        value, gradients = step(model)
        optimizer.update(model, gradients)
        losses.append(value.item())
    after = dict(tree_flatten(model.parameters()))
    changed = {name for name in before if not mx.array_equal(before[name], after[name])}
    assert changed == {
        "layers.0.weight", "layers.0.bias", "layers.1.bias", "layers.4.weight", "layers.4.bias",
    }  # fmt: skip
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_weights_are_saved_and_loaded_by_mlx(tmp_path, suffix):
    model, other = network(), network()
    other.apply(lambda weights: mx.zeros_like(weights))
    x = mx.array(activations(5, 32))
    path = str(tmp_path / f"weights.{suffix}")
    model.save_weights(path)
    assert not mx.array_equal(other(x), model(x))
    other.load_weights(path)
    assert mx.array_equal(other(x), model(x))


def test_weights_of_another_shape_are_not_loaded(tmp_path):
    path = str(tmp_path / "weights.npz")
    layer_of(Matrix.random(Case(48, 32))).save_weights(path)
    with pytest.raises(ValueError, match=r"\(1, 4, 2, 16\).*\(1, 3, 2, 16\)"):
        layer_of(Matrix.random(Case(50, 32))).load_weights(path)


def test_it_shows_what_it_is():
    text = repr(layer_of(Matrix.random(Case(17, 20, 4, "rows", "divide", bias=True))))
    assert text == (
        "BitLinear(inputs=20, outputs=17, groups=4, scale_direction='divide', bias=True)"
    )
