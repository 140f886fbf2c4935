"""Does a function of the user's run as a layer, and does the engine live on when it misbehaves?"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritium
from tritium import BatchProcessingError, CustomOperator, ModelLoadError, OptimizationError, _core
from tritium.layers import GELU, BitLinear, Custom, Flatten, Linear, ReLU, Residual, Softmax

F32 = np.float32
SETS = [kernels.name for kernels in _core.kernel_sets() if kernels.supported]
SOFTCAP = CustomOperator("softcap", lambda x: 30 * np.tanh(x / 30))


def softcap(x: np.ndarray) -> np.ndarray:
    return F32(30) * np.tanh(x / F32(30))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def trits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, shape, dtype=np.int8)


def model_of(*operators: CustomOperator, shape: tuple[int, ...] = (6,)) -> tritium.Model:
    return tritium.build_model([Custom(operator) for operator in operators], input_shape=shape)


def infer_with(operator: CustomOperator, x: np.ndarray, *, threads: int = 1) -> np.ndarray:
    engine = tritium.InferenceEngine(threads=threads, custom_operators=[operator])
    return engine.infer(model_of(operator, shape=x.shape[1:]), x)


# Results ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("level", ["none", "basic"])
def test_an_operator_between_layers_gives_what_numpy_gives(
    kernels: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITIUM_KERNELS", kernels)
    first, second = BitLinear(trits(12, 20), 0.5), BitLinear(trits(5, 12), 0.25)
    model = tritium.build_model([first, Custom(SOFTCAP), second], input_shape=(20,))
    x = random(70, 20)
    plain = tritium.InferenceEngine(threads=1)
    hidden = plain.infer(tritium.build_model([first], input_shape=(20,)), x)
    expected = plain.infer(tritium.build_model([second], input_shape=(12,)), softcap(hidden))
    for threads in (1, 2, 3, 4):
        engine = tritium.InferenceEngine(
            threads=threads, optimization_level=level, custom_operators=[SOFTCAP]
        )
        np.testing.assert_array_equal(engine.infer(model, x), expected)
        np.testing.assert_array_equal(engine.infer(model, x[3]), expected[3])


def test_samples_have_their_shape_and_the_result_may_have_another() -> None:
    seen = []

    def pool(x: np.ndarray) -> np.ndarray:
        seen.append((x.shape, x.dtype))
        return x.reshape(-1, 2, 2, 4).max(axis=2)

    operator = CustomOperator("pool", pool, lambda shape: (shape[0] // 2, shape[1]))
    model = tritium.build_model([Custom(operator), Flatten(), Softmax()], input_shape=(4, 4))
    assert model.output_shape == (8,)
    engine = tritium.InferenceEngine(threads=2, custom_operators=[operator])
    x = random(40, 4, 4)
    y = engine.infer(model, x)
    softmax = tritium.build_model([Flatten(), Softmax()], input_shape=(2, 4))
    np.testing.assert_array_equal(y, engine.infer(softmax, x.reshape(40, 2, 2, 4).max(axis=2)))
    assert {shape[1:] for shape, _ in seen} == {(4, 4)}
    assert sum(shape[0] for shape, _ in seen) == 40
    assert {dtype for _, dtype in seen} == {np.dtype(F32)}


def test_an_operator_over_branches_gets_the_result_of_each() -> None:
    gate = CustomOperator("gate", lambda x, a, b: x * a + b)
    linear = Linear(random(6, 6))
    branches = [[], [linear, GELU()], [ReLU()]]
    model = tritium.build_model([Custom(gate, branches)], input_shape=(6,))
    engine = tritium.InferenceEngine(threads=1, custom_operators=[gate])
    x = random(9, 6, seed=1)
    gelu = engine.infer(tritium.build_model([linear, GELU()], input_shape=(6,)), x)
    np.testing.assert_array_equal(engine.infer(model, x), x * gelu + np.maximum(x, 0))
    assert model.core.graph.splitlines() == [
        "0.1.0: dense_linear(samples) -> 0.1.0.output [samples, 6]",
        "0.1.1: gelu(0.1.0.output) -> 0.1.1 [samples, 6]",
        "0.2.0: relu(samples) -> 0.2.0 [samples, 6]",
        "0: custom:gate(samples, 0.1.1, 0.2.0) -> 0 [samples, 6]",
    ]


def test_an_operator_works_inside_a_residual_and_twice() -> None:
    model = tritium.build_model([Residual([Custom(SOFTCAP)]), Custom(SOFTCAP)], input_shape=(6,))
    engine = tritium.InferenceEngine(threads=1, custom_operators=[SOFTCAP])
    x = random(4, 6)
    np.testing.assert_array_equal(engine.infer(model, x), softcap(x + softcap(x)))


def test_shapes_are_inferred_from_those_of_all_inputs() -> None:
    shapes = []

    def join(*inputs: tuple[int, ...]) -> list[int]:
        shapes.append(inputs)
        return [sum(shape[0] for shape in inputs)]

    operator = CustomOperator("join", lambda *inputs: np.concatenate(inputs, axis=1), join)
    layers = [Custom(operator, [[], [Linear(np.eye(3, 6))]])]
    model = tritium.build_model(layers, input_shape=(6,))
    assert model.output_shape == (9,)
    assert shapes == [((6,), (3,))]
    engine = tritium.InferenceEngine(threads=1, custom_operators=[operator])
    x = random(3, 6)
    np.testing.assert_array_equal(engine.infer(model, x), np.concatenate([x, x[:, :3]], axis=1))


@pytest.mark.parametrize(
    "convert",
    [
        lambda y: y.astype(np.float64),
        lambda y: y.astype(np.float16),
        lambda y: y.astype(np.int64),
        lambda y: y > 0,
        lambda y: np.asfortranarray(y),
        lambda y: np.repeat(y, 2, axis=1)[:, ::2],
        lambda y: y.astype(">f4"),
        lambda y: y.tolist(),
    ],
    ids=["float64", "float16", "int64", "bool", "fortran", "strided", "big-endian", "lists"],
)
def test_real_numbers_of_any_type_and_order_may_be_returned(convert: Any) -> None:
    x = np.arange(-9, 9, dtype=F32).reshape(3, 6)
    y = infer_with(CustomOperator("convert", convert), x)
    np.testing.assert_array_equal(y, np.asarray(convert(x), F32))


def test_the_plan_shows_the_operator_by_its_name() -> None:
    model = tritium.build_model([BitLinear(trits(4, 6), 1), Custom(SOFTCAP)], input_shape=(6,))
    plan = tritium.InferenceEngine(threads=1, custom_operators=[SOFTCAP]).plan(model)
    assert plan.steps == ["quantize", "ternary_matmul", "custom:softcap"]
    assert "custom:softcap       (0@" in plan.describe()
    assert model.core.graph.splitlines()[1] == "1: custom:softcap(0) -> 1 [samples, 4]"


# Registration -------------------------------------------------------------------------------------


def test_an_engine_must_have_the_operator() -> None:
    other = CustomOperator("other", lambda x: x)
    for operators, known in (([], "nothing is"), ([other], "registered: 'other'")):
        engine = tritium.InferenceEngine(threads=1, custom_operators=operators)
        message = rf"uses 'softcap', which is not registered with this engine; {known}"
        with pytest.raises(OptimizationError, match=message):
            engine.plan(model_of(SOFTCAP))
        with pytest.raises(OptimizationError, match=message):
            engine.infer(model_of(SOFTCAP), np.zeros(6))
        assert engine.infer(tritium.build_model([ReLU()], input_shape=(2,)), [-1, 1]).tolist() == [
            0,
            1,
        ]


def test_the_engine_has_its_own_operator_of_the_name() -> None:
    engine = tritium.InferenceEngine(custom_operators=[CustomOperator("softcap", lambda x: x + 1)])
    np.testing.assert_array_equal(engine.infer(model_of(SOFTCAP), np.zeros(6)), np.ones(6))


def test_two_operators_of_one_name_are_refused() -> None:
    with pytest.raises(OptimizationError, match="'softcap' is registered twice"):
        tritium.InferenceEngine(custom_operators=[SOFTCAP, SOFTCAP])
    with pytest.raises(OptimizationError, match="needs a name"):
        tritium.InferenceEngine(custom_operators=[CustomOperator("", lambda x: x)])


def test_an_operator_that_infers_another_shape_than_the_models_is_refused() -> None:
    model = model_of(CustomOperator("cut", lambda x: x[:, :4], (4,)))
    engine = tritium.InferenceEngine(
        custom_operators=[CustomOperator("cut", lambda x: x[:, :3], [3])]
    )
    with pytest.raises(
        OptimizationError, match=r"'cut' makes samples of \[3\] from \[6\].*for \[4\]"
    ):
        engine.plan(model)


@pytest.mark.parametrize("shape", [(), (0,), (3, -1), (1 << 40, 1 << 40)])
def test_impossible_output_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelLoadError):
        model_of(CustomOperator("odd", lambda x: x, shape))


@pytest.mark.parametrize(
    ("rule", "cause"), [(lambda shape: shape[3], IndexError), (lambda shape: (1.5,), TypeError)]
)
def test_a_shape_rule_that_fails_is_the_cause_of_the_error(
    rule: Callable[..., Any], cause: type[Exception]
) -> None:
    with pytest.raises(
        ModelLoadError, match=rf"'odd' cannot take samples of \[6\]: {cause.__name__}"
    ) as caught:
        model_of(CustomOperator("odd", lambda x: x, rule))
    assert isinstance(caught.value.__cause__, cause)


def test_what_is_no_operator_is_a_type_error() -> None:
    for function in (None, 5, "tanh"):
        with pytest.raises(TypeError):
            model_of(CustomOperator("odd", function))
    with pytest.raises(TypeError):
        model_of(CustomOperator(5, lambda x: x))
    with pytest.raises((TypeError, AttributeError)):
        tritium.InferenceEngine(custom_operators=[lambda x: x])


# Failures -----------------------------------------------------------------------------------------


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: None, "it returned None, an array is needed"),
        (lambda x: x.astype(complex), "it gave complex128, real numbers"),
        (lambda x: x.astype(object), "it gave object, real numbers"),
        (lambda x: x.astype(str), "it gave <U32, real numbers"),
        (lambda x: x[:, :5], r"it gave shape \[3, 5\], \[3, 6\] is needed"),
        (lambda x: x[0], r"it gave shape \[6\], \[3, 6\]"),
        (lambda x: x.T, r"it gave shape \[6, 3\], \[3, 6\]"),
        (lambda x: x.reshape(3, 2, 3), r"it gave shape \[3, 2, 3\], \[3, 6\]"),
        (lambda x: 0, r"it gave shape \[\], \[3, 6\]"),
        (lambda x: [[1.0], [1.0, 2.0], []], "ValueError: "),
        (lambda x, z: x, "TypeError: .*missing 1 required positional argument: 'z'"),
        (lambda x: 1 // 0, "ZeroDivisionError: "),
        (lambda x: (_ for _ in ()).throw(OddError), "OddError"),
    ],
)
def test_a_failure_names_the_operator_and_the_engine_goes_on(
    result: Callable[..., Any], message: str
) -> None:
    current: Callable[..., Any] = softcap
    operator = CustomOperator("moody", lambda *inputs: current(*inputs))
    model = tritium.build_model(
        [BitLinear(trits(6, 6), 1), Custom(operator), ReLU()], input_shape=(6,)
    )
    engine = tritium.InferenceEngine(threads=2, custom_operators=[operator])
    x = random(3, 6)
    expected = engine.infer(model, x)
    for _ in range(2):
        current = result
        with pytest.raises(BatchProcessingError, match=rf"'moody' failed at layer '1': {message}"):
            engine.infer(model, x)
        current = softcap
        np.testing.assert_array_equal(engine.infer(model, x), expected)


def test_what_was_raised_is_the_cause_with_its_traceback() -> None:
    error = KeyError("missing")

    def fail(x: np.ndarray) -> np.ndarray:
        raise error

    with pytest.raises(BatchProcessingError, match="KeyError: 'missing'") as caught:
        infer_with(CustomOperator("fail", fail), random(3, 6))
    assert caught.value.__cause__ is error
    names = []
    frame = error.__traceback__
    while frame:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    assert names[-1] == "fail"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_goes_on_as_it_is(stop: type[BaseException]) -> None:
    def interrupted(x: np.ndarray) -> np.ndarray:
        raise stop

    with pytest.raises(stop):
        infer_with(CustomOperator("interrupted", interrupted), random(3, 6))


def test_a_failure_in_a_later_pass_fails_the_call() -> None:
    calls = []

    def late(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        if len(calls) == 3:
            raise ValueError("third")
        return x

    operator = CustomOperator("late", late)
    engine = tritium.InferenceEngine(threads=2, custom_operators=[operator])
    x = random(200, 6)
    with pytest.raises(BatchProcessingError, match="third"):
        engine.infer(model_of(operator), x)
    np.testing.assert_array_equal(engine.infer(model_of(operator), x), x)


# Arrays, engines, threads -------------------------------------------------------------------------


def test_a_function_may_keep_and_change_its_arrays() -> None:
    kept = []

    def keep(x: np.ndarray) -> np.ndarray:
        kept.append(x)
        kept.append(x[1:])
        kept.append(memoryview(x))
        y = x + 1
        x[:] = -1
        return y

    operator = CustomOperator("keep", keep)
    engine = tritium.InferenceEngine(threads=1, custom_operators=[operator])
    model = tritium.build_model([Linear(np.eye(6)), Custom(operator)], input_shape=(6,))
    x = random(3, 6)
    unchanged = x.copy()
    np.testing.assert_array_equal(engine.infer(model_of(operator), x), unchanged + 1)
    np.testing.assert_array_equal(engine.infer(model, x), unchanged + 1)
    np.testing.assert_array_equal(x, unchanged)
    del engine, model
    gc.collect()
    for each in kept:
        assert (np.asarray(each) == -1).all()
    for each in kept:
        np.asarray(each)[:] = 5


def test_what_the_function_returned_may_be_kept_and_changed() -> None:
    memory = np.zeros((3, 6), F32)

    def fill(x: np.ndarray) -> np.ndarray:
        np.multiply(x, 2, out=memory)
        return memory

    x = random(3, 6)
    y = infer_with(CustomOperator("fill", fill), x)
    memory[:] = 0
    np.testing.assert_array_equal(y, 2 * x)


def test_a_call_from_within_a_call_is_an_error_and_no_deadlock() -> None:
    engines: list[tritium.InferenceEngine] = []
    plain = model_of(SOFTCAP)
    operator = CustomOperator("calls", lambda x: engines[0].infer(plain, x))
    outer, other = (
        tritium.InferenceEngine(threads=2, custom_operators=[operator, SOFTCAP]) for _ in range(2)
    )
    x = random(70, 6)
    engines.append(outer)
    message = "'calls' failed at layer '0': .* from within a call of the same engine"
    with pytest.raises(BatchProcessingError, match=message) as caught:
        outer.infer(model_of(operator), x)
    assert isinstance(caught.value.__cause__, BatchProcessingError)
    engines[0] = other
    np.testing.assert_array_equal(outer.infer(model_of(operator), x), softcap(x))


def test_calls_from_several_threads_run_the_function_one_by_one() -> None:
    inside, most = 0, 0

    def alone(x: np.ndarray) -> np.ndarray:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        y = softcap(x)
        inside -= 1
        return y

    operator = CustomOperator("alone", alone)
    engine = tritium.InferenceEngine(threads=2, custom_operators=[operator])
    model = model_of(operator)
    x = random(100, 6)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                np.testing.assert_array_equal(engine.infer(model, x), softcap(x))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert most == 1


def test_an_object_with_engine_and_function_is_collected() -> None:
    class Application:
        def __init__(self) -> None:
            self.operator = CustomOperator("own", self.double)
            self.engine = tritium.InferenceEngine(threads=1, custom_operators=[self.operator])
            self.model = model_of(self.operator)

        def double(self, x: np.ndarray) -> np.ndarray:
            return 2 * x

    application = Application()
    assert application.engine.infer(application.model, np.ones(6)).tolist() == [2] * 6
    alive = weakref.ref(application)
    del application
    gc.collect()
    assert alive() is None


def test_an_engine_keeps_its_operators() -> None:
    engine = tritium.InferenceEngine(custom_operators=[CustomOperator("own", lambda x: 2 * x)])
    model = model_of(CustomOperator("own", lambda x: x))
    gc.collect()
    assert engine.infer(model, np.ones(6)).tolist() == [2] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:This process")  # fork() beside threads is what is tested
def test_a_forked_child_gets_a_device_error_and_may_make_its_own_engine() -> None:
    engine = tritium.InferenceEngine(threads=2, custom_operators=[SOFTCAP])
    model = model_of(SOFTCAP)
    x = random(40, 6)
    expected = engine.infer(model, x)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            try:
                engine.infer(model, x)
            except tritium.DeviceError:
                own = tritium.InferenceEngine(threads=2, custom_operators=[SOFTCAP])
                status = 0 if np.array_equal(own.infer(model, x), expected) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(engine.infer(model, x), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_function_may_fork() -> None:
    """The child goes on inside the call, where it can end."""

    def fork(x: np.ndarray) -> np.ndarray:
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        return x

    x = random(3, 6)
    np.testing.assert_array_equal(infer_with(CustomOperator("fork", fork), x, threads=2), x)
