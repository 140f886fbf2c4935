"""How does the engine run models on MLX? The core's PythonBackend calls what is here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import mlx.core as mx
import numpy as np

from ..errors import DeviceError, MemoryLimitError, TritiumError
from . import worker
from .kv_cache import KVCache, Sequence
from .ops import ternary_matmul
from .plan_walker import PlanWalker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core

    Fed: TypeAlias = tuple[int, int, NDArray[np.int32], str]
    """A sequence, its length so far, the tokens that it is fed, and what is wanted of it."""
    Output: TypeAlias = tuple[int, float] | NDArray[np.float32] | None
    """id and logit of the best token, or logits (rows, vocab)."""

_Result = TypeVar("_Result")


class MlxBackend:
    """MLX's default device."""

    def __init__(self) -> None:
        worker.check_process()
        self.name = f"mlx-{device_name()}"

    def optimize_model(
        self, plan: _core.ExecutionPlan, weights: _core.PackedWeights
    ) -> PreparedModel:
        return _on_mlx(lambda: PreparedModel(plan, weights))

    def trim(self) -> None:
        _on_mlx(mx.clear_cache)

    def measure_limits(self, nbytes: int) -> tuple[float, float]:
        """Bytes a second that are read, and multiply-adds of ternary matrices."""
        return _on_mlx(lambda: (_read_rate(nbytes), _multiply_rate()))


class PreparedModel:
    """A plan with its weights in the memory of MLX."""

    def __init__(self, plan: _core.ExecutionPlan, weights: _core.PackedWeights) -> None:
        self._walker = PlanWalker(plan, weights)
        self._rows_per_pass = plan.rows_per_pass
        self._run_samples = mx.compile(self._walker.run_samples)
        self._decode = mx.compile(self._one_token_each)

    # Networks

    def execute_samples(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """x (samples, inputs) to y (samples, outputs)."""
        _on_mlx(lambda: self._execute_samples(x, y))

    def _execute_samples(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        for first in range(0, len(x), self._rows_per_pass):
            part = mx.array(x[first : first + self._rows_per_pass])
            is_usual = len(part) in (1, self._rows_per_pass)
            run = self._run_samples if is_usual else self._walker.run_samples
            y[first : first + len(part)] = np.array(run(part))

    # Language models

    def create_cache(self) -> KVCache:
        return KVCache(self._walker.cache_shape)

    def execute_batch(self, cache: KVCache, fed: list[Fed]) -> list[Output]:
        """Feeds all sequences in one pass. After an error the past that it would have been computed
        from is computed again when it is needed.
        """
        return _on_mlx(lambda: self._execute_batch(cache, fed))

    def _execute_batch(self, cache: KVCache, fed: list[Fed]) -> list[Output]:
        sequences = []
        for number, length, tokens, _ in fed:
            sequence = cache.at(number, length)
            if sequence.is_lost:
                self._recompute(cache, sequence)
            cache.make_room(sequence, length + len(tokens))
            sequences.append(sequence)
        ids = [tokens for _, _, tokens, _ in fed]
        wants = [want for *_, want in fed]
        logits = self._feed(sequences, ids, wants)
        return _outputs(wants, [len(tokens) for tokens in ids], logits)

    def _recompute(self, cache: KVCache, sequence: Sequence) -> None:
        past = np.array(sequence.tokens, np.int32)
        sequence.tokens.clear()
        for first in range(0, len(past), self._rows_per_pass):
            piece = past[first : first + self._rows_per_pass]
            cache.make_room(sequence, first + len(piece))
            self._feed([sequence], [piece], ["nothing"])

    def _feed(
        self, sequences: list[Sequence], ids: list[NDArray[np.int32]], wants: list[str]
    ) -> mx.array | None:
        """The logits of the rows that are wanted (rows, vocab); None if none are."""
        counts = [len(tokens) for tokens in ids]
        positions = [
            np.arange(len(sequence.tokens), len(sequence.tokens) + count, dtype=np.int32)
            for sequence, count in zip(sequences, counts, strict=True)
        ]
        arguments = [
            mx.array(np.concatenate(ids)),
            mx.array(np.concatenate(positions)),
            mx.array(_output_rows(wants, counts)),
        ]
        is_decode = all(count == 1 for count in counts) and "nothing" not in wants
        past = [sequence.take() for sequence in sequences]
        keys, values = [keys for keys, _ in past], [values for _, values in past]
        past.clear()
        if is_decode:
            logits, new_keys, new_values = self._decode(*arguments, keys, values)
        else:
            logits, new_keys, new_values = self._walker.run_tokens(*arguments, keys, values, counts)
        keys.clear(), values.clear()  # the new arrays take their memory
        mx.eval(logits, new_keys, new_values)
        for sequence, tokens, *kept in zip(sequences, ids, new_keys, new_values, strict=True):
            sequence.put(*kept)
            sequence.tokens.extend(tokens.tolist())
        return logits

    def _one_token_each(
        self,
        token_ids: mx.array,
        positions: mx.array,
        output_rows: mx.array,
        keys: list[list[mx.array]],
        values: list[list[mx.array]],
    ) -> tuple[mx.array | None, list[list[mx.array]], list[list[mx.array]]]:
        counts = [1] * len(keys)
        return self._walker.run_tokens(token_ids, positions, output_rows, keys, values, counts)


def _output_rows(wants: list[str], counts: list[int]) -> NDArray[np.int32]:
    rows: list[int] = []
    end = 0
    for want, count in zip(wants, counts, strict=True):
        end += count
        if want != "nothing":
            rows.extend(range(end - count if want == "all" else end - 1, end))
    return np.array(rows, np.int32)


def _outputs(wants: list[str], counts: list[int], logits: mx.array | None) -> list[Output]:
    outputs: list[Output] = []
    first = 0
    for want, count in zip(wants, counts, strict=True):
        if want == "nothing" or logits is None:
            outputs.append(None)
            continue
        rows = logits[first : first + (count if want == "all" else 1)]
        first += len(rows)
        if want == "argmax":
            best = mx.argmax(rows[0])
            outputs.append((best.item(), rows[0, best].item()))
        else:
            outputs.append(np.array(rows))
    return outputs


def device_name() -> str:
    """What MLX runs on here: "cpu", "metal" or "cuda"."""
    if mx.default_device() == mx.cpu:
        return "cpu"
    return "metal" if mx.metal.is_available() else "cuda"


def _on_mlx(work: Callable[[], _Result]) -> _Result:
    """What work() gives in the thread of MLX."""
    try:
        return worker.run(work)
    except TritiumError:
        raise
    except Exception as error:
        raise _as_ours(error) from error


def _as_ours(error: Exception) -> TritiumError:
    """What an error of MLX is for the caller. There are no classes to tell them by."""
    text = f"[mlx] {type(error).__name__}: {error}"
    is_memory = isinstance(error, MemoryError) or "allocat" in str(error)
    return MemoryLimitError(text) if is_memory else DeviceError(text)


def _best_seconds(work: Callable[[], mx.array]) -> float:
    mx.eval(work())
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        mx.eval(work())
        best = min(best, time.perf_counter() - start)
    return best


def _read_rate(nbytes: int) -> float:
    data = mx.ones(max(nbytes // 4, 1))
    mx.eval(data)
    return nbytes / _best_seconds(lambda: mx.max(data))


def _multiply_rate() -> float:
    rows, size = 256, 2048
    x = mx.random.normal((rows, size))
    panels = mx.zeros((1, size // 16, size // 16, 16), mx.uint32)
    scales = mx.ones(1)
    seconds = _best_seconds(lambda: ternary_matmul(x, panels, scales, outputs=size))
    return rows * size * size / seconds
