"""Tritium runs ternary (BitNet b1.58) models: language models and plain networks."""

from . import layers
from ._core import (
    ExecutionPlan,
    MemoryUsage,
    ModelCache,
    ModelCacheStatistics,
    ModelConfig,
    ModelMetadata,
    __version__,
)
from .batching import BatchConfig, BatchProcessor, BatchSize
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
from .items import ItemResult
from .llm import LLM
from .loaders.torch_modules import from_torch
from .model import LanguageModel, Model, load
from .model_loader import ModelLoader
from .network import build_model
from .perplexity import Perplexity, measure_perplexity
from .sampling import SamplingOptions
from .streaming import GenerationResult, TextChunk, Timings, TokenLogprob
from .tokenizer import Tokenizer

__all__ = [
    "LLM",
    "BatchConfig",
    "BatchProcessingError",
    "BatchProcessor",
    "BatchSize",
    "ChatFormat",
    "Conversation",
    "DeviceError",
    "ExecutionPlan",
    "GenerationResult",
    "InferenceEngine",
    "ItemResult",
    "LanguageModel",
    "MemoryLimitError",
    "MemoryUsage",
    "Message",
    "Model",
    "ModelCache",
    "ModelCacheStatistics",
    "ModelConfig",
    "ModelLoadError",
    "ModelLoader",
    "ModelMetadata",
    "OptimizationError",
    "Perplexity",
    "SamplingOptions",
    "TextChunk",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "TritiumError",
    "__version__",
    "build_model",
    "from_torch",
    "layers",
    "load",
    "measure_perplexity",
]
