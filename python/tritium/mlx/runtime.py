"""Which MLX is there, and does the extension fit it?"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from types import ModuleType

from ..errors import DeviceError

_INSTALL = 'pip install "tritium[mlx]"'
_REBUILD = "build tritium again beside it (docs/mlx.md), or install that MLX"


class MLXError(DeviceError, ImportError):
    """MLX is missing, or it is another one than the extension was built for."""


def _import_mlx() -> str:
    """The version of MLX."""
    try:
        return importlib.import_module("mlx.core").__version__
    except ImportError as error:
        raise MLXError(f"[mlx] MLX cannot be imported ({error}): {_INSTALL}") from error


def _import_extension(version: str) -> ModuleType | None:
    """The compiled extension, or None where this build has none."""
    package = __name__.rpartition(".")[0]
    if importlib.util.find_spec(f"{package}._built_for") is None:
        return None
    built_for = importlib.import_module(f"{package}._built_for").MLX_VERSION
    if built_for != version:
        raise MLXError(
            f"[mlx] the extension was built for MLX {built_for}, and {version} is installed: "
            f"{_REBUILD}"
        )
    before = _nanobind_keys()
    try:
        module = importlib.import_module(f"{package}._extension")
    except ImportError as error:
        raise MLXError(
            f"[mlx] the extension cannot be loaded ({error}): {_REBUILD} {version}"
        ) from error
    # Types pass between modules that share a key. One with another key would take no array.
    if added := _nanobind_keys() - before:
        raise MLXError(
            f"[mlx] the extension was built with another nanobind than MLX {version}: "
            f"its key is {_joined(added)}, that of MLX {_joined(before)}; {_REBUILD}"
        )
    return module


def _nanobind_keys() -> set[str]:
    """Under which names nanobind's modules keep their types in this interpreter."""
    python = ctypes.pythonapi
    python.PyInterpreterState_Get.restype = ctypes.c_void_p
    python.PyInterpreterState_GetDict.argtypes = [ctypes.c_void_p]
    python.PyInterpreterState_GetDict.restype = ctypes.c_void_p  # borrowed; py_object would own it
    address = python.PyInterpreterState_GetDict(python.PyInterpreterState_Get())
    state = ctypes.cast(address, ctypes.py_object).value
    return {key for key in state if isinstance(key, str) and key.startswith("__nb_internals")}


def _joined(keys: set[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


MLX_VERSION = _import_mlx()
extension = _import_extension(MLX_VERSION)
