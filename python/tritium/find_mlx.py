"""Can this process use MLX?"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import cache
from typing import TYPE_CHECKING

from . import _core
from .errors import DeviceError

if TYPE_CHECKING:
    from .mlx.backend import MlxBackend

OLDEST_MLX = (0, 30)


@cache
def look_for_mlx() -> tuple[str, str, str]:
    """Why MLX cannot be used, why "auto" leaves it alone, and what it is; each may be empty.

    MLX is imported if it is installed.
    """
    if not _is_installed():
        return 'not installed (pip install "tritium[mlx]")', "", ""
    try:
        mx = importlib.import_module("mlx.core")
    except Exception as error:  # it may be built for another system
        return f"installed, and importing it fails: {type(error).__name__}: {error}", "", ""
    version = tuple(int(part) for part in re.findall(r"\d+", mx.__version__)[:2])
    if version < OLDEST_MLX:
        oldest = ".".join(map(str, OLDEST_MLX))
        return f"here as {mx.__version__}, and at least {oldest} is needed", "", ""
    try:
        importlib.import_module("tritium.mlx")
    except DeviceError as error:
        return f"here as {mx.__version__}: {str(error).removeprefix('[mlx] ')}", "", ""
    if mx.default_device() == mx.cpu:
        return "", "without a GPU here", f"MLX {mx.__version__} on the CPU"
    name = mx.device_info().get("device_name", "GPU")
    not_chosen = "" if mx.metal.is_available() else "not working on CUDA yet"
    return "", not_chosen, f"MLX {mx.__version__} on {name}"


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("mlx.core") is not None
    except ModuleNotFoundError:
        return False


def _make_mlx_backend() -> MlxBackend:
    missing, _, _ = look_for_mlx()
    if missing:
        raise DeviceError(f"[device] mlx is {missing}")
    from .mlx.backend import MlxBackend

    return MlxBackend()


def register_mlx() -> None:
    """Let the core know how to ask for MLX, without importing it."""
    # Elsewhere "auto" would not choose it, and importing MLX takes time and memory.
    has_metal = sys.platform == "darwin"
    _core.register_backend("mlx", look_for_mlx, _make_mlx_backend, automatic=has_metal)
