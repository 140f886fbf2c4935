"""Writes the C++ that lets the emulator call the kernels of one .metal file.

Usage: make_glue.py <file.metal>, whose includes are in their place, to standard output.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

# What Metal gives a parameter with such an attribute: of the position kinds, all of one kernel must
# have the same number of components.
POSITIONS = {
    "thread_position_in_grid": "position_in_grid",
    "thread_position_in_threadgroup": "position_in_threadgroup",
    "threadgroup_position_in_grid": "threadgroup_position",
    "threads_per_threadgroup": "threads_per_threadgroup",
    "threadgroups_per_grid": "threadgroups",
}
INDICES = {
    "thread_index_in_threadgroup": "emulator::index_in_threadgroup()",
    "thread_index_in_simdgroup": "emulator::lane()",
    "simdgroup_index_in_threadgroup": "emulator::index_in_threadgroup() / 32",
    "simdgroups_per_threadgroup": "(emulator::threads_per_threadgroup().volume() + 31) / 32",
}


@dataclass
class Parameter:
    type: str
    name: str
    attribute: str
    index: int


@dataclass
class Kernel:
    name: str
    call: str
    parameters: list[Parameter]
    constants: list[str]
    arrays: list[tuple[str, str]]  # of threadgroup memory: type and count


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def parse_parameter(text: str) -> Parameter:
    pattern = r"\s*(.+?[\s*&])\s*(\w+)\s*\[\[\s*(\w+)(?:\((\d+)\))?\s*\]\]\s*"
    match = re.fullmatch(pattern, text, re.DOTALL)
    if not match:
        raise ValueError(f"not `type name [[attribute]]`: {text.strip()}")
    kind, name, attribute, index = match.groups()
    parameter = Parameter(kind.strip(), name, attribute, int(index or -1))
    if attribute == "buffer":
        if not re.match(r"(device|constant)\b", parameter.type) or parameter.type[-1] not in "*&":
            raise ValueError(f"not a device or constant pointer or reference: {text.strip()}")
    elif attribute not in POSITIONS and attribute not in INDICES:
        raise ValueError(f"unknown attribute {attribute}")
    return parameter


def substitute(text: str, given: dict[str, str]) -> str:
    return re.sub(r"\w+", lambda word: given.get(word[0], word[0]), text)


def functions_of(text: str) -> dict[str, str]:
    """The bodies of functions, those of one name together."""
    bodies: dict[str, str] = defaultdict(str)
    for match in re.finditer(r"\b(\w+)\s*\((?:[^()]|\([^()]*\))*\)\s*\{", text):
        if match[1] in ("if", "for", "while", "switch"):
            continue
        depth, end = 1, match.end()
        while depth > 0:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        bodies[match[1]] += text[match.end() : end]
    return bodies


def words_of(function: str, bodies: dict[str, str]) -> set[str]:
    """The words of a function's body and of the functions that it calls."""
    words: set[str] = set()
    ahead = [function]
    while ahead:
        for word in set(re.findall(r"\w+", bodies[ahead.pop()])) - words:
            words.add(word)
            if word in bodies:
                ahead.append(word)
    return words


def parse(text: str) -> list[Kernel]:
    text = without_comments(text)
    if re.search(r"^(?!  THREADGROUP_ARRAY)\s*THREADGROUP_ARRAY", text, re.MULTILINE):
        raise ValueError("threadgroup memory is declared in the outermost block of a kernel")
    bodies = functions_of(text)
    declared = re.findall(r"^FUNCTION_CONSTANT\(\w+, (\w+), \d+\);", text, re.MULTILINE)

    def kernel(host_name: str, name: str, call: str, parameters: list[Parameter]) -> Kernel:
        words = words_of(name, bodies)
        arrays = re.findall(r"THREADGROUP_ARRAY\((\w+), \w+, (.*)\);", bodies[name])
        return Kernel(host_name, call, parameters, [c for c in declared if c in words], arrays)

    kernels: list[Kernel] = []
    templates: dict[str, tuple[list[str], list[Parameter]]] = {}
    signature = r"(?:template\s*<([^>]*)>\s*)?\bkernel\s+void\s+(\w+)\s*\((.*?)\)\s*\{"
    for arguments, name, parameters in re.findall(signature, text, re.DOTALL):
        parsed = [parse_parameter(part) for part in parameters.split(",")]
        if arguments:
            templates[name] = ([part.split()[-1] for part in arguments.split(",")], parsed)
        else:
            kernels.append(kernel(name, name, name, parsed))
    instance = r'template\s+HOST_NAME\("(\w+)"\)\s*kernel\s+decltype\((\w+)<([^>]*)>\)'
    for host_name, name, values in re.findall(instance, text):
        names, parameters = templates[name]
        given = dict(zip(names, (value.strip() for value in values.split(",")), strict=True))
        of_instance = [replace(p, type=substitute(p.type, given)) for p in parameters]
        of_kernel = kernel(host_name, name, f"{name}<{values}>", of_instance)
        of_kernel.arrays = [
            (substitute(t, given), substitute(n, given)) for t, n in of_kernel.arrays
        ]
        kernels.append(of_kernel)
    return kernels


def argument(parameter: Parameter) -> str:
    if parameter.attribute == "buffer":
        pointer = parameter.type.rstrip("&").strip() + ("*" if parameter.type[-1] == "&" else "")
        value = f"({pointer})buffers[{parameter.index}]"
        return f"*{value}" if parameter.type[-1] == "&" else value
    if parameter.attribute in POSITIONS:
        size = f"emulator::{POSITIONS[parameter.attribute]}()"
        return {
            "uint": f"{size}.x",
            "uint2": f"uint2({size}.x, {size}.y)",
            "uint3": f"uint3{{{size}.x, {size}.y, {size}.z}}",
        }[parameter.type]
    return INDICES[parameter.attribute]


def least_bytes(parameter: Parameter) -> str:
    if parameter.type[-1] != "&":
        return "0"
    return f"sizeof({re.sub(r'^(device|constant)|&$', '', parameter.type).strip()})"


def alignment(parameter: Parameter) -> str:
    return f"alignof({re.sub(r'^(device|constant)|[*&]$', '', parameter.type).strip()})"


def described(parameter: Parameter) -> str:
    is_constant = "true" if parameter.type.startswith("constant") else "false"
    return (
        f'{{{parameter.index}, "{parameter.name}", {least_bytes(parameter)}, '
        f"{alignment(parameter)}, {is_constant}}}"
    )


def literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(f'"{line}\\n"' for line in escaped.splitlines())


def glue(kernel: Kernel, file: str) -> str:
    dimensions = {p.type for p in kernel.parameters if p.attribute in POSITIONS}
    if len(dimensions) > 1:
        raise ValueError(f"{kernel.name}: positions of {len(dimensions)} types")
    arguments = ", ".join(argument(parameter) for parameter in kernel.parameters)
    bound = [p for p in kernel.parameters if p.attribute == "buffer"]
    buffers = ", ".join(described(p) for p in bound)
    constants = ", ".join([f'"{name}"' for name in kernel.constants] + ["nullptr"])
    bytes_of_arrays = " + ".join(["0"] + [f"sizeof({t}) * ({n})" for t, n in kernel.arrays])
    return (
        f"static void call_{kernel.name}(void* const* buffers) {{ {kernel.call}({arguments}); }}\n"
        f"static const emulator::Parameter parameters_{kernel.name}[] = {{{buffers}}};\n"
        f"static const char* const constants_{kernel.name}[] = {{{constants}}};\n"
        f'static const emulator::Kernel kernel_{kernel.name} = {{"{kernel.name}", emulator_file, '
        f"call_{kernel.name}, parameters_{kernel.name}, {len(bound)}, constants_{kernel.name}, "
        f"{len(kernel.constants)}, {bytes_of_arrays}}};\n"
        f"static const emulator::KernelEntry entry_{kernel.name}(&kernel_{kernel.name});\n"
    )


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    text = path.read_text(encoding="utf-8")
    kernels = parse(text)
    print('#include "lanes.h"')
    print(f'static const char* const emulator_file = "{path.name}";')
    print(f'#include "{path}"')
    print(f"static const emulator::Source emulator_source(emulator_file,\n{literal(text)});")
    for kernel in kernels:
        print(glue(kernel, path.name))


if __name__ == "__main__":
    main()
