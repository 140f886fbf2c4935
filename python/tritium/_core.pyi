"""The compiled core. Everything here is re-exported or wrapped by the package; import from
`tritium`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

import tritium.model

__version__: str

class MappedFile:
    """The bytes of a file, read-only; supports the buffer protocol (memoryview(file), without a
    copy).
    """

    @staticmethod
    def open(path: str, map_above: int | None = 0) -> MappedFile:
        """Map `path` if it has more than `map_above` bytes, else read it; None maps nothing.
        ModelLoadError if that cannot be done.
        """

    @staticmethod
    def from_buffer(buffer: Buffer, path: str = "memory") -> MappedFile:
        """A contiguous buffer's bytes, not copied: held while they are used, never to change."""

    @property
    def path(self) -> str: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class RopeConfig:
    """Rotary positions: base and stretching of the frequencies; the fields of Hugging Face's
    rope_parameters.
    """

    def __init__(
        self,
        *,
        theta: float,
        scaling: str = "none",  # "none" | "linear" | "llama3"
        factor: float = 1.0,
        low_freq_factor: float = 1.0,  # these three for "llama3"
        high_freq_factor: float = 4.0,
        original_context: float = 8192.0,  # tokens
    ) -> None: ...
    theta: float
    scaling: str
    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: float

class ModelConfig:
    """Sizes and rules of a decoder language model. The constructor validates: ModelLoadError names
    the field.
    """

    def __init__(
        self,
        *,
        architecture: str,  # "bitnet" | "llama"
        vocab_size: int,
        hidden_size: int,
        intermediate_size: int,
        layers: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        context_length: int,
        rms_norm_eps: float,
        rope: RopeConfig,
        activation: str,  # "relu2" | "silu"
        tied_head: bool,
        scale_direction: str = "multiply",  # y = acc * scale ("multiply") or acc / scale ("divide")
        attention_bias: bool = False,  # of q, k, v and o
        mlp_bias: bool = False,  # of gate, up and down
        # a norm in front of every ternary linear, "<name>.rms_norm.weight"
        linear_norm_eps: float | None = None,
    ) -> None: ...
    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    rms_norm_eps: float
    rope: RopeConfig
    attention_bias: bool
    mlp_bias: bool
    linear_norm_eps: float | None
    activation: str
    tied_head: bool
    scale_direction: str

class TensorSource:
    """Named tensors as spans of files, in the neutral names of `csrc/model` (those of Hugging
    Face).
    """

    def __init__(self) -> None: ...
    def add(
        self,
        name: str,
        *,
        dtype: str,  # "float32" | "float16" | "bfloat16" | "uint8" | "int8"
        # "plain" (used as it is) | "ternary_masters" (floats that stand for ternary weights) |
        encoding: str,
        # "ternary_trits" (int8) | "ternary_stripes" (2-bit codes, four stripes of rows)
        shape: Sequence[int],  # as stored: (ceil(rows / 4), columns) for ternary_stripes
        file: MappedFile,
        offset: int,  # bytes from the start of the file
        nbytes: int,
    ) -> None:
        """ModelLoadError if the span leaves the file or does not fit the shape, or the name is
        taken.
        """

    def __len__(self) -> int: ...
    def __contains__(self, name: object) -> bool: ...
    def names(self) -> list[str]: ...

class Model:
    """A model: tensors and operator graph, and the configuration of a language model. Immutable.
    NetworkBuilder makes plain networks.
    """

    def __init__(self, config: ModelConfig, source: TensorSource) -> None:
        """A language model. ModelLoadError if tensors are missing or have no place in the model,
        one has a wrong shape or dtype, or a scale is not finite.
        """

    @property
    def name(self) -> str:
        """Of a language model, its architecture."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample; () for a language model, one token id."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample's result; (vocab_size,) for a language model."""

    @property
    def is_language_model(self) -> bool: ...
    @property
    def config(self) -> ModelConfig:
        """BatchProcessingError if this is no language model."""

    @property
    def parameter_count(self) -> int: ...
    @property
    def ternary_parameter_count(self) -> int: ...
    @property
    def weight_form(self) -> str:
        """packed (2-bit codes with stored scales) or masters (floats, ternarised by absmean)."""

    @property
    def graph(self) -> str:
        """The operator graph as text, one operator a line."""

    def metadata(self, name: str, version: str = "") -> ModelMetadata: ...
    def with_cache(self, folder: str, max_bytes: int) -> Model:
        """The same model; a CPU engine keeps its packed weights in `folder`, at most so many
        bytes, whatever the engine's own options say.
        """

class ModelMetadata:
    """What can be said of a model without its weights."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str:
        """Of the model, as whoever saved it called it; "" if they did not."""

    @property
    def architecture(self) -> str:
        """ "network", or the family of a language model."""

    @property
    def parameter_count(self) -> int: ...
    @property
    def quantization_bits(self) -> int:
        """That a ternary weight takes when an engine has packed it, 2; 32 without any."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample; () for a language model, one token id."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample's result; (vocab_size,) for a language model."""

class ModelFile:
    """A model, what is said of it, and the files that go with it."""

    @property
    def model(self) -> Model: ...
    @property
    def metadata(self) -> ModelMetadata: ...
    @property
    def files(self) -> dict[str, bytes]: ...

def save_model(model: Model, path: str, name: str, version: str, files: dict[str, bytes]) -> None:
    """ModelLoadError if the file cannot be written."""

def open_model_file(file: MappedFile) -> ModelFile:
    """ModelLoadError for anything that save_model would not have written."""

def read_model_metadata(file: MappedFile) -> ModelMetadata:
    """ModelLoadError if what is said of the model cannot be."""

class ModelCacheStatistics:
    @property
    def hits(self) -> int:
        """Calls that found the model, or waited for another caller's load."""

    @property
    def misses(self) -> int:
        """Calls that loaded."""

    @property
    def evictions(self) -> int:
        """Models that made room."""

    @property
    def entries(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Of the tensors of all models that are kept."""

_AnyModel = TypeVar("_AnyModel", bound=tritium.model.Model)

class ModelCache:
    """Models by key, each loaded once; those used longest ago make room for others.

    capacity: models. max_memory: bytes of their tensors, whether these are mapped or in memory.
    Any number of threads may use it. MemoryLimitError if either is less than 1.
    """

    def __init__(self, capacity: int, max_memory: int) -> None: ...
    def get_or_load(self, key: str, load: Callable[[], _AnyModel]) -> _AnyModel:
        """The model of a key; if there is none, what load() returns, a `tritium.Model`.

        One caller loads, others that come meanwhile wait; what load() raises all of them get, and
        nothing is kept. A model that someone holds, such as a variable or an LLM, is never
        evicted; an InferenceEngine does not hold the models that it ran. MemoryLimitError if
        evicting the others does not make room enough; then none is evicted. ModelLoadError if
        load() asks for its own key.
        """

    def clear(self) -> None:
        """Forget all models; those in use live on with their users."""

    @property
    def statistics(self) -> ModelCacheStatistics: ...
    def __contains__(self, key: str) -> bool: ...
    def __len__(self) -> int: ...

class NetworkValue:
    """What a layer of a network takes and gives."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

class CustomOperator:
    """A function of Python's as an operator of networks; see csrc/model/custom_operator.h."""

    def __init__(
        self,
        name: str,
        # a float32 array (samples, ...) for each input, its own; gives numbers (samples, ...)
        function: Callable[..., Any],
        # a tuple for each input, the shape of its samples; gives that of the result's
        infer_shape: Callable[..., Sequence[int]],
    ) -> None: ...
    @property
    def name(self) -> str: ...

class NetworkBuilder:
    """Describes a network layer by layer; see csrc/model/network_builder.h. Weights are tensors of
    the source, named "<name>.weight", "<name>.bias", "<name>.weight_scale". ModelLoadError if
    shapes do not fit, from the call that adds the layer.
    """

    def __init__(self, name: str, input_shape: Sequence[int], source: TensorSource) -> None: ...
    @property
    def input(self) -> NetworkValue: ...
    def ternary_linear(
        self,
        x: NetworkValue,
        name: str,
        outputs: int,
        scale_direction: str = "multiply",
        bias_before_scale: bool = False,
    ) -> NetworkValue: ...
    def dense_linear(self, x: NetworkValue, name: str, outputs: int) -> NetworkValue: ...
    def rms_norm(self, x: NetworkValue, name: str, eps: float) -> NetworkValue: ...
    def layer_norm(self, x: NetworkValue, name: str, eps: float) -> NetworkValue: ...
    def activation(
        self,
        x: NetworkValue,
        kind: str,  # "relu" | "relu2" | "silu" | "gelu"
        name: str = "",
    ) -> NetworkValue: ...
    def softmax(self, x: NetworkValue, name: str = "") -> NetworkValue: ...
    def add(self, x: NetworkValue, z: NetworkValue, name: str = "") -> NetworkValue: ...
    def custom(
        self, inputs: Sequence[NetworkValue], op: CustomOperator, name: str = ""
    ) -> NetworkValue:
        """ModelLoadError also if infer_shape raises, which is then its cause."""

    def flatten(self, x: NetworkValue) -> NetworkValue: ...
    def build(self, output: NetworkValue) -> Model:
        """ModelLoadError if tensors are missing or left over. The builder is empty afterwards."""

class MemoryUsage:
    """Bytes that an engine uses."""

    @property
    def weights(self) -> int:
        """Packed weights in use."""

    @property
    def mapped_weights(self) -> int:
        """Of them, those that are pages of files in the packed cache; no limit counts them."""

    @property
    def kv_cache(self) -> int:
        """KV pages in use."""

    @property
    def pool(self) -> MemoryStats:
        """Working memory: arenas, staging, logits. Its limit is memory_pool_size."""

    @property
    def total(self) -> MemoryStats:
        """Everything that the engine allocated: working memory, weights that are not mapped, KV
        pages. Its limit is memory_limit.
        """

    @property
    def models(self) -> list[ModelMemory]:
        """Every model that is prepared."""

class MemoryStats:
    """Bytes."""

    @property
    def active(self) -> int:
        """In use."""

    @property
    def peak(self) -> int:
        """The most that were ever in use."""

    @property
    def cached(self) -> int:
        """Kept for reuse."""

    @property
    def limit(self) -> int:
        """What active and cached together never pass."""

class ModelMemory:
    """Bytes that a prepared model takes."""

    @property
    def name(self) -> str:
        """That of the model; a language model's is its architecture."""

    @property
    def weights(self) -> int:
        """Packed weights, the small copy of a head among them."""

    @property
    def mapped_weights(self) -> int:
        """Of them, those that are pages of files in the packed cache."""

    @property
    def arena(self) -> int:
        """Intermediate values of a pass, from the pool. Networks share one arena, as large as the
        largest.
        """

class Device:
    """A kind of device, and whether this process can use it."""

    @property
    def name(self) -> str:
        """ "mlx", "metal" or "cpu"."""

    @property
    def is_gpu(self) -> bool: ...
    @property
    def is_available(self) -> bool: ...
    @property
    def missing(self) -> str | None:
        """Why it is not available: "not in this build"."""

    @property
    def not_chosen(self) -> str | None:
        """Why "auto" leaves it alone though it is available."""

    @property
    def detail(self) -> str:
        """What it is: "Apple M2". May be empty."""

def devices() -> list[Device]:
    """Every kind of device, best first. "auto" is the first that is available, unless a measurement
    finds it slower than another.
    """

def register_backend(
    device: str,
    # why the device cannot be used, why "auto" leaves it alone, and what it is; each may be ""
    look: Callable[[], tuple[str, str, str]],
    # a tritium.mlx.backend.MlxBackend, or what has the same methods
    create: Callable[[], Any],
    *,
    automatic: bool = True,  # whether "auto" looks
) -> None:
    """Let engines of a device run their plans by an object of Python's. Both functions may be
    called from any thread. What they raise is a DeviceError of the engine, or the TritiumError that
    it is.
    """

class PackedTernary:
    """A ternary matrix as it is packed: read-only arrays over the engine's memory."""

    @property
    def panels(self) -> NDArray[np.uint32]:
        """(groups, panels of 16 rows, words of 16 columns, 16); see tritium.mlx.panels."""

    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def scale(self) -> float:
        """Of all rows, where there are no row_scales."""

    @property
    def divides(self) -> bool:
        """Whether sums are divided by the scales."""

    @property
    def row_scales(self) -> NDArray[np.float32] | None:
        """(groups, rows)."""

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """(rows,)."""

class PackedDense:
    """A matrix in floats where it lies in its file: a read-only array."""

    @property
    def data(self) -> NDArray[np.float32] | NDArray[np.uint16]:
        """(rows, columns); a vector is one row. uint16 are the bits of the dtype."""

    @property
    def dtype(self) -> str:
        """ "float32", "float16" or "bfloat16"."""

    @property
    def bias(self) -> NDArray[np.float32] | None: ...

class PackedWeights:
    """A model's weights, by the numbers that attributes of a plan's steps name."""

    @property
    def ternary(self) -> list[PackedTernary]: ...
    @property
    def dense(self) -> list[PackedDense]: ...

class PlanValue:
    """What a step reads or writes, a row for each sample or token."""

    @property
    def id(self) -> int:
        """Its number among the values of the plan."""

    @property
    def rows(self) -> str:
        """ "tokens": one for each token or sample; "outputs": for each whose result is wanted."""

    @property
    def name(self) -> str: ...
    @property
    def storage(self) -> str:
        """ "token_ids" (int32), "float32", or "quantized": int8, and an absmax and a sum a row."""

    @property
    def width(self) -> int:
        """Elements of a row."""

    @property
    def offset(self) -> int | None:
        """Bytes from the start of the arena; None for the input and the output of the model, which
        lie outside.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of the rows of one pass."""

class PlanStep:
    @property
    def name(self) -> str:
        """Where in the model: the place of the layer, or the name of a weight."""

    @property
    def kind(self) -> str:
        """ "ternary_matmul_add", "softmax", ...: the operator and what was fused into it."""

    @property
    def operator(self) -> str:
        """ "ternary_matmul", "activation", ..."""

    @property
    def attributes(self) -> dict[str, Any]:
        """By their names in csrc/model/operator.h and csrc/plan/execution_plan.h. Weights are
        numbers of the model's.
        """

    @property
    def inputs(self) -> list[PlanValue]: ...
    @property
    def outputs(self) -> list[PlanValue]: ...

class ExecutionPlan:
    """The steps that run a model, and the bytes that they take. See csrc/plan/execution_plan.h."""

    @property
    def steps(self) -> list[str]:
        """The kind of each step, in order."""

    @property
    def layers(self) -> list[PlanStep]:
        """Each step with the layer that it comes from and its values and their places."""

    @property
    def input(self) -> PlanValue: ...
    @property
    def output(self) -> PlanValue: ...
    @property
    def optimization_level(self) -> str:
        """ "none", "basic" or "aggressive"."""

    @property
    def rows_per_pass(self) -> int:
        """The most samples of a network, or tokens, that one pass takes."""

    @property
    def context_size(self) -> int:
        """Tokens of a sequence; 1 for a network."""

    @property
    def fusions(self) -> list[str]:
        """Those that were applied, each with how often: "share_quantization x24"."""

    @property
    def arena_bytes(self) -> int:
        """Intermediate values of one pass, on every thread for a network."""

    @property
    def weight_bytes(self) -> int:
        """Packed weights and other constants."""

    @property
    def kv_bytes(self) -> int:
        """KV pages when the context of every sequence is full."""

    @property
    def output_bytes(self) -> int:
        """One row of logits a sequence."""

    @property
    def estimated_memory(self) -> int:
        """The sum of the four."""

    @property
    def weight_bytes_per_token(self) -> int:
        """Bytes of packed and dense weights that generating one token reads; of a screened head,
        its small copy without the few rows that are computed in floats.
        """

    @property
    def ternary_format(self) -> str:
        """How ternary weights are stored: "2bit" or "1.6bit"."""

    def describe(self) -> str:
        """Steps with their inputs, outputs and places in the arena, as text."""

class DeviceLimits:
    """What the device can do at most."""

    @property
    def read_bytes_per_second(self) -> float: ...
    @property
    def multiply_adds_per_second(self) -> float:
        """8-bit, with the instructions of the kernel set in use."""

class InferenceEngine:
    def __init__(
        self,
        device: str = "auto",
        gpu_acceleration: bool | None = None,
        fallback: bool = False,
        threads: int | None = None,
        batch_size: int | None = None,  # samples a pass
        memory_pool_size: int | str = 512_000_000,  # bytes of working memory
        memory_limit: int | str | None = None,  # bytes; everything that the engine allocates
        optimization_level: str = "basic",  # "none" | "basic" | "aggressive"
        ternary_format: str = "auto",  # "2bit" | "1.6bit"; auto: measured if aggressive, else 2bit
        # folder of packed weights, "auto" for the default one, None for none
        cache_dir: str | None = "auto",
        max_cache_size: int = 16_000_000_000,  # bytes
        custom_operators: Sequence[CustomOperator] = (),
    ) -> None:
        """DeviceError if the device, the thread count or TRITIUM_KERNELS cannot be met;
        OptimizationError for an unknown level or two custom operators of one name. A ternary format
        that the kernel set does not have is an OptimizationError when a model is planned.
        """

    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def kernel_set(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def optimization_level(self) -> str: ...
    def plan(
        self,
        model: Model,
        context_size: int | None = None,
        max_sequences: int = 1,
        kv_dtype: str = "f16",
        head: str = "auto",
    ) -> ExecutionPlan:
        """The plan that this engine would run; nothing is allocated or packed.

        OptimizationError for an unknown head, or one that this model cannot have.
        """

    def infer(self, model: Model, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (tokens, vocab_size) of one sequence of ids (tokens,)."""

    def infer_samples(self, model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Results (..., *output_shape) of a network for samples (..., *input_shape)."""

    def measure_limits(self, bytes: int) -> DeviceLimits:
        """Measured now, in a fraction of a second; so many bytes are allocated and read for it."""

    def memory_usage(self) -> MemoryUsage: ...
    def release(self, model: Model) -> None: ...
    def release_all(self) -> None: ...

class Sampling:
    """How the next token is chosen; temperature 0 is greedy. BatchProcessingError for values out of
    range.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        repetition_window: int = 64,
        seed: int = 0,
        # -1: none; n: the chosen token's and the n best tokens' log-probabilities
        logprobs: int = -1,
        # added to logits, by token id; -inf forbids a token
        logit_bias: Mapping[int, float] = {},
    ) -> None: ...

class StepResult:
    """What one sequence got back from a step."""

    @property
    def token(self) -> int | None:
        """The sampled id, None if the step asked for nothing."""

    @property
    def logprob(self) -> float | None: ...
    @property
    def top_logprobs(self) -> list[tuple[int, float]] | None: ...

class HeadStatistics:
    """What a screened head has done so far; zeros for another head."""

    @property
    def tokens(self) -> int:
        """Tokens that were to be chosen by screening."""

    @property
    def rows(self) -> int:
        """Rows of the head that were computed in floats for them, without those of full_tokens."""

    @property
    def full_tokens(self) -> int:
        """Those of the tokens that took the whole head after all."""

class Session:
    """Sequences of one model on one engine. Several threads may call it; calls queue."""

    def __init__(
        self,
        engine: InferenceEngine,
        model: Model,
        context_size: int | None = None,  # tokens a sequence; default the model's, at most 4096
        max_sequences: int = 1,
        kv_dtype: str = "f16",  # keys and values as "f16" | "int8" with a scale a token and head
        head: str = "auto",  # "full" | "screened" | "screened8" | "int8" | "int4"
    ) -> None:
        """MemoryLimitError if the plan's estimate passes the engine's limit; nothing is allocated
        then. OptimizationError for an unknown kv_dtype or head, or one that this model cannot have:
        int8 takes a head_dim of at most 512.
        """

    @property
    def context_size(self) -> int: ...
    @property
    def plan(self) -> ExecutionPlan: ...
    def head_statistics(self) -> HeadStatistics: ...
    def open(self, sampling: Sampling | None = None) -> int:
        """A new sequence's id. BatchProcessingError if max_sequences are open."""

    def check_process(self) -> None:
        """DeviceError in the child after fork(), as of every other call."""

    def close(self, sequence: int) -> None:
        """Frees its pages; unknown ids are ignored."""

    def length(self, sequence: int) -> int:
        """Tokens in the cache."""

    def truncate(self, sequence: int, length: int) -> None: ...
    def fork(self, sequence: int, sampling: Sampling | None = None) -> int:
        """A new sequence with the same past; pages are shared until one of them is written."""

    def step(self, feeds: Sequence[tuple[int, Sequence[int], bool]]) -> list[StepResult]:
        """Feed (sequence, token ids, sample?) for each; one pass for all of them; results in order.

        Token ids must lie in [0, vocab_size) and fit the context: BatchProcessingError otherwise,
        and no sequence changes.
        """

    def logits(self, sequence: int, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Feed token ids; logits (tokens, vocab_size) of every position."""

class KernelSet:
    """One kernel set, for tests and `tritium doctor`. Arrays are numpy; see
    csrc/kernels/kernel_set.h.
    """

    @property
    def name(self) -> str: ...
    @property
    def supported(self) -> bool: ...
    @property
    def ternary_formats(self) -> list[str]:
        """How the set can store ternary weights: "2bit", "1.6bit"."""

    def quantize(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
        """x (tokens, K) -> q (tokens, K), absmax (tokens,), sum (tokens,)."""

    def ternary_matmul(
        self,
        weights: NDArray[np.int8],
        q: NDArray[np.int8],
        gemm: bool = False,
        format: str = "2bit",
    ) -> NDArray[np.int32]:
        """weights (N, K) in {-1, 0, 1}, q (tokens, K) -> acc (tokens, N). gemm=False: row by row
        through gemv.
        """

    def dequantize(
        self,
        acc: NDArray[np.int32],
        multiplier: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        residual: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """acc (tokens, N), multiplier (tokens,), bias (N,), residual (tokens, N) -> (tokens, N)."""

    def rms_norm(
        self, x: NDArray[np.float32], weight: NDArray[np.float32], eps: float
    ) -> NDArray[np.float32]: ...
    def gate(
        self, gate: NDArray[np.float32], up: NDArray[np.float32], activation: str
    ) -> NDArray[np.float32]: ...
    def activate(self, x: NDArray[np.float32], activation: str) -> NDArray[np.float32]: ...
    def softmax(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """x (rows, K) -> (rows, K)."""

    def layer_norm(
        self,
        x: NDArray[np.float32],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        eps: float,
    ) -> NDArray[np.float32]:
        """x (rows, K), weight (K,), bias (K,) -> (rows, K)."""

    def dequantize_rows(
        self,
        acc: NDArray[np.int32],
        scale: NDArray[np.float32],
        step: NDArray[np.float32],
        divides: bool,
    ) -> NDArray[np.float32]:
        """acc (tokens, N), scale (N,), step (tokens,) -> (tokens, N)."""

    def rope(
        self, x: NDArray[np.float32], cosine: NDArray[np.float32], sine: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """x (2 * half,) -> rotated copy."""

    def dense_matmul(
        self, weights: NDArray[Any], element: str, x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """weights (rows, K) as float32, or uint16 bits of "float16" / "bfloat16"; x (tokens, K) ->
        (tokens, rows).
        """

    def attend(
        self,
        q: NDArray[np.float32],
        k: NDArray[np.float32],
        v: NDArray[np.float32],
        scale: float,
        kv_dtype: str = "f16",  # "f16" | "int8"
    ) -> NDArray[np.float32]:
        """q (queries, head_dim) of the last tokens, k and v (tokens, head_dim) -> (queries,
        head_dim): causal attention over pages of 64, merged in order.
        """

    def check(self, seed: int = 0) -> list[tuple[str, int, str]]:
        """Each kernel against scalar on random problems: (kernel, problems compared, first
        difference or "").
        """

def cpu_features() -> list[str]:
    """Features that the CPU has and the operating system supports, of those that a kernel set can
    need.
    """

def kernel_sets() -> list[KernelSet]:
    """Kernel sets of this build, best first, supported here or not."""

def default_thread_count() -> int: ...
