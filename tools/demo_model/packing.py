"""How do ternary rows become bytes?  Four stripes of output rows share one byte row."""

from __future__ import annotations

from torch import Tensor, stack, uint8


def pack_ternary(t: Tensor) -> Tensor:
    """(N, K) values in {-1, 0, 1} -> (N/4, K) uint8; bits 2i..2i+1 hold row i·N/4 + r, plus 1.

    The layout is that of transformers' `quant_method: bitnet`.  N must be divisible by 4.
    """
    if t.shape[0] % 4:
        raise ValueError(f"[pack_ternary] {t.shape[0]} rows, wanted a multiple of 4")
    codes = (t + 1).to(uint8)
    packed = codes[: len(codes) // 4].clone()
    for stripe in range(1, 4):
        packed |= codes.chunk(4)[stripe] << (2 * stripe)
    return packed


def unpack_ternary(packed: Tensor) -> Tensor:
    """The inverse of `pack_ternary`: (R, K) uint8 -> (4·R, K) float32."""
    stripes = stack([(packed >> (2 * i)) & 3 for i in range(4)])  # (4, R, K)
    return stripes.reshape(-1, packed.shape[1]).float() - 1
