"""How does one choose the options of an engine one after the other?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .custom_operator import CustomOperator
    from .engine import InferenceEngine


class EngineBuilder:
    """Collects options of `InferenceEngine`, which says what they mean. Each method gives back the
    builder; what is not called keeps its default.

    An option that cannot be is an error of `build`.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def device(self, name: str) -> EngineBuilder:
        """ "auto", "cpu", "metal" or "mlx"."""
        return self._set(device=name)

    def enable_gpu_acceleration(self, enabled: bool = True) -> EngineBuilder:
        """Let the device "auto" be a GPU only; False: none."""
        return self._set(gpu_acceleration=enabled)

    def fallback(self, enabled: bool = True) -> EngineBuilder:
        """Let the CPU run what the device cannot."""
        return self._set(fallback=enabled)

    def threads(self, count: int) -> EngineBuilder:
        """Number of threads that compute."""
        return self._set(threads=count)

    def batch_size(self, samples: int) -> EngineBuilder:
        """The most samples of a network that one pass takes, in [1, 65536]."""
        return self._set(batch_size=samples)

    def memory_pool_size(self, size: int | str) -> EngineBuilder:
        """Most working memory: bytes, or a text such as "512MB"."""
        return self._set(memory_pool_size=size)

    def memory_limit(self, size: int | str) -> EngineBuilder:
        """Most memory of all that the engine allocates: bytes, or a text such as "2GB"."""
        return self._set(memory_limit=size)

    def optimization_level(self, level: str) -> EngineBuilder:
        """ "none", "basic" or "aggressive"."""
        return self._set(optimization_level=level)

    def ternary_format(self, name: str) -> EngineBuilder:
        """ "auto", "2bit" or "1.6bit"."""
        return self._set(ternary_format=name)

    def with_custom_operators(self, operators: Sequence[CustomOperator]) -> EngineBuilder:
        """The operators that models may name."""
        return self._set(custom_operators=operators)

    def cache(
        self, folder: str | os.PathLike[str] | None, max_size: int = 16_000_000_000
    ) -> EngineBuilder:
        """Where packed weights of large models are kept, None for nowhere, and bytes of it."""
        return self._set(cache_dir=folder, max_cache_size=max_size)

    def build(self) -> InferenceEngine:
        """The engine. Errors as of `InferenceEngine`."""
        from .engine import InferenceEngine

        return InferenceEngine(**self._options)

    def _set(self, **options: Any) -> EngineBuilder:
        self._options.update(options)
        return self
