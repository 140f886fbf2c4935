"""How fast is a model here, and how much of what this machine can do is that?"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from . import _core
from .engine import InferenceEngine
from .errors import BatchProcessingError
from .memory import peak_rss_bytes, reset_peak_rss
from .model import load
from .synthetic import GEOMETRIES, Geometry, make_model

_LEAST_READ = 256 << 20
_MOST_READ = 1 << 30


@dataclass(frozen=True)
class BenchResult:
    """Speeds of one model, and the limits measured beside them. Medians over the rounds."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    time_to_first_token_s: float
    """From a prompt to its first token, with the model loaded."""
    load_s: float
    """From nothing to a model that can be fed; of a synthetic model without making its weights."""
    peak_rss_mb: float
    """In 10**6 bytes, anonymous and file-backed; without the memory that the limits were measured
    on. 0 where the system does not tell.
    """
    weight_bytes_per_token: int
    """Bytes of weights that generating one token reads."""
    read_bandwidth_gb_per_s: float
    """At which the same threads read memory larger than the caches."""
    decode_bandwidth_fraction: float
    """weight_bytes_per_token * decode_tokens_per_s by the bandwidth, each round by its own."""
    integer_peak_gmac_per_s: float
    """Multiply-adds of the same threads with the kernel set's instructions, on registers alone."""
    prefill_peak_fraction: float
    """Ternary multiply-adds of the prefill by that peak, each round by its own."""
    kernel_set: str
    threads: int

    def as_dict(self) -> dict[str, float | int | str]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """What the device could do at one moment."""

    read_bytes_per_s: float
    multiply_adds_per_s: float


@dataclass(frozen=True)
class Round:
    """One prompt and its answer, with the limits right before and after."""

    prefill_s: float
    decode_s: float
    before: Limits
    after: Limits

    @property
    def read_bytes_per_s(self) -> float:
        return (self.before.read_bytes_per_s + self.after.read_bytes_per_s) / 2

    @property
    def multiply_adds_per_s(self) -> float:
        return (self.before.multiply_adds_per_s + self.after.multiply_adds_per_s) / 2


def run_bench(
    source: str | Path | Geometry | None = None,
    *,
    threads: int | None = None,
    kv_dtype: str = "f16",
    prompt: int = 128,
    generate: int = 64,
    rounds: int = 3,
    report: Callable[[str], None] = lambda line: None,
) -> BenchResult:
    """Measure a model: a folder, a hub id, None for the bundled one, or random weights of a
    `Geometry`.

    A round feeds `prompt` random tokens at once and generates `generate` tokens greedily, one by
    one. The limits are measured before the first round and after each. `report` is told what is
    being done.
    """
    for name, value, least in (
        ("prompt", prompt, 1),
        ("generate", generate, 2),
        ("rounds", rounds, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BatchProcessingError(
                f"[bench] {name} is {value!r}, must be an integer >= {least}"
            )
    engine = InferenceEngine(threads=threads)
    synthetic = isinstance(source, Geometry)
    if synthetic:
        report("making random weights")
        model = make_model(source)
    report("loading")
    reset_peak_rss()
    begin = time.perf_counter()
    if not synthetic:
        model = load(source).core
    session = _core.Session(
        engine.core, model, _context(model, prompt, generate), 1, kv_dtype=kv_dtype
    )
    load_s = time.perf_counter() - begin
    tokens = np.random.default_rng(1).integers(0, model.config.vocab_size, prompt).tolist()
    _feed(session, tokens, 2)
    peak = peak_rss_bytes()

    read_bytes = _read_bytes()
    report("measuring the limits of this machine")
    limits = [_measure(engine, read_bytes)]
    times = []
    for index in range(rounds):
        report(f"round {index + 1} of {rounds}")
        reset_peak_rss()
        _feed(session, tokens[:1], 2)  # what was given back for the measurement comes again
        times.append(_feed(session, tokens, generate))
        peak = max(peak, peak_rss_bytes())
        limits.append(_measure(engine, read_bytes))
    return summarize(
        [
            Round(prefill_s, decode_s, limits[index], limits[index + 1])
            for index, (prefill_s, decode_s) in enumerate(times)
        ],
        prompt=prompt,
        generate=generate,
        multiply_adds_per_token=model.ternary_parameter_count,
        weight_bytes_per_token=session.plan.weight_bytes_per_token,
        load_s=load_s,
        peak_rss=peak,
        kernel_set=engine.kernel_set,
        threads=engine.threads,
    )


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
    threads: int,
) -> BenchResult:
    """The medians of the rounds. The first token of an answer belongs to the prefill."""

    def median(value: Callable[[Round], float]) -> float:
        return statistics.median(map(value, rounds))

    def decode_rate(r: Round) -> float:
        return (generate - 1) / r.decode_s

    def prefill_rate(r: Round) -> float:
        return prompt / r.prefill_s

    return BenchResult(
        prefill_tokens_per_s=median(prefill_rate),
        decode_tokens_per_s=median(decode_rate),
        time_to_first_token_s=median(lambda r: r.prefill_s),
        load_s=load_s,
        peak_rss_mb=peak_rss / 1e6,
        weight_bytes_per_token=weight_bytes_per_token,
        read_bandwidth_gb_per_s=median(lambda r: r.read_bytes_per_s) / 1e9,
        decode_bandwidth_fraction=median(
            lambda r: weight_bytes_per_token * decode_rate(r) / r.read_bytes_per_s
        ),
        integer_peak_gmac_per_s=median(lambda r: r.multiply_adds_per_s) / 1e9,
        prefill_peak_fraction=median(
            lambda r: multiply_adds_per_token * prefill_rate(r) / r.multiply_adds_per_s
        ),
        kernel_set=kernel_set,
        threads=threads,
    )


def find_geometry(name: str) -> Geometry:
    """The geometry of that name. BatchProcessingError lists the known ones."""
    if name not in GEOMETRIES:
        raise BatchProcessingError(
            f"[bench] {name!r} is no known geometry; known are {', '.join(GEOMETRIES)}"
        )
    return GEOMETRIES[name]


def _context(model: _core.Model, prompt: int, generate: int) -> int:
    needed, longest = prompt + generate, model.config.context_length
    if needed > longest:
        raise BatchProcessingError(
            f"[bench] {prompt} + {generate} tokens do not fit the context of {longest}"
        )
    return needed


def _feed(session: _core.Session, tokens: list[int], generate: int) -> tuple[float, float]:
    """Seconds of the prompt with the first token, and of all further tokens."""
    sequence = session.open()
    try:
        begin = time.perf_counter()
        token = session.step([(sequence, tokens, True)])[0].token
        first = time.perf_counter()
        for _ in range(generate - 1):
            token = session.step([(sequence, [token], True)])[0].token
        return first - begin, time.perf_counter() - first
    finally:
        session.close(sequence)


def _measure(engine: InferenceEngine, read_bytes: int) -> Limits:
    found = engine.core.measure_limits(read_bytes)
    return Limits(found.read_bytes_per_second, found.multiply_adds_per_second)


def _read_bytes() -> int:
    """Four times the largest cache, where Linux tells it, within bounds."""
    largest = 0
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            size = re.fullmatch(r"(\d+)([KM])", file.read_text("ascii").strip())
        except OSError:
            continue
        if size is not None:
            largest = max(largest, int(size[1]) << {"K": 10, "M": 20}[size[2]])
    return min(max(_LEAST_READ, 4 * largest), _MOST_READ)
