"""Tritium runs ternary (BitNet b1.58) models: language models and plain networks."""

from . import layers
from ._core import (
    Device,
    ExecutionPlan,
    MemoryStats,
    MemoryUsage,
    ModelCache,
    ModelCacheStatistics,
    ModelConfig,
    ModelMemory,
    ModelMetadata,
    PlanStep,
    PlanValue,
    __version__,
    devices,
)
from .batching import BatchConfig, BatchProcessor, BatchSize
from .chat import ChatFormat, Message
from .conversation import Conversation
from .custom_operator import CustomOperator
from .engine import InferenceEngine
from .engine_builder import EngineBuilder
from .errors import (
    BatchProcessingError,
    DeviceError,
    MemoryLimitError,
    ModelLoadError,
    OptimizationError,
    TritiumError,
)
from .find_mlx import register_mlx
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
    "CustomOperator",
    "Device",
    "DeviceError",
    "EngineBuilder",
    "ExecutionPlan",
    "GenerationResult",
    "InferenceEngine",
    "ItemResult",
    "LanguageModel",
    "MemoryLimitError",
    "MemoryStats",
    "MemoryUsage",
    "Message",
    "Model",
    "ModelCache",
    "ModelCacheStatistics",
    "ModelConfig",
    "ModelLoadError",
    "ModelLoader",
    "ModelMemory",
    "ModelMetadata",
    "OptimizationError",
    "Perplexity",
    "PlanStep",
    "PlanValue",
    "SamplingOptions",
    "TextChunk",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "TritiumError",
    "__version__",
    "build_model",
    "devices",
    "from_torch",
    "layers",
    "load",
    "measure_perplexity",
]

register_mlx()
