"""How does MLX carry out the steps of a plan?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from ..errors import OptimizationError
from .kv_cache import CacheShape, Layers
from .weights import Weights

if TYPE_CHECKING:
    from .. import _core

_LARGEST_F16 = 65504.0


@dataclass
class Pass:
    """What the steps of one pass read and write; rows of all sequences one after the other."""

    values: dict[int, mx.array]  # (rows, width) by the number of the plan's value
    positions: mx.array | None = None  # (rows,) int32
    output_rows: mx.array | None = None  # int32, those whose result is wanted
    counts: Sequence[int] = ()  # rows of each sequence
    kept_keys: list[Layers] = field(default_factory=list)  # of each sequence, as they become
    kept_values: list[Layers] = field(default_factory=list)
    made: dict[Any, Any] = field(default_factory=dict)  # what layers share: masks, rotations


_Run = Callable[[Pass], None]


class PlanWalker:
    """The steps of a plan with their weights. OptimizationError for a step that is unknown here."""

    def __init__(self, plan: _core.ExecutionPlan, packed: _core.PackedWeights) -> None:
        weights = Weights(packed)
        makers = _StepMakers(weights, plan.context_size)
        self._input, self._output = plan.input.id, plan.output.id
        self._steps = [(makers.make(step), step.outputs[0].rows) for step in plan.layers]
        attention = [step.attributes for step in plan.layers if step.operator == "attention"]
        self.cache_shape = CacheShape(
            layers=len(attention),
            kv_heads=attention[0]["kv_heads"] if attention else 0,
            head_dim=attention[0]["head_dim"] if attention else 0,
        )
        self.nbytes = weights.nbytes

    def run_samples(self, x: mx.array) -> mx.array:
        """x (samples, inputs) -> (samples, outputs)."""
        run = Pass({self._input: x})
        for step, _ in self._steps:
            step(run)
        return run.values[self._output]

    def run_tokens(
        self,
        token_ids: mx.array,
        positions: mx.array,
        output_rows: mx.array,
        keys: list[Layers],
        values: list[Layers],
        counts: Sequence[int],
    ) -> tuple[mx.array | None, list[Layers], list[Layers]]:
        """Token ids and their positions (rows,), `counts` of them for each sequence.

        The logits of `output_rows`, None if there are none, and the sequences' keys and values with
        those of the tokens, in arrays that take the old ones' memory where nobody else holds them.
        """
        run = Pass(
            {self._input: token_ids},
            positions,
            output_rows,
            counts,
            [list(layers) for layers in keys],
            [list(layers) for layers in values],
        )
        wanted = output_rows.size > 0
        for step, rows in self._steps:
            if wanted or rows == "tokens":
                step(run)
        return (run.values[self._output] if wanted else None), run.kept_keys, run.kept_values


class _StepMakers:
    """A method for each operator: its values and attributes to the function that carries it out."""

    def __init__(self, weights: Weights, context_size: int) -> None:
        self._weights = weights
        self._context = context_size

    def make(self, step: _core.PlanStep) -> _Run:
        maker = getattr(self, f"_{step.operator}", None)
        if maker is None:
            raise OptimizationError(f"[mlx] no step {step.kind!r} here, and {step.name!r} is one")
        inputs = [value.id for value in step.inputs]
        outputs = [value.id for value in step.outputs]
        run: _Run = maker(inputs, outputs, **step.attributes)
        return run

    def _embedding(self, inputs: list[int], outputs: list[int], weight: int) -> _Run:
        table = self._weights.matrix(weight)

        def run(this: Pass) -> None:
            this.values[outputs[0]] = table[this.values[inputs[0]]]

        return run

    def _rms_norm(self, inputs: list[int], outputs: list[int], weight: int, eps: float) -> _Run:
        scale = self._weights.vector(weight)
        return _map(inputs, outputs, lambda x: mx.fast.rms_norm(x, scale, eps))

    # ternary_matmul quantises; until then a quantised value is the row that it is made of.
    _rms_norm_quantize = _rms_norm

    def _quantize(self, inputs: list[int], outputs: list[int]) -> _Run:
        return _map(inputs, outputs, lambda x: x)

    def _layer_norm(self, inputs: list[int], outputs: list[int], weight: int, eps: float) -> _Run:
        scale, bias = self._weights.vector(weight), self._weights.bias(weight)
        return _map(inputs, outputs, lambda x: mx.fast.layer_norm(x, scale, bias, eps))

    def _ternary_matmul(
        self,
        inputs: list[int],
        outputs: list[int],
        weights: list[int],
        adds_residual: bool,
        activation: str | None,
    ) -> _Run:
        matrices = [self._weights.ternary(weight) for weight in weights]
        activate = _ACTIVATIONS[activation] if activation else None

        def run(this: Pass) -> None:
            x = this.values[inputs[0]]
            for matrix, output in zip(matrices, outputs, strict=True):
                y = matrix(x)
                if adds_residual:
                    y = y + this.values[inputs[1]]
                this.values[output] = activate(y) if activate else y

        return run

    def _dense_matmul(self, inputs: list[int], outputs: list[int], weight: int) -> _Run:
        matrix, bias = self._weights.matrix(weight), self._weights.bias(weight)
        if bias is None:
            return _map(inputs, outputs, lambda x: x @ matrix.T)
        return _map(inputs, outputs, lambda x: mx.addmm(bias, x, matrix.T))

    def _rope(
        self,
        inputs: list[int],
        outputs: list[int],
        heads: int,
        head_dim: int,
        frequencies: list[float],
    ) -> _Run:
        tables = self._weights.rope_tables(frequencies, self._context)

        def run(this: Pass) -> None:
            x = _heads(this.values[inputs[0]], heads)
            this.values[outputs[0]] = _rotate(x, *_turns(this, tables)).flatten(1)

        return run

    def _attention(
        self,
        inputs: list[int],
        outputs: list[int],
        layer: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        rotates: bool,
        frequencies: list[float],
    ) -> _Run:
        tables = self._weights.rope_tables(frequencies, self._context) if rotates else None
        scale = 1 / math.sqrt(head_dim)
        # GPUs multiply in halves and add up in floats; the CPU would round sums to halves, too.
        dtype = mx.float32 if mx.default_device() == mx.cpu else mx.float16

        def run(this: Pass) -> None:
            q, k, v = (
                _heads(this.values[value], count)
                for value, count in zip(inputs, (heads, kv_heads, kv_heads), strict=True)
            )
            if tables is not None:
                turns = _turns(this, tables)
                q, k = _rotate(q, *turns), _rotate(k, *turns)
            q, k, v = q.astype(dtype), _narrow(k), _narrow(v)
            parts, first = [], 0
            for place, count in enumerate(this.counts):
                rows = slice(first, first + count)
                start = this.positions[first : first + 1]
                keys = _write(this.kept_keys[place][layer], k[rows], start)
                values = _write(this.kept_values[place][layer], v[rows], start)
                this.kept_keys[place][layer], this.kept_values[place][layer] = keys, values
                part = mx.fast.scaled_dot_product_attention(
                    _by_heads(q[rows]),
                    keys,
                    values,
                    scale=scale,
                    mask=_mask(this, place, rows, keys.shape[2]),
                )
                parts.append(part[0].swapaxes(0, 1).flatten(1))
                first += count
            mixed = parts[0] if len(parts) == 1 else mx.concatenate(parts)
            this.values[outputs[0]] = mixed.astype(mx.float32)

        return run

    def _gate(self, inputs: list[int], outputs: list[int], activation: str) -> _Run:
        activate = _ACTIVATIONS[activation]

        def run(this: Pass) -> None:
            gate, up = (this.values[value] for value in inputs)
            this.values[outputs[0]] = activate(gate) * up

        return run

    def _activation(self, inputs: list[int], outputs: list[int], activation: str) -> _Run:
        return _map(inputs, outputs, _ACTIVATIONS[activation])

    def _softmax(self, inputs: list[int], outputs: list[int]) -> _Run:
        return _map(inputs, outputs, lambda x: mx.softmax(x, axis=-1, precise=True))

    def _add(self, inputs: list[int], outputs: list[int]) -> _Run:
        def run(this: Pass) -> None:
            this.values[outputs[0]] = this.values[inputs[0]] + this.values[inputs[1]]

        return run

    def _select_outputs(self, inputs: list[int], outputs: list[int]) -> _Run:
        def run(this: Pass) -> None:
            this.values[outputs[0]] = this.values[inputs[0]][this.output_rows]

        return run


def _map(inputs: list[int], outputs: list[int], function: Callable[[mx.array], mx.array]) -> _Run:
    def run(this: Pass) -> None:
        this.values[outputs[0]] = function(this.values[inputs[0]])

    return run


# Activations as csrc/kernels/kernel_set.h has them, what is not a number and what is infinite
# included.


def _relu(x: mx.array) -> mx.array:
    return mx.where(x > 0, x, 0)


def _relu2(x: mx.array) -> mx.array:
    positive = _relu(x)
    return positive * positive


def _silu(x: mx.array) -> mx.array:
    return x / (1 + mx.exp(-x))


def _gelu(x: mx.array) -> mx.array:
    limited = mx.maximum(x, -16)  # the rest is 0
    return limited * (0.5 * (1 + mx.erf(limited * math.sqrt(0.5))))


_ACTIVATIONS = {"relu": _relu, "relu2": _relu2, "silu": _silu, "gelu": _gelu}


# Attention


def _heads(x: mx.array, heads: int) -> mx.array:
    """(rows, heads * head_dim) -> (rows, heads, head_dim)."""
    return x.reshape(x.shape[0], heads, -1)


def _by_heads(x: mx.array) -> mx.array:
    """(rows, heads, head_dim) -> (1, heads, rows, head_dim)."""
    return x.swapaxes(0, 1)[None]


def _narrow(x: mx.array) -> mx.array:
    return mx.clip(x, -_LARGEST_F16, _LARGEST_F16).astype(mx.float16)


def _write(kept: mx.array, rows: mx.array, start: mx.array) -> mx.array:
    """`kept` (1, kv_heads, capacity, head_dim) with rows (rows, kv_heads, head_dim) from a
    position (1,) on.
    """
    return mx.slice_update(kept, _by_heads(rows), start, axes=[2])


def _turns(this: Pass, tables: tuple[mx.array, mx.array]) -> tuple[mx.array, mx.array]:
    """Cosines and sines of the rows (rows, 1, head_dim / 2)."""
    key = id(tables)
    if key not in this.made:
        this.made[key] = tuple(table[this.positions][:, None] for table in tables)
    turns: tuple[mx.array, mx.array] = this.made[key]
    return turns


def _rotate(x: mx.array, cosine: mx.array, sine: mx.array) -> mx.array:
    """x (rows, heads, head_dim): element j turns with element j + head_dim / 2."""
    a, b = mx.split(x, 2, axis=-1)
    return mx.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)


def _mask(this: Pass, place: int, rows: slice, capacity: int) -> mx.array:
    """Which positions (capacity) the rows of a sequence see: those up to their own."""
    key = "mask", place
    if key not in this.made:
        assert this.positions is not None
        this.made[key] = mx.arange(capacity) <= this.positions[rows][:, None]
    mask: mx.array = this.made[key]
    return mask
