"""Which device is it, and is MLX asked only when it is needed?"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import tritium


def python(code: str, *path, **variables) -> str:
    """What a Python of its own prints, with the folders `path` in front of its modules."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")}
    package = os.path.dirname(os.path.dirname(tritium.__file__))
    inherited["PYTHONPATH"] = os.pathsep.join([*map(str, path), package])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env=inherited | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_MLX = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "mlx":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
    import tritium
"""


def test_importing_and_using_the_cpu_does_not_import_mlx():
    code = """
        import sys
        import tritium
        assert not any(name.split(".")[0] == "mlx" for name in sys.modules)
        with tritium.LLM(device="cpu") as llm:
            llm.generate("Once", max_tokens=2)
        assert not any(name.split(".")[0] == "mlx" for name in sys.modules)
    """
    assert python(code) == ""


def test_without_mlx_everything_else_works_and_the_message_says_what_to_do():
    code = (
        WITHOUT_MLX
        + """
    mlx, _, cpu = tritium.devices()
    assert not mlx.is_available and cpu.is_available
    print(mlx.missing)
    try:
        tritium.LLM(device="mlx")
    except tritium.DeviceError as error:
        print(error)
    with tritium.LLM() as llm:
        print(llm.engine.device)
    """
    )
    assert python(code).splitlines() == [
        'not installed (pip install "tritium[mlx]")',
        '[device] mlx is not installed (pip install "tritium[mlx]"); available: cpu',
        "cpu",
    ]


def test_without_mlx_the_cpu_takes_over_if_it_may():
    code = (
        WITHOUT_MLX
        + """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with tritium.LLM(device="mlx", fallback=True) as llm:
            print(llm.engine.device, llm.generate("Once", max_tokens=3).text is not None)
    for warning in caught:
        print(warning.category.__name__, warning.message)
    """
    )
    lines = python(code).splitlines()
    assert lines[0] == "cpu True"
    assert lines[1].startswith(
        "RuntimeWarning models run on the CPU: [device] mlx is not installed"
    )
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise OSError('libmlx is for another machine')", "importing it fails: OSError: libmlx"),
        ("__version__ = '0.12.3'", "mlx is here as 0.12.3, and at least 0.30 is needed"),
    ],
)
def test_an_mlx_that_does_not_fit_is_a_message(tmp_path, source, message):
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx/__init__.py").touch()
    (tmp_path / "mlx/core.py").write_text(source)
    code = """
        import tritium
        try:
            tritium.InferenceEngine("mlx")
        except tritium.DeviceError as error:
            print(error)
        print(tritium.InferenceEngine().device)
    """
    error, device = python(code, tmp_path).splitlines()
    assert message in error
    assert device == "cpu"


def test_the_variable_chooses_for_auto_and_the_option_wins():
    code = """
        import tritium
        print(tritium.InferenceEngine().device, tritium.InferenceEngine("cpu").device)
    """
    assert python(code, TRITIUM_DEVICE="cpu").split() == ["cpu", "cpu"]
    code = """
        import tritium
        try:
            tritium.InferenceEngine()
        except tritium.DeviceError as error:
            print(error)
    """
    assert "unknown device 'abacus'" in python(code, TRITIUM_DEVICE="abacus")


@pytest.mark.skipif(sys.platform == "darwin", reason="MLX may be chosen there")
def test_a_device_is_chosen_without_importing_mlx() -> None:
    code = """
        import sys
        import tritium
        tritium.InferenceEngine()
        print([name for name in sys.modules if name.split(".")[0] == "mlx"])
    """
    assert python(code).split() == ["[]"]


def test_mlx_without_a_gpu_runs_when_it_is_named_and_not_by_itself():
    mlx = tritium.devices()[0]
    if not mlx.is_available or mlx.not_chosen is None:
        assert tritium.InferenceEngine().device in ("cpu", "metal", "mlx")
        return
    assert mlx.not_chosen == "without a GPU here"
    assert mlx.detail.startswith("MLX ")
    assert mlx.detail.endswith(" on the CPU")
    assert tritium.InferenceEngine().device != "mlx"
    assert tritium.InferenceEngine("mlx").device == "mlx"
    with pytest.raises(tritium.DeviceError, match="mlx is without a GPU here"):
        tritium.InferenceEngine(gpu_acceleration=True)
