"""What tests/metal/cuda/rewrite.py makes of Metal kernels, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metal" / "cuda"))

from rewrite import rewrite, substitute

KERNEL = """
kernel void copy(device const float4* x [[buffer(0)]], constant uint& count [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  THREADGROUP_ARRAY(float, sums, 32);
}
"""


def test_a_kernel_finds_its_place_itself() -> None:
    assert (
        "static __global__ void copy( const metal::vec<float, 4>* x, "
        "const __grid_constant__ uint count) { "
        "const uint i = {blockIdx.x * blockDim.x + threadIdx.x}; __shared__ float sums[32];"
    ) in " ".join(rewrite(KERNEL).split())


def test_qualifiers_of_pointers_and_references_vanish() -> None:
    text = rewrite("METAL_FUNC void f(thread const uint (&at)[2], threadgroup half* x) {}")
    assert "f( const uint (&at)[2],  half* x)" in text


def test_a_function_gives_way_to_another() -> None:
    text = "METAL_FUNC int one(int x) {\n  return x;\n}\n" + KERNEL
    replaced = substitute(text, "one", "OTHER\n", "_b")
    assert replaced.startswith("OTHER\n")
    assert "kernel void copy_b(" in replaced
    with pytest.raises(ValueError, match="0 functions are called two"):
        substitute(text, "two", "OTHER\n", "_b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernel void k(uint x [[stage_in]]) {}", "unknown attribute stage_in"),
        ("kernel void k(device int* x) {}", "not `type name"),
        ("[[kernel]] void k() {}", "line 1: an attribute"),
        ("\nthreadgroup float sums[32];", "line 2: an address space that is not a pointer's"),
        ("constant float table[] = {1.0f};", "an address space that is not a pointer's"),
        ("float2 x = y.wz;", "line 1: a swizzle that is not xy or zw: .wz"),
        ("  THREADGROUP_ARRAY(float, sums, 32)", "a macro in an unknown form"),
        ("kernel int k() {}", "a kernel that is not"),
    ],
)
def test_what_is_not_known_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rewrite(text)
