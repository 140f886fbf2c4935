"""Tritium runs ternary (BitNet b1.58) language models."""

from ._core import ExecutionPlan, MemoryUsage, ModelConfig, __version__
from .chat import ChatFormat, Message
from .conversation import Conversation
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
from .perplexity import Perplexity, measure_perplexity
from .sampling import SamplingOptions
from .streaming import GenerationResult, TextChunk, Timings, TokenLogprob
from .tokenizer import Tokenizer

__all__ = [
    "LLM",
    "BatchProcessingError",
    "ChatFormat",
    "Conversation",
    "DeviceError",
    "ExecutionPlan",
    "GenerationResult",
    "InferenceEngine",
    "MemoryLimitError",
    "MemoryUsage",
    "Message",
    "Model",
    "ModelConfig",
    "ModelLoadError",
    "OptimizationError",
    "Perplexity",
    "SamplingOptions",
    "TextChunk",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "TritiumError",
    "__version__",
    "load",
    "measure_perplexity",
]
