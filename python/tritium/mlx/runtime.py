"""Which MLX is there, and does the extension fit it?"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType

from ..errors import DeviceError

_INSTALL = 'pip install "tritium[mlx]"'


class MLXError(DeviceError, ImportError):
    """MLX is missing, or it is another one than the extension was built for."""


def _import_mlx() -> None:
    try:
        importlib.import_module("mlx.core")
    except ImportError as error:
        raise MLXError(f"[mlx] MLX cannot be imported ({error}); install it: {_INSTALL}") from error


_import_mlx()

#: The compiled extension, or None where this build has none.
extension: ModuleType | None = None
