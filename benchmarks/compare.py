"""Is a revision slower than another, or does it take more memory?

    make bench-compare BASE=REVISION [NEW=REVISION]
    python benchmarks/compare.py BASE NEW [--rounds 5] [--program NAME=COMMAND ...]

BASE and NEW are checkouts that are built, as make does it. Every program runs in both, in turns and
each time in a process of its own; what a program prints as JSON are its measures, and its peak of
resident memory is one more (at least what this script holds, about 15 MB: the system counts from
the fork). A ratio is that of one round, new by base, turned so that more than 1 is worse.

The rule: a measure is worse if its ratio is above 1.05 in at least three quarters of the rounds, so
that a disturbed round decides nothing. Ends with 1 if a measure is worse, with 2 if a program
fails. Needs a system with wait4: Linux or macOS.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LIMIT = 1.05
SHARE = 0.75  # of the rounds

# Run in the folder of a revision, with its package.
PROGRAMS = {
    "network": "build/compare/benchmarks/bench_network --benchmark_format=json"
    " --benchmark_min_time=0.1 --benchmark_filter=samples:(1|8|32|256)/",
    "threads": "build/compare/benchmarks/bench_threads --benchmark_format=json",
    "model": f"{shlex.quote(sys.executable)} -m tritium bench --json --rounds 1"
    " --prompt 256 --generate 128",
    "engine": f'{shlex.quote(sys.executable)} -c "import tritium; tritium.InferenceEngine()"',
}


class ProgramError(Exception):
    """A program that did not do its work."""


@dataclasses.dataclass
class Measure:
    """One number of both revisions, by rounds."""

    unit: str
    more_is_better: bool = False
    base: list[float] = dataclasses.field(default_factory=list)
    new: list[float] = dataclasses.field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """More than 1 is worse."""
        pairs = zip(self.base, self.new, strict=True)
        return [b / n if self.more_is_better else n / b for b, n in pairs]

    @property
    def is_worse(self) -> bool:
        ratios = self.ratios
        return sum(ratio > LIMIT for ratio in ratios) >= SHARE * len(ratios)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--program", action="append", metavar="NAME=COMMAND", help="run these, not the usual ones"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    programs = PROGRAMS
    if options.program:
        programs = dict(program.partition("=")[::2] for program in options.program)
    try:
        measures = measure(programs, options.base, options.new, options.rounds)
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(measures))
    worse = [name for name, measure in measures.items() if measure.is_worse]
    print(
        f"{len(worse)} of {len(measures)} measures worse: above {LIMIT} times in at least ", end=""
    )
    print(f"{SHARE:.0%} of {options.rounds} rounds")
    return int(bool(worse))


def measure(programs: dict[str, str], base: Path, new: Path, rounds: int) -> dict[str, Measure]:
    """The measures that both revisions have."""
    found: dict[str, Measure] = {}
    for place in range(rounds):
        for program, command in programs.items():
            # Who goes first takes turns, too.
            for folder in (base, new) if place % 2 == 0 else (new, base):
                for name, (value, unit, more_is_better) in run(command, folder).items():
                    entry = found.setdefault(f"{program} {name}", Measure(unit, more_is_better))
                    (entry.base if folder is base else entry.new).append(value)
    for name in [name for name, m in found.items() if len(m.base) != len(m.new)]:
        where = "base" if found.pop(name).base else "new"
        print(f"{name}: only in {where}, not compared")
    return found


def run(command: str, folder: Path) -> dict[str, tuple[float, str, bool]]:
    """By name a value, its unit, and whether more is better; none if the folder has no such
    program."""
    words = shlex.split(command)
    if not (folder / words[0]).exists():
        return {}
    environment = os.environ | {"PYTHONPATH": str(folder.resolve() / "python")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(folder.resolve() / words[0]), *words[1:]],
            cwd=folder,
            env=environment,
            stdout=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode != 0:
        raise ProgramError(f"{command} in {folder} ended with {process.returncode}")
    try:
        measures = read_measures(json.loads(text)) if text else {}
    except (ValueError, KeyError, AttributeError) as error:
        raise ProgramError(f"{command} in {folder} printed no measures: {error!r}") from error
    unit = 1 if sys.platform == "darwin" else 1024
    return measures | {"peak memory": (usage.ru_maxrss * unit * 1e-6, "MB", False)}


def read_measures(report: dict) -> dict[str, tuple[float, str, bool]]:
    """Of Google Benchmark, the real times; of `tritium bench`, the speeds."""
    if "benchmarks" in report:
        failed = [b["name"] for b in report["benchmarks"] if b.get("error_occurred")]
        if failed:
            raise ValueError(f"{', '.join(failed)} failed")
        return {b["name"]: (b["real_time"], b["time_unit"], False) for b in report["benchmarks"]}
    return {
        name: (value, "/s", True)
        for name, value in report.items()
        if name.endswith("_tokens_per_s")
    }


def table(measures: dict[str, Measure]) -> str:
    width = max(map(len, measures), default=0)
    lines = [f"{'measure':<{width}} {'base':>13} {'new':>13} {'ratio':>7}  least-most"]
    for name, m in measures.items():
        base, new = (f"{statistics.median(side):.2f} {m.unit}" for side in (m.base, m.new))
        ratios = m.ratios
        line = f"{name:<{width}} {base:>13} {new:>13} {statistics.median(ratios):>7.3f}  "
        line += f"{min(ratios):.3f}-{max(ratios):.3f}"
        lines.append(line + ("  WORSE" if m.is_worse else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
