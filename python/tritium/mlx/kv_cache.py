"""Where are the keys and values of past tokens on MLX?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import mlx.core as mx

STEP = 256  # positions by which a sequence's arrays grow, so that few shapes are compiled

Layers: TypeAlias = "list[mx.array]"  # one (1, kv_heads, capacity, head_dim) float16 a layer


@dataclass(frozen=True)
class CacheShape:
    layers: int
    kv_heads: int
    head_dim: int


@dataclass
class Sequence:
    """The past of one sequence.

    Arrays are values: a fork holds the same ones, and MLX copies them when one side is written.
    What lies beyond the tokens has no meaning.
    """

    tokens: list[int] = field(default_factory=list)
    keys: Layers = field(default_factory=list)  # empty: to be computed from the tokens
    values: Layers = field(default_factory=list)

    @property
    def is_lost(self) -> bool:
        return bool(self.tokens) and not self.keys

    def take(self) -> tuple[Layers, Layers]:
        """Keys and values to be written over in place: nothing else may hold them. They are lost
        unless `put` gives back what they have become.
        """
        taken = self.keys, self.values
        self.keys, self.values = [], []
        return taken

    def put(self, keys: Layers, values: Layers) -> None:
        self.keys, self.values = keys, values


class KVCache:
    """Sequences of one model by their number."""

    def __init__(self, shape: CacheShape) -> None:
        self._shape = shape
        self._sequences: dict[int, Sequence] = {}

    def fork(self, sequence: int, new: int) -> None:
        past = self._sequences.get(sequence, Sequence())
        self._sequences[new] = Sequence(list(past.tokens), list(past.keys), list(past.values))

    def free(self, sequence: int) -> None:
        self._sequences.pop(sequence, None)

    def at(self, sequence: int, length: int) -> Sequence:
        """The sequence, cut to `length` tokens."""
        found = self._sequences.setdefault(sequence, Sequence())
        del found.tokens[length:]
        return found

    def make_room(self, sequence: Sequence, tokens: int) -> None:
        """Let the arrays hold so many tokens."""
        shape = self._shape
        capacity = sequence.keys[0].shape[2] if sequence.keys else 0
        missing = -(-tokens // STEP) * STEP - capacity
        if missing <= 0:
            return
        room = mx.zeros((1, shape.kv_heads, missing, shape.head_dim), mx.float16)
        if capacity == 0:
            # Each has memory of its own from the first write on.
            sequence.put([room] * shape.layers, [room] * shape.layers)
            return
        keys, values = sequence.take()
        sequence.put(
            [mx.concatenate([layer, room], axis=2) for layer in keys],
            [mx.concatenate([layer, room], axis=2) for layer in values],
        )
