"""Tritium runs ternary (BitNet b1.58) language models."""

from ._core import ExecutionPlan, MemoryUsage, ModelConfig, __version__
from .engine import InferenceEngine
from .errors import (
    BatchProcessingError,
    DeviceError,
    MemoryLimitError,
    ModelLoadError,
    OptimizationError,
    TritiumError,
)
from .llm import LLM
from .model import Model, load
from .sampling import SamplingOptions
from .streaming import GenerationResult, TextChunk, Timings, TokenLogprob
from .tokenizer import Tokenizer

__all__ = [
    "LLM",
    "BatchProcessingError",
    "DeviceError",
    "ExecutionPlan",
    "GenerationResult",
    "InferenceEngine",
    "MemoryLimitError",
    "MemoryUsage",
    "Model",
    "ModelConfig",
    "ModelLoadError",
    "OptimizationError",
    "SamplingOptions",
    "TextChunk",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "TritiumError",
    "__version__",
    "load",
]
