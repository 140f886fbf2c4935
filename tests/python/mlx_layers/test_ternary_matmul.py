"""Does ternary_matmul compute what the CPU computes, through all that MLX does with functions?"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import mlx.core as mx
import numpy as np
import pytest
from ternary_cases import CASES, Case, Matrix, activations, same_bits

import tritium
from tritium.errors import BatchProcessingError
from tritium.layers import BitLinear
from tritium.mlx import BitLinear as MlxBitLinear
from tritium.mlx import ops, pack_panels, runs_on, runtime, ternary_matmul, unpack_panels

each_case = pytest.mark.parametrize("case", CASES, ids=str)
SOME = [CASES[i] for i in (4, 5, 6, 7)]
some_cases = pytest.mark.parametrize("case", SOME, ids=str)


@pytest.fixture(params=["kernels", "operations"])
def path(request, monkeypatch):
    """Both ways to compute it, on the CPU."""
    if request.param == "operations":
        monkeypatch.setattr(ops, "extension", None)
    assert runs_on(mx.cpu) == request.param
    return request.param


def function_of(matrix: Matrix):
    layer = MlxBitLinear.from_weights(
        matrix.trits, matrix.scale, matrix.bias, scale_direction=matrix.case.direction
    )
    return partial(
        ternary_matmul,
        panels=layer.panels,
        scales=layer.scales,
        bias=layer.get("bias"),
        outputs=layer.outputs,
        scale_direction=layer.scale_direction,
    )


# The same bits -----------------------------------------------------------------------------------


def test_the_extension_is_there():
    assert runtime.extension is not None
    assert runs_on() == "kernels"


@each_case
@pytest.mark.parametrize("rows", [1, 2, 37])
def test_it_is_the_product_of_the_reference(path, case, rows):
    matrix = Matrix.random(case)
    x = activations(rows, case.inputs)
    assert same_bits(function_of(matrix)(mx.array(x)), matrix.product(x))


@each_case
def test_it_is_the_product_of_the_cpu_engine(path, case):
    matrix = Matrix.random(case)
    model = tritium.build_model(
        [BitLinear(matrix.trits, matrix.scale, matrix.bias, case.direction)],
        input_shape=(case.inputs,),
    )
    x = activations(5, case.inputs)
    expected = tritium.InferenceEngine(threads=2).infer(model, x)
    assert same_bits(function_of(matrix)(mx.array(x)), expected)


@pytest.mark.parametrize("set_name", ["scalar", "avx2", "neon"])
def test_every_kernel_set_gives_it(set_name):
    code = (
        "import mlx.core as mx, numpy as np\n"
        "from ternary_cases import *\n"
        "from tritium.mlx import BitLinear\n"
        "m = Matrix.random(Case(33, 100, scale='rows', bias=True)); x = activations(3, 100)\n"
        "layer = BitLinear.from_weights(m.trits, m.scale, m.bias)\n"
        "print(same_bits(layer(mx.array(x)), m.product(x)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TRITIUM_KERNELS": set_name, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:  # a set of another processor is refused by name
        assert f"TRITIUM_KERNELS='{set_name}'" in done.stderr
        assert "DeviceError" in done.stderr
    else:
        assert done.stdout.strip() == "True"


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_half_precision_is_widened_and_the_result_rounded(path, dtype):
    matrix = Matrix.random(Case(33, 100, scale="rows", bias=True))
    x = mx.array(activations(4, 100)).astype(dtype)
    y = function_of(matrix)(x)
    assert y.dtype == dtype
    expected = mx.array(matrix.product(np.array(x.astype(mx.float32)))).astype(dtype)
    assert mx.array_equal(y, expected)


def test_numbers_that_are_not_numbers_are_those_of_the_cpu(path):
    matrix = Matrix.random(Case(20, 40))
    x = activations(6, 40)
    x[0, 3], x[1] = np.nan, np.nan
    x[2], x[3] = 0, 1e-7
    x[4, 5] = np.float32(1e-40)
    x[5] = np.linspace(-1, 1, 40)  # halves, which round to even
    assert same_bits(function_of(matrix)(mx.array(x)), matrix.product(x))


def test_an_infinite_number_spoils_its_row_alone(path):
    matrix = Matrix.random(Case(20, 40))
    x = activations(3, 40)
    x[1, 7] = np.inf
    y = np.array(function_of(matrix)(mx.array(x)))
    assert not np.isfinite(y[1]).any()
    assert same_bits(y[[0, 2]], matrix.product(x[[0, 2]]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 4), (0,), (2, 0)])
def test_leading_axes_stay(path, shape):
    matrix = Matrix.random(Case(17, 20, groups=4, scale="rows", bias=True))
    x = activations(*shape, 20)
    y = function_of(matrix)(mx.array(x))
    assert y.shape == (*shape, 17)
    assert same_bits(y, matrix.product(x) if x.size else np.zeros((*shape, 17), np.float32))


def test_arrays_that_are_views_are_read_right(path):
    matrix = Matrix.random(Case(33, 48, scale="rows", direction="divide", bias=True))
    multiply = function_of(matrix)
    x = activations(48, 5)
    expected = matrix.product(np.ascontiguousarray(x.T))
    assert same_bits(multiply(mx.array(x).T), expected)
    wide = mx.array(np.repeat(x.T, 2, axis=1))
    assert same_bits(multiply(wide[:, ::2]), expected)
    one = mx.array(activations(1, 48))
    assert same_bits(multiply(mx.broadcast_to(one, (3, 48)))[2], matrix.product(np.array(one))[0])
    views = {
        "panels": mx.stack([multiply.keywords["panels"]] * 2, axis=-1)[..., 1],
        "scales": mx.stack([multiply.keywords["scales"]] * 2, axis=-1)[..., 1],
        "bias": mx.stack([multiply.keywords["bias"]] * 2, axis=-1)[..., 1],
    }
    assert same_bits(multiply(mx.array(x).T, **views), expected)


def test_streams_beside_each_other_do_not_mix():
    matrices = [Matrix.random(Case(640, 2560), seed) for seed in range(4)]
    streams = [mx.new_stream(mx.cpu) for _ in matrices]
    x = activations(9, 2560)
    for _ in range(5):
        results = [
            function_of(matrix)(mx.array(x), stream=stream)
            for matrix, stream in zip(matrices, streams, strict=True)
        ]
        mx.eval(results)
        for matrix, y in zip(matrices, results, strict=True):
            assert same_bits(y, matrix.product(x))


def test_panels_are_packed_and_unpacked():
    trits = Matrix.random(Case(21, 60)).trits
    for groups in (1, 3, 4):
        panels = pack_panels(trits, groups)
        assert panels.dtype == np.uint32
        assert panels.shape == (groups, 2, -(-60 // groups // 16), 16)
        assert np.array_equal(unpack_panels(panels, 21, 60), trits)
    # One word by hand: the weight of column 4 j + b is at bits 8 b + 2 j.
    word = pack_panels(np.eye(1, 16, 6, dtype=np.int8))[0, 0, 0, 0]
    assert word == 0x55555555 + (1 << (8 * 2 + 2 * 1))


# Transformations ---------------------------------------------------------------------------------


@some_cases
def test_compiled_it_gives_the_same_bits(path, case):
    matrix = Matrix.random(case)
    multiply = function_of(matrix)
    x = activations(3, case.inputs)
    compiled = mx.compile(lambda x: multiply(x) * 2 + 1)
    assert same_bits(compiled(mx.array(x)), matrix.product(x) * np.float32(2) + np.float32(1))
    arguments = mx.compile(lambda x, panels, scales: multiply(x, panels=panels, scales=scales))
    assert same_bits(
        arguments(mx.array(x), multiply.keywords["panels"], multiply.keywords["scales"]),
        matrix.product(x),
    )


def test_compiling_keeps_products_apart_that_differ():
    matrix = Matrix.random(Case(16, 32))
    multiply = function_of(matrix)
    x = mx.array(activations(2, 32))

    def both(x):
        return multiply(x), multiply(x, scale_direction="divide"), multiply(x, outputs=15)

    for y, expected in zip(mx.compile(both)(x), both(x), strict=True):
        assert same_bits(y, expected)


def test_a_shapeless_function_refuses_other_inputs():
    matrix = Matrix.random(Case(16, 32))
    multiply = mx.compile(function_of(matrix), shapeless=True)
    for rows in (2, 5):
        x = activations(rows, 32)
        assert same_bits(multiply(mx.array(x)), matrix.product(x))
    with pytest.raises(BatchProcessingError, match=r"40 inputs.* up to 32"):
        mx.eval(multiply(mx.zeros((2, 40))))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_vmap_is_over_any_axis_of_x(axis):
    matrix = Matrix.random(Case(17, 20, groups=4, scale="rows", bias=True))
    x = activations(3, 5, 20)
    batched = np.moveaxis(x, 0, axis)
    y = mx.vmap(function_of(matrix), in_axes=axis, out_axes=1)(mx.array(batched))
    assert same_bits(y, np.moveaxis(matrix.product(x), 0, 1).copy())
    nested = mx.vmap(mx.vmap(function_of(matrix)))(mx.array(x))
    assert same_bits(nested, matrix.product(x))


def test_mlx_has_no_vmap_for_its_own_operations(monkeypatch):
    monkeypatch.setattr(ops, "extension", None)
    with pytest.raises(RuntimeError, match=r"QuantizedMatmul::vmap"):
        mx.vmap(function_of(Matrix.random(Case(16, 32))))(mx.zeros((2, 3, 32)))


def test_vmap_over_weights_is_refused():
    multiply = function_of(Matrix.random(Case(16, 32)))
    many = mx.stack([multiply.keywords["panels"]] * 2)
    with pytest.raises(BatchProcessingError, match="vmap of ternary_matmul is over x"):
        mx.vmap(lambda x, panels: multiply(x, panels=panels))(mx.zeros((2, 32)), many)


def loss_of(multiply):
    return lambda x: mx.sum(mx.sin(multiply(x)))


def straight_through(matrix: Matrix, x):
    """The gradient of loss_of at x."""
    return (np.cos(matrix.product(x).astype(np.float64)) @ matrix.dense()).astype(np.float32)


def assert_close(a, b):
    """Floats in another order, by the largest of them."""
    b = np.asarray(b)
    np.testing.assert_allclose(np.array(a), b, rtol=0, atol=3e-6 * np.abs(b).max())


@some_cases
def test_the_gradient_goes_straight_through_the_rounding(path, case):
    matrix = Matrix.random(case)
    x = activations(3, 4, case.inputs)
    expected = straight_through(matrix, x)
    gradient = mx.grad(loss_of(function_of(matrix)))
    assert_close(gradient(mx.array(x)), expected)
    assert_close(mx.compile(gradient)(mx.array(x)), expected)
    if path == "operations":  # which have no vmap
        return
    assert_close(mx.vmap(gradient)(mx.array(x)), expected)
    mapped = mx.vmap(function_of(matrix), in_axes=1, out_axes=1)
    assert_close(mx.grad(loss_of(mapped))(mx.array(x)), expected)


@some_cases
def test_tangents_follow_the_same_function(path, case):
    matrix = Matrix.random(case)
    x, tangent = activations(3, case.inputs), activations(3, case.inputs, seed=5)
    (y,), (dy,) = mx.jvp(function_of(matrix), [mx.array(x)], [mx.array(tangent)])
    assert same_bits(y, matrix.product(x))
    assert_close(dy, tangent @ matrix.dense().T)


@pytest.mark.parametrize("case", [Case(33, 100, bias=True), SOME[2]], ids=str)
def test_a_bias_has_a_gradient(path, case):
    matrix = Matrix.random(case)
    multiply = function_of(matrix)
    x = activations(3, 4, case.inputs)
    bias = multiply.keywords["bias"]
    gradient = mx.grad(lambda b: mx.sum(mx.sin(multiply(mx.array(x), bias=b))))(bias)
    expected = np.cos(matrix.product(x).astype(np.float64)).sum((0, 1))
    assert_close(gradient, expected.astype(np.float32))
    _, (tangent,) = mx.jvp(lambda b: multiply(mx.array(x), bias=b), [bias], [bias])
    assert_close(tangent, np.broadcast_to(matrix.bias, (3, 4, case.outputs)))


def test_scales_have_no_gradient(path):
    multiply = function_of(Matrix.random(Case(16, 32)))
    x = mx.ones((2, 32))
    with pytest.raises(BatchProcessingError, match="panels and scales are to be frozen"):
        mx.grad(lambda s: multiply(x, scales=s).sum())(multiply.keywords["scales"])


# Errors ------------------------------------------------------------------------------------------

WRONG = {
    "x of integers": (
        {"x": mx.zeros((2, 32), mx.int32)},
        r"x must be float32.*got int32 \(2, 32\)",
    ),
    "x without axes": ({"x": mx.array(1.0)}, r"x must be.*got float32 \(\)"),
    "too many inputs": ({"x": mx.zeros((2, 33))}, r"x has 33 inputs; these panels take 17 to 32"),
    "too few inputs": ({"x": mx.zeros((2, 16))}, r"x has 16 inputs; these panels take 17 to 32"),
    "panels of bytes": (
        {"panels": mx.zeros((1, 2, 2, 16), mx.uint8)},
        r"panels must be uint32.*got uint8 \(1, 2, 2, 16\)",
    ),
    "panels of two axes": ({"panels": mx.zeros((2, 16), mx.uint32)}, r"got uint32 \(2, 16\)"),
    "more outputs": ({"outputs": 33}, "33 outputs are 3 panels of 16, and 2 are given"),
    "fewer outputs": ({"outputs": 16}, "16 outputs are 1 panels of 16, and 2 are given"),
    "scales of another length": (
        {"scales": mx.ones((1, 21))},
        r"scales must be float32 \(\) or \(1, 20\), got float32 \(1, 21\)",
    ),
    "scales in halves": ({"scales": mx.ones(1, mx.float16)}, r"got float16 \(1,\)"),
    "a bias of another length": (
        {"bias": mx.zeros(21)},
        r"bias must be float32 \(20,\), got float32 \(21,\)",
    ),
    "a bias of integers": ({"bias": mx.zeros(20, mx.int32)}, r"got int32 \(20,\)"),
    "a direction": ({"scale_direction": "times"}, "'multiply' or 'divide', got 'times'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_an_error_with_both_numbers(wrong):
    right = {
        "x": mx.zeros((2, 32)),
        "panels": mx.zeros((1, 2, 2, 16), mx.uint32),
        "scales": mx.ones(1),
        "outputs": 20,
    }
    assert ternary_matmul(**right).shape == (2, 20)
    arguments, message = WRONG[wrong]
    with pytest.raises(BatchProcessingError, match=message):
        ternary_matmul(**right | arguments)


def test_groups_that_do_not_divide_the_inputs_are_refused():
    with pytest.raises(BatchProcessingError, match=r"31 inputs.* a multiple of 2"):
        ternary_matmul(
            mx.zeros((1, 31)),
            mx.zeros((2, 1, 1, 16), mx.uint32),
            mx.ones((2, 16)),
            outputs=16,
        )
