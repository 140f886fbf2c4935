"""Ternary layers for MLX: `ternary_matmul` and `BitLinear`.

Needs MLX (`pip install "tritium[mlx]"`); without it the import is an MLXError, which is a
DeviceError and an ImportError. `import tritium` imports nothing of this.
"""

from . import runtime  # first, as it says what is missing
from .layers import BitLinear
from .ops import runs_on, ternary_matmul
from .panels import pack_panels, unpack_panels

MLXError = runtime.MLXError

__all__ = [
    "BitLinear",
    "MLXError",
    "pack_panels",
    "runs_on",
    "ternary_matmul",
    "unpack_panels",
]
