"""The kinds of error that Tritium raises.

The compiled core raises the same classes under the same names. Each of them is also the builtin
error that a caller would expect, so ``except ValueError`` keeps working.
"""

__all__ = [
    "BatchProcessingError",
    "DeviceError",
    "MemoryLimitError",
    "ModelLoadError",
    "OptimizationError",
    "TritiumError",
]


class TritiumError(Exception):
    """Whatever Tritium itself reports."""


class ModelLoadError(TritiumError, ValueError):
    """A path, a file, a tensor or a configuration that cannot be used."""


class DeviceError(TritiumError, RuntimeError):
    """A device, a kernel set or a thread count that this machine does not have."""


class BatchProcessingError(TritiumError, ValueError):
    """A request that does not fit the model: token ids, lengths, shapes, sampling options."""


class MemoryLimitError(TritiumError, MemoryError):
    """A limit that would be passed."""


class OptimizationError(TritiumError, RuntimeError):
    """A graph that cannot become a plan."""
