"""Runs the Metal kernels on an NVIDIA GPU: against the scalar kernels, under compute-sanitizer, and
for their time.

    python tools/run_metal_kernels_on_nvidia.py [--only tests sanitizers times]

Builds tests/metal/cuda with nvcc into the folder --build, unless --programs names one in which that
has been done. Prints tables, keeps all output in the folder --logs, and exits with 1 if anything is
not as it should be.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Small shapes alone, and nothing that fails on purpose.
SMALL = "-LargeShapes.*:LaunchOnCuda.*"
# What each tool runs. Where buffers are not initialised, a test that looks at what a kernel has
# left as it was says nothing.
TOOLS = {
    "memcheck": SMALL,
    "racecheck": SMALL,
    "synccheck": SMALL,
    "initcheck": f"{SMALL}:*AppendedKeys*",
}
# Kernels with a mistake, and the tool that must find it.
FAULTS = [
    ("missing_barrier", "racecheck"),
    ("missing_second_barrier", "racecheck"),
    ("overrun_of_a_buffer", "memcheck"),
    ("misaligned", "memcheck"),
    ("uninitialised_buffer", "initcheck"),
]


def build(folder: Path) -> Path:
    """The folder of the programs."""
    settings = ["CMAKE_BUILD_TYPE=Release", "CMAKE_CUDA_ARCHITECTURES=native"]
    settings += ["TRITIUM_BUILD_TESTS=OFF", "TRITIUM_BUILD_CUDA_TESTS=ON"]
    options = [f"-D{setting}" for setting in settings]
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *options], check=True)
    subprocess.run(["cmake", "--build", str(folder), "--parallel"], check=True)
    return folder / "tests" / "metal" / "cuda"


def found_errors(output: str) -> int | None:
    """What a tool's last line counts, or None if it did not get so far.

    Of initcheck the reads of kernels: a kernel need not write all of a buffer that comes back.
    """
    summary = re.search(r"RACECHECK SUMMARY: (\d+) hazards?|ERROR SUMMARY: (\d+) errors?", output)
    if not summary:
        return None
    if "--tool initcheck" in output:
        return output.count("Uninitialized __global__ memory read")
    return int(summary[1] or summary[2])


class Run:
    """Programs of a folder, whose output goes to files, too."""

    def __init__(self, programs: Path, logs: Path) -> None:
        self.programs = programs
        self.logs = logs
        self.failed = False
        logs.mkdir(parents=True, exist_ok=True)

    def program(
        self, name: str, *arguments: str, tool: str = "", limit: float = 300
    ) -> tuple[int | None, str]:
        """Exit status and output of a program, by way of a tool of compute-sanitizer."""
        command = [str(self.programs / name), *arguments]
        environment = dict(os.environ)
        if tool:
            sanitizer = ["compute-sanitizer", "--tool", tool, "--print-limit", "10000"]
            command = [*sanitizer, *command]
        if tool == "initcheck":
            environment["TRITIUM_UNINITIALISED"] = "1"
        status = None
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                check=False,
                timeout=limit,
            )
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            output = f"stopped after {limit} s"
        output = " ".join(command) + "\n" + output
        file = "-".join(filter(None, [name, tool, *(a for a in arguments if a[0] != "-")]))
        (self.logs / f"{file}.log").write_text(output, encoding="utf-8")
        return status, output

    def row(self, right: bool, *cells: object) -> None:
        self.failed |= not right
        print("|", " | ".join(str(cell) for cell in (*cells, "yes" if right else "NO")), "|")

    def tests(self) -> None:
        print("\n| tests against the scalar kernels | seconds | all passed |\n|---|---|---|")
        begin = time.monotonic()
        status, output = self.program("test_metal_on_cuda")
        passed = re.search(r"\[  PASSED  \] (\d+) tests?", output)
        ran = re.search(r"\[=+\] (\d+) tests? from .* ran", output)
        self.row(
            status == 0 and bool(passed),
            f"{passed[1] if passed else 0} of {ran[1] if ran else '?'} passed",
            f"{time.monotonic() - begin:.1f}",
        )
        for line in re.findall(r"\[  FAILED  \] .*", output):
            print(line)

    def sanitizers(self) -> None:
        print("\n| compute-sanitizer | tests passed | errors | none |\n|---|---|---|---|")
        for tool, tests in TOOLS.items():
            status, output = self.program(
                "test_metal_on_cuda", f"--gtest_filter={tests}", tool=tool
            )
            passed = re.search(r"\[  PASSED  \] (\d+) tests?", output)
            errors = found_errors(output)
            right = status == 0 and errors == 0 and passed is not None
            self.row(right, tool, passed[1] if passed else 0, errors)
        print("\n| kernel with a mistake | tool | errors without it | with it | found |")
        print("|---|---|---|---|---|")
        for kernel, tool in FAULTS:
            without, mistaken = (
                found_errors(self.program("fault_on_cuda", *arguments, tool=tool, limit=30)[1])
                for arguments in ((kernel,), (kernel, "mistaken"))
            )
            self.row(without == 0 and bool(mistaken), kernel, tool, without, mistaken)

    def times(self) -> None:
        status, output = self.program("bench_metal_on_cuda")
        print("\n" + output.split("\n", 1)[1])
        self.failed |= status != 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "cuda")
    parser.add_argument("--programs", type=Path)
    parser.add_argument("--logs", type=Path)
    parts = ["tests", "sanitizers", "times"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args(arguments)
    programs = options.programs or build(options.build)
    run = Run(programs, options.logs or programs / "logs")
    for part in options.only:
        getattr(run, part)()
        sys.stdout.flush()
    print("\nThere are failures." if run.failed else "\nAll is as it should be.")
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
