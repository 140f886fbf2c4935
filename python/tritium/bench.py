"""How fast is a model here, and how much of what this machine can do is that?"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from . import _core
from .energy import joules_between, read_counters
from .engine import InferenceEngine
from .errors import BatchProcessingError
from .limits import Limits, measure_limits
from .memory import peak_rss_bytes, read_status, reset_peak_rss
from .model import load
from .roofline import Point, Roofline, draw_roofline, load_pyplot
from .synthetic import GEOMETRIES, Geometry, make_model

_KV_PAGE = 64  # tokens
_MOST_PLOTTED = 512  # tokens at once


@dataclass(frozen=True)
class BenchResult:
    """Speeds of one model, and the limits measured beside them. Medians over the rounds."""

    prefill_tokens_per_s: float
    """Of all sequences of the batch together, as is decode_tokens_per_s."""
    decode_tokens_per_s: float
    time_to_first_token_s: float
    """From a prompt to its first token, with the model loaded."""
    load_s: float
    """From nothing to a model that can be fed; of a synthetic model without making its weights."""
    load_to_first_token_s: float
    """load_s and the first prompt that is fed, with what only the first one waits for."""
    peak_rss_mb: float
    """In 10**6 bytes, anonymous and file-backed; without the memory that the limits were measured
    on. 0 where the system does not tell.
    """
    private_mb: float
    """What of the memory is anonymous, in 10**6 bytes, likewise."""
    weight_bytes_per_token: int
    """Bytes of weights that generating one token reads."""
    read_bandwidth_gb_per_s: float
    """At which the same threads read memory larger than the caches."""
    decode_bandwidth_fraction: float
    """Bytes of weights that decode reads a second, by the bandwidth, each round by its own."""
    integer_peak_gmac_per_s: float
    """Multiply-adds of the same threads with the kernel set's instructions, on registers alone."""
    prefill_peak_fraction: float
    """Ternary multiply-adds of the prefill by that peak, each round by its own."""
    kernel_set: str
    ternary_format: str
    """"2bit" or "1.6bit"."""
    threads: int
    batch: int
    """Sequences that were fed and decoded together."""
    joules_per_token: float | None
    """Of decode, by the processor's own counters; None where the system shows none."""
    head_rows_per_token: float | None
    """Rows of the head that a token took in full after screening; None without screening."""
    depth: DepthResult | None
    """Decode in a long context, if asked for."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DepthResult:
    """Decode up to `tokens` of context, against decode after the prompt in the same round."""

    tokens: int
    decode_tokens_per_s: float
    kv_bytes_per_step: int
    """Bytes of keys and values that attention reads for a step of the batch, on average."""
    loss: float
    """The share of the speed after the prompt that is lost."""
    predicted_loss: float
    """The same, if the additional keys and values cost what reading them takes."""
    time_over_bytes: float
    """The additional time by the time of reading the additional keys and values."""


@dataclass(frozen=True)
class Round:
    """One prompt and its answer, with the limits right before and after."""

    prefill_s: float
    decode_s: float
    before: Limits
    after: Limits
    deep_decode_s: float | None = None
    """Of as many tokens in a long context."""
    joules: float | None = None
    """Of decode."""

    @property
    def read_bytes_per_s(self) -> float:
        return (self.before.read_bytes_per_s + self.after.read_bytes_per_s) / 2

    @property
    def multiply_adds_per_s(self) -> float:
        return (self.before.multiply_adds_per_s + self.after.multiply_adds_per_s) / 2


def run_bench(
    source: str | Path | Geometry | None = None,
    *,
    device: str = "auto",
    fallback: bool = False,
    threads: int | None = None,
    optimization_level: str = "basic",
    ternary_format: str = "auto",
    kv_dtype: str = "f16",
    prompt: int = 128,
    generate: int = 64,
    rounds: int = 3,
    batch: int = 1,
    depth: int | None = None,
    kernels: str | None = None,
    head: str = "auto",
    embeddings: str = "gaussian",
    plot: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> BenchResult:
    """Measure a model: a folder, a hub id, None for the bundled one, or random weights of a
    `Geometry`.

    A round feeds `batch` prompts of `prompt` random tokens together and generates `generate` tokens
    for each greedily, one by one. The limits are measured before the first round and after each.
    `depth` also decodes as many tokens at the end of a context of `depth` tokens. `kernels` names
    the kernel set, as TRITIUM_KERNELS does; `device`, `fallback`, `optimization_level`,
    `ternary_format`, `kv_dtype` and `head` are those of `LLM`. `embeddings` are those of a
    Geometry, see `make_model`. `plot` draws a roofline into that image file. `report` is told what
    is being done.
    """
    _check(prompt=(prompt, 1), generate=(generate, 2), rounds=(rounds, 1), batch=(batch, 1))
    if depth is not None:
        _check(depth=(depth, prompt + generate + 1))
    if plot is not None:
        load_pyplot()
    with _kernel_set(kernels):
        engine = InferenceEngine(
            device,
            fallback=fallback,
            threads=threads,
            optimization_level=optimization_level,
            ternary_format=ternary_format,
        )
    synthetic = isinstance(source, Geometry)
    if synthetic:
        report("making random weights")
        model = make_model(source, embeddings=embeddings)
    report("loading")
    reset_peak_rss()
    begin = time.perf_counter()
    if not synthetic:
        model = load(source).core
    context = _context(model, prompt, generate, depth, plotted=plot is not None)
    session = _core.Session(
        engine.core, model, context, batch + (depth is not None), kv_dtype=kv_dtype, head=head
    )
    load_s = time.perf_counter() - begin
    tokens = np.random.default_rng(1).integers(0, model.config.vocab_size, context).tolist()
    first_prompt_s = _answer(session, [tokens[:prompt]] * batch, 2).prefill_s
    memory = _Memory()
    memory.look()
    deep = None
    if depth is not None:
        report(f"filling a context of {depth} tokens")
        deep = session.open()
        session.step([(deep, tokens[: depth - generate], False)])

    report("measuring the limits of this machine")
    limits = [measure_limits(engine)]
    times, deep_times = [], []
    for index in range(rounds):
        report(f"round {index + 1} of {rounds}")
        reset_peak_rss()
        _answer(session, [tokens[:1]], 2)  # what was given back for the measurement comes again
        times.append(_answer(session, [tokens[:prompt]] * batch, generate))
        if deep is not None:
            deep_times.append(_decode_copies(session, deep, batch, generate))
        memory.look()
        limits.append(measure_limits(engine))
    result = summarize(
        [
            Round(
                prefill_s=taken.prefill_s,
                decode_s=taken.decode_s,
                before=limits[index],
                after=limits[index + 1],
                deep_decode_s=deep_times[index] if deep_times else None,
                joules=taken.joules,
            )
            for index, taken in enumerate(times)
        ],
        prompt=prompt,
        generate=generate,
        multiply_adds_per_token=model.ternary_parameter_count,
        weight_bytes_per_token=session.plan.weight_bytes_per_token,
        load_s=load_s,
        peak_rss=memory.peak,
        kernel_set=engine.kernel_set,
        ternary_format=session.plan.ternary_format,
        threads=engine.threads,
        first_prompt_s=first_prompt_s,
        private=memory.private,
        batch=batch,
        depth=depth,
        kv_bytes_per_token=_kv_bytes_per_token(session, batch + (depth is not None)),
        head_rows_per_token=_head_rows_per_token(session),
    )
    if plot is not None:
        report("measuring the roofline")
        roofline = _measure_roofline(session, engine, model, tokens, rounds)
        name = "random weights" if synthetic else source or "the bundled model"
        title = f"{name}: {engine.kernel_set}, {engine.threads} thread{'s' * (engine.threads != 1)}"
        draw_roofline(Path(plot), roofline, title=title)
    return result


def summarize(
    rounds: Sequence[Round],
    *,
    prompt: int,
    generate: int,
    multiply_adds_per_token: int,
    weight_bytes_per_token: int,
    load_s: float,
    peak_rss: int,
    kernel_set: str,
    ternary_format: str,
    threads: int,
    first_prompt_s: float = 0.0,
    private: int = 0,
    batch: int = 1,
    depth: int | None = None,
    kv_bytes_per_token: float = 0.0,
    head_rows_per_token: float | None = None,
) -> BenchResult:
    """The medians of the rounds. The first token of an answer belongs to the prefill.

    kv_bytes_per_token: of keys and values, for each token of context.
    """

    def median(value: Callable[[Round], float]) -> float:
        return statistics.median(map(value, rounds))

    steps = generate - 1

    def prefill_rate(r: Round) -> float:
        return batch * prompt / r.prefill_s

    deep = None
    if depth is not None:
        added_bytes = batch * kv_bytes_per_token * (depth - prompt - generate + 1)

        def added_s(r: Round) -> float:
            return (r.deep_decode_s - r.decode_s) / steps

        def predicted_s(r: Round) -> float:
            return added_bytes / r.read_bytes_per_s

        deep = DepthResult(
            tokens=depth,
            decode_tokens_per_s=median(lambda r: batch * steps / r.deep_decode_s),
            kv_bytes_per_step=round(batch * kv_bytes_per_token * (depth - generate / 2 + 1)),
            loss=median(lambda r: 1 - r.decode_s / r.deep_decode_s),
            predicted_loss=median(lambda r: predicted_s(r) / (r.decode_s / steps + predicted_s(r))),
            time_over_bytes=median(lambda r: added_s(r) / predicted_s(r)),
        )
    joules = [r.joules for r in rounds if r.joules is not None]
    return BenchResult(
        prefill_tokens_per_s=median(prefill_rate),
        decode_tokens_per_s=median(lambda r: batch * steps / r.decode_s),
        time_to_first_token_s=median(lambda r: r.prefill_s),
        load_s=load_s,
        load_to_first_token_s=load_s + first_prompt_s,
        peak_rss_mb=peak_rss / 1e6,
        private_mb=private / 1e6,
        weight_bytes_per_token=weight_bytes_per_token,
        read_bandwidth_gb_per_s=median(lambda r: r.read_bytes_per_s) / 1e9,
        decode_bandwidth_fraction=median(
            lambda r: weight_bytes_per_token * steps / r.decode_s / r.read_bytes_per_s
        ),
        integer_peak_gmac_per_s=median(lambda r: r.multiply_adds_per_s) / 1e9,
        prefill_peak_fraction=median(
            lambda r: multiply_adds_per_token * prefill_rate(r) / r.multiply_adds_per_s
        ),
        kernel_set=kernel_set,
        ternary_format=ternary_format,
        threads=threads,
        batch=batch,
        joules_per_token=statistics.median(joules) / (batch * steps) if joules else None,
        head_rows_per_token=head_rows_per_token,
        depth=deep,
    )


def find_geometry(name: str) -> Geometry:
    """The geometry of that name. BatchProcessingError lists the known ones."""
    if name not in GEOMETRIES:
        raise BatchProcessingError(
            f"[bench] {name!r} is no known geometry; known are {', '.join(GEOMETRIES)}"
        )
    return GEOMETRIES[name]


@dataclass(frozen=True)
class _Times:
    prefill_s: float
    """Of all prompts and their first tokens."""
    decode_s: float
    """Of all further tokens."""
    joules: float | None
    """Of all further tokens."""


class _Memory:
    """The most that was seen, in bytes; 0 where the system does not tell."""

    peak = 0
    private = 0

    def look(self) -> None:
        self.peak = max(self.peak, peak_rss_bytes())
        self.private = max(self.private, read_status().get("RssAnon", 0))


def _check(**values: tuple[object, int]) -> None:
    """Each a (value, least) of an option."""
    for name, (value, least) in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BatchProcessingError(
                f"[bench] {name} is {value!r}, must be an integer >= {least}"
            )


@contextlib.contextmanager
def _kernel_set(name: str | None) -> Iterator[None]:
    """TRITIUM_KERNELS is `name` meanwhile; as it is, for None."""
    before = os.environ.get("TRITIUM_KERNELS")
    if name is not None:
        os.environ["TRITIUM_KERNELS"] = name
    try:
        yield
    finally:
        if name is not None:
            del os.environ["TRITIUM_KERNELS"]
            if before is not None:
                os.environ["TRITIUM_KERNELS"] = before


def _context(
    model: _core.Model, prompt: int, generate: int, depth: int | None, *, plotted: bool
) -> int:
    needed, longest = prompt + generate, model.config.context_length
    if needed > longest:
        raise BatchProcessingError(
            f"[bench] {prompt} + {generate} tokens do not fit the context of {longest}"
        )
    if depth is not None:
        if depth > longest:
            raise BatchProcessingError(
                f"[bench] a depth of {depth} tokens does not fit the context of {longest}"
            )
        needed = max(needed, depth)
    return max(needed, min(_MOST_PLOTTED, longest)) if plotted else needed


def _answer(session: _core.Session, prompts: list[list[int]], generate: int) -> _Times:
    """Feed all prompts together, then decode `generate` tokens for each, together."""
    sequences = []
    try:
        sequences = [session.open() for _ in prompts]
        begin = time.perf_counter()
        feeds = [
            (sequence, tokens, True) for sequence, tokens in zip(sequences, prompts, strict=True)
        ]
        tokens = [found.token for found in session.step(feeds)]
        first = time.perf_counter()
        counters = read_counters()
        begin_decode = time.perf_counter()
        _decode(session, sequences, tokens, generate - 1)
        end = time.perf_counter()
        return _Times(first - begin, end - begin_decode, joules_between(counters, read_counters()))
    finally:
        for sequence in sequences:
            session.close(sequence)


def _decode_copies(session: _core.Session, sequence: int, count: int, generate: int) -> float:
    """Seconds of decoding all but the first of `generate` tokens in `count` copies together."""
    copies = []
    try:
        copies = [session.fork(sequence) for _ in range(count)]
        tokens = _decode(session, copies, [0] * count, 1)  # copies the page that is written
        begin = time.perf_counter()
        _decode(session, copies, tokens, generate - 1)
        return time.perf_counter() - begin
    finally:
        for copy in copies:
            session.close(copy)


def _decode(
    session: _core.Session, sequences: list[int], tokens: list[int], steps: int
) -> list[int]:
    for _ in range(steps):
        feeds = [
            (sequence, [token], True) for sequence, token in zip(sequences, tokens, strict=True)
        ]
        tokens = [found.token for found in session.step(feeds)]
    return tokens


def _kv_bytes_per_token(session: _core.Session, sequences: int) -> float:
    pages = sequences * -(-session.context_size // _KV_PAGE)
    return session.plan.kv_bytes / (pages * _KV_PAGE)


def _head_rows_per_token(session: _core.Session) -> float | None:
    found = session.head_statistics()
    return found.rows / found.tokens if found.tokens else None


def _measure_roofline(
    session: _core.Session,
    engine: InferenceEngine,
    model: _core.Model,
    tokens: list[int],
    rounds: int,
) -> Roofline:
    before = measure_limits(engine)
    points = []
    count = 1
    while count <= min(_MOST_PLOTTED, session.context_size):
        seconds = [_answer(session, [tokens[:count]], 1).prefill_s for _ in range(rounds)]
        points.append(Point(count, statistics.median(seconds)))
        count *= 2
    after = measure_limits(engine)
    return Roofline(
        points,
        Limits(
            (before.read_bytes_per_s + after.read_bytes_per_s) / 2,
            (before.multiply_adds_per_s + after.multiply_adds_per_s) / 2,
        ),
        model.ternary_parameter_count,
        session.plan.weight_bytes_per_token,
    )
