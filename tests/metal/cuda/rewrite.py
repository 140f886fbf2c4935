"""Rewrites a file of metal/kernels for nvcc; of a .metal file, also what launches its kernels.

Usage: rewrite.py <file> [<function> <other> <suffix>], to standard output. What it does not know it
refuses.

With four arguments a helper function gives way to what the file <other> holds, and kernels have a
suffix to their names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "emulator"))

from make_glue import Kernel, Parameter, described, parse, parse_parameter, without_comments

POSITIONS = {
    "thread_position_in_grid": "blockIdx.{0} * blockDim.{0} + threadIdx.{0}",
    "thread_position_in_threadgroup": "threadIdx.{0}",
    "threadgroup_position_in_grid": "blockIdx.{0}",
    "threads_per_threadgroup": "blockDim.{0}",
    "threadgroups_per_grid": "gridDim.{0}",
}
# Threadgroups of these kernels have one dimension.
INDICES = {
    "thread_index_in_threadgroup": "threadIdx.x",
    "thread_index_in_simdgroup": "threadIdx.x % 32",
    "simdgroup_index_in_threadgroup": "threadIdx.x / 32",
    "simdgroups_per_threadgroup": "blockDim.x / 32",
}
QUALIFIER = r"\b(?:device|constant|threadgroup|thread)\b"
# Where a qualifier may stand: before what a pointer or reference leads to.
QUALIFIED = rf"({QUALIFIER})(\s+(?:const\s+)?\w+(?:<[\w, ]*>)?\s*\(?[*&])"
FUNCTION_CONSTANT = r"\bFUNCTION_CONSTANT\((\w+), (\w+), \d+\);"
VECTOR = r"\b(char|uchar|short|ushort|int|uint|long|ulong|half|float)([234])\b"
SWIZZLE = r"\.([xyzwrgba]{2,4})\b(?!\s*\()"


def refuse(text: str, pattern: str, what: str) -> None:
    found = re.search(pattern, text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"line {line}: {what}: {found[0].strip()}")


def rewrite_qualifiers(text: str) -> str:
    text = re.sub(QUALIFIED, lambda m: ("const" if m[1] == "constant" else "") + m[2], text)
    refuse(text, QUALIFIER, "an address space that is not a pointer's or a reference's")
    return text


def rewrite_vectors(text: str) -> str:
    """CUDA has types of the same names."""
    return re.sub(VECTOR, r"metal::vec<\1, \2>", text)


def received(parameter: Parameter) -> str:
    """A buffer as a parameter; constants are small and come by value."""
    kind = parameter.type
    if kind.startswith("constant") and kind.endswith("&"):
        value = kind.removeprefix("constant").removesuffix("&").strip()
        return f"const __grid_constant__ {value} {parameter.name}"
    return f"{kind} {parameter.name}"


def found_out(parameter: Parameter) -> str:
    """What Metal passes and CUDA has in variables."""
    if parameter.attribute in INDICES:
        return f"  const {parameter.type} {parameter.name} = {INDICES[parameter.attribute]};\n"
    template = POSITIONS[parameter.attribute]
    count = int(parameter.type.removeprefix("uint") or 1)
    values = ", ".join(template.format(axis) for axis in "xyz"[:count])
    return f"  const {parameter.type} {parameter.name} = {{{values}}};\n"


def rewrite_kernel(match: re.Match[str]) -> str:
    parameters = [parse_parameter(part) for part in match[2].split(",")]
    buffers = ", ".join(received(p) for p in parameters if p.attribute == "buffer")
    found = "".join(found_out(p) for p in parameters if p.attribute != "buffer")
    return f"static __global__ void {match[1]}({buffers}) {{\n{found}"


def rewrite(text: str) -> str:
    text = without_comments(text)
    text = re.sub(r'template\s+HOST_NAME\("\w+"\)\s*kernel\s+decltype\([^;]*;', "", text)
    text = re.sub(
        r"\bkernel\s+void\s+(\w+)\s*\((.*?)\)\s*\{", rewrite_kernel, text, flags=re.DOTALL
    )
    text = re.sub(r"\bTHREADGROUP_ARRAY\((\w+), (\w+), (.+)\);", r"__shared__ \1 \2[\3];", text)
    text = re.sub(FUNCTION_CONSTANT, r"static __constant__ \1 \2;", text)
    refuse(
        text, r"\b(THREADGROUP_ARRAY|FUNCTION_CONSTANT|HOST_NAME)\b.*", "a macro in an unknown form"
    )
    refuse(text, r"\[\[.*?\]\]", "an attribute")
    refuse(text, r"\bkernel\b.*", "a kernel that is not `kernel void name(...)`")
    text = rewrite_qualifiers(text)
    text = re.sub(r"\.(xy|zw)\b(?!\s*\()", r".\1()", text)
    refuse(text, SWIZZLE, "a swizzle that is not xy or zw")
    return rewrite_vectors(text)


def host_argument(parameter: Parameter) -> str:
    kind = rewrite_qualifiers(parameter.type)
    if kind.endswith("&"):
        return f"*({kind.removesuffix('&').strip()}*)buffers[{parameter.index}]"
    return f"({kind})buffers[{parameter.index}]"


def glue(kernel: Kernel) -> str:
    bound = [p for p in kernel.parameters if p.attribute == "buffer"]
    arguments = ", ".join(host_argument(p) for p in bound)
    buffers = ", ".join(described(p).replace("constant ", "") for p in bound)
    written = sum(1 << p.index for p in bound if not {"const", "constant"} & set(p.type.split()))
    name = kernel.name
    return (
        f"static void launch_{name}(const metal_on_cuda::Grid& grid, void* const* buffers) {{\n"
        f"  {kernel.call}<<<grid.blocks, grid.threads, 0, grid.stream>>>({arguments});\n}}\n"
        f"static const emulator::Parameter parameters_{name}[] = {{{buffers}}};\n"
        f'static const metal_on_cuda::Kernel kernel_{name}({{"{name}", metal_file, nullptr, '
        f"parameters_{name}, {len(bound)}, nullptr, 0, 0}}, launch_{name}, "
        f"(const void*)({kernel.call}), {written}u);\n"
    )


def function_constants(path: Path) -> list[tuple[str, str]]:
    """(type, name) of those of a file and of what it includes."""
    text = without_comments(path.read_text(encoding="utf-8"))
    found = re.findall(FUNCTION_CONSTANT, text)
    for header in re.findall(r'#include "(\w+\.h)"', text):
        if (path.parent / header).exists():
            found += function_constants(path.parent / header)
    return found


def substitute(text: str, function: str, other: str, suffix: str) -> str:
    definition = rf"METAL_FUNC [^;{{]*\b{function}\([^{{]*\{{\n.*?\n\}}\n"
    text, count = re.subn(definition, lambda _: other, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{count} functions are called {function}")
    return re.sub(r"(\bkernel\s+void\s+\w+)", rf"\1{suffix}", text)


def main() -> None:
    path = Path(sys.argv[1])
    text = path.read_text(encoding="utf-8")
    suffix = ""
    if len(sys.argv) > 2:
        function, other, suffix = sys.argv[2:]
        text = substitute(text, function, Path(other).read_text(encoding="utf-8"), suffix)
    print(rewrite(text))
    if path.suffix != ".metal":
        return
    print('#include "metal_on_cuda.h"')
    print(f'static const char* const metal_file = "{path.stem}{suffix}.metal";')
    for kind, name in function_constants(path):
        print(
            f'static const metal_on_cuda::FunctionConstant constant_{name}(metal_file, "{name}", '
            f"sizeof({kind}), &{name});"
        )
    for kernel in parse(text):
        print(rewrite_vectors(glue(kernel)))


if __name__ == "__main__":
    main()
