"""What happens where MLX, or the extension that fits it, is not there?"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

import tritium
from tritium.mlx import runtime

PACKAGE = Path(tritium.__file__).parent

PRODUCT = """
import mlx.core as mx, numpy as np
from tritium.mlx import BitLinear, runs_on
from ternary_cases import *
m = Matrix.random(Case(33, 100, scale='rows', bias=True)); x = activations(3, 100)
layer = BitLinear.from_weights(m.trits, m.scale, m.bias)
print(runs_on(), same_bits(layer(mx.array(x)), m.product(x)))
"""
CAUGHT = """
import tritium
try:
    import tritium.mlx
except ImportError as error:
    assert isinstance(error, tritium.DeviceError)
    print(type(error).__name__, error)
"""


def run(code: str, *folders: Path) -> str:
    """What a fresh Python prints that finds packages in these folders first."""
    path = [*map(str, folders), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def copy(tmp_path):
    """A folder with a copy of the package that a test may damage."""
    shutil.copytree(PACKAGE, tmp_path / "tritium", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def extension_of(folder: Path) -> Path:
    (path,) = (folder / "tritium/mlx").glob("_extension.*")
    return path


def test_tritium_does_not_import_mlx():
    assert run("import tritium, tritium.cli\nprint('mlx.core' in sys.modules)") == "False"


def test_without_mlx_tritium_runs_and_says_how_to_install_it():
    hidden = (
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'mlx': raise ModuleNotFoundError(f'No module {name}')\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    said = run(hidden + CAUGHT)
    assert said.startswith("MLXError [mlx] MLX cannot be imported (No module mlx")
    assert 'pip install "tritium[mlx]"' in said
    engine = "import tritium\nprint(tritium.InferenceEngine(device='cpu').device)"
    assert run(hidden + engine) == "cpu"


def test_mlx_that_does_not_load_is_reported(tmp_path):
    (tmp_path / "mlx").mkdir()
    (tmp_path / "mlx/__init__.py").touch()
    (tmp_path / "mlx/core.py").write_text("raise ImportError('libmlx.so: cannot open')\n")
    said = run(CAUGHT, tmp_path)
    assert "MLXError [mlx] MLX cannot be imported (libmlx.so: cannot open)" in said


def test_an_extension_for_another_mlx_is_refused(copy):
    (copy / "tritium/mlx/_built_for.py").write_text('MLX_VERSION = "0.1.2"\n')
    said = run(CAUGHT, copy)
    assert f"built for MLX 0.1.2, and {mx.__version__} is installed" in said


def test_an_extension_that_does_not_load_is_reported(copy):
    extension_of(copy).write_bytes(b"\x7fELF and nothing more")
    said = run(CAUGHT, copy)
    assert said.startswith("MLXError [mlx] the extension cannot be loaded (")
    assert mx.__version__ in said


def test_an_extension_of_another_nanobind_is_refused(copy):
    # Its key, which ends in the version of what nanobind keeps, becomes another one.
    (key,) = runtime._nanobind_keys()
    ours = key.removeprefix("__nb_internals_").removesuffix("_mlx__").encode()
    other = ours[:-2] + b"00"
    extension = extension_of(copy)
    module = extension.read_bytes()
    assert ours + b"\0" in module
    extension.write_bytes(module.replace(ours + b"\0", other + b"\0"))
    said = run(CAUGHT, copy)
    assert "built with another nanobind than MLX" in said
    assert f"__nb_internals_{other.decode()}_mlx__" in said
    assert key in said


def test_without_the_extension_mlx_computes_the_same_bits(copy):
    assert run(PRODUCT, copy) == "kernels True"
    extension_of(copy).unlink()
    (copy / "tritium/mlx/_built_for.py").unlink()
    assert run(PRODUCT, copy) == "operations True"


def test_looking_for_keys_leaves_the_interpreter_as_it_was():
    code = (
        "import ctypes\n"
        "from tritium.mlx import runtime\n"
        "first = runtime._nanobind_keys()\n"
        "assert all(runtime._nanobind_keys() == first for _ in range(100))\n"
        "print(len(first))"
    )
    assert run(code) == "1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="readelf is for ELF")
def test_the_extension_finds_libmlx_beside_the_package():
    data = extension_of(PACKAGE.parent).read_bytes()
    assert b"$ORIGIN/../../mlx/lib\0" in data
