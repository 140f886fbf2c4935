"""How fast is Tritium beside another engine, on the same machine at the same time?

    python benchmarks/peers.py --llama-bench PATH --format iq2_bn_r4

PATH is the llama-bench of ik_llama.cpp, bitnet.cpp or llama.cpp. Both engines run random weights
of the geometry of microsoft/bitnet-b1.58-2B-4T, each in processes of its own and taking turns, so
that both see the same moods of the machine. Compare ratios: absolute speeds of different runs say
little.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gguf_file import FORMATS, write_model

from tritium.roofline import load_pyplot
from tritium.synthetic import GEOMETRIES, Geometry, write_checkpoint

GEOMETRY = "bitnet-2b-4t"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One number of both engines."""

    name: str
    unit: str
    more_is_better: bool
    peer: list[float]
    """One a round, as are those of `ours`."""
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times better ours is, round by round."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [o / p if self.more_is_better else p / o for o, p in pairs]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    records = _read_records(options)
    if options.rounds:
        with _models(options.models, GEOMETRIES[GEOMETRY], options.format) as models:
            for index in range(options.rounds):
                for threads in options.threads:
                    _say(f"round {index + 1} of {options.rounds}, {_count(threads, 'thread')}")
                    records.append(measure_round(options, threads, *models))
                    if options.record is not None:
                        with options.record.open("a") as file:
                            file.write(json.dumps(records[-1]) + "\n")
    if options.plot is not None:
        draw_ratios(options.plot, records)
    print(json.dumps(records, indent=2) if options.json else as_table(records))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--llama-bench", required=True, metavar="PATH", help="the peer's benchmark program")
    add("--format", choices=FORMATS, default="iq2_bn_r4", help="of the peer's ternary matrices")
    add("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    add("--prompt", type=int, nargs="+", default=[128, 512], metavar="N", help="tokens of prompts")
    add("--generate", type=int, default=64, metavar="N", help="tokens to generate")
    add("--rounds", type=int, default=5, metavar="N", help="0 shows what was recorded")
    add("--ours", type=shlex.split, default=[], metavar="OPTIONS", help="more for tritium bench")
    add("--peer", type=shlex.split, default=[], metavar="OPTIONS", help="more for llama-bench")
    add("--models", type=Path, metavar="DIR", help="keep the models there for the next time (2 GB)")
    add("--record", type=Path, metavar="FILE", help="append each round, and report all that it has")
    add("--plot", type=Path, metavar="FILE", help="draw the ratios")
    add("--json", action="store_true", help="print every round as JSON")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _models(
    folder: Path | None, geometry: Geometry, format_name: str
) -> Iterator[tuple[Path, Path]]:
    """The peer's file and our folder with a model of that geometry, written if they are missing."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        theirs, ours = folder / f"{GEOMETRY}-{format_name}.gguf", folder / GEOMETRY
        for path, write in (
            (theirs, lambda new: write_model(new, geometry, format_name)),
            (ours, lambda new: write_checkpoint(geometry, new)),
        ):
            if not path.exists():
                _say(f"writing {path.name}")
                unfinished = path.with_name(f"{path.name}.unfinished")
                write(unfinished)
                unfinished.rename(path)
        yield theirs, ours


def measure_round(
    options: argparse.Namespace, threads: int, theirs: Path, ours: Path
) -> dict[str, Any]:
    """Every number once, the engines taking turns."""
    peer: dict[str, float] = {}
    tritium: dict[str, float] = {}
    found: list[dict[str, Any]] = []

    def run_peer(*arguments: str) -> tuple[dict[str, Any], float, float]:
        return run_llama_bench(
            [options.llama_bench, "-m", str(theirs), "-t", str(threads), *arguments, *options.peer]
        )

    def run_ours(prompt: int, generate: int) -> dict[str, Any]:
        command = [sys.executable, "-m", "tritium", "bench", "-m", str(ours), "-t", str(threads)]
        sizes = ["--prompt", str(prompt), "--generate", str(generate), "--rounds", "1", "--json"]
        output, _, _ = _run([*command, *sizes, *options.ours])
        found.append(json.loads(output))
        return found[-1]

    generate = options.generate
    for prompt in options.prompt:
        result, _, _ = run_peer("-p", str(prompt), "-n", "0")
        peer[f"prefill {prompt}"] = result["avg_ts"]
        tritium[f"prefill {prompt}"] = run_ours(prompt, 2)["prefill_tokens_per_s"]
    result, _, _ = run_peer("-p", "0", "-n", str(generate))
    peer[f"decode {generate}"] = result["avg_ts"]
    tritium[f"decode {generate}"] = run_ours(1, generate)["decode_tokens_per_s"]
    decoded = found[-1]
    # It feeds one token to warm up, and one more that is measured.
    result, wall_s, _ = run_peer("-p", "0", "-n", "1")
    peer["load to first token"] = wall_s - result["avg_ns"] / 1e9
    tritium["load to first token"] = decoded["load_to_first_token_s"]
    first = options.prompt[0]
    _, _, peak_mb = run_peer("-p", "0", "-n", "0", "-pg", f"{first},{generate}")
    peer[f"peak memory {first} + {generate}"] = peak_mb
    tritium[f"peak memory {first} + {generate}"] = run_ours(first, generate)["peak_rss_mb"]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": threads,
        "peer": {
            "format": options.format,
            "commit": result.get("build_commit", ""),
            "options": options.peer,
            **peer,
        },
        "ours": {
            "kernel_set": decoded["kernel_set"],
            "options": options.ours,
            **tritium,
            "read GB/s": statistics.median(f["read_bandwidth_gb_per_s"] for f in found),
            "peak GMAC/s": statistics.median(f["integer_peak_gmac_per_s"] for f in found),
            "decode of bandwidth": decoded["decode_bandwidth_fraction"],
            "prefill of peak": [f["prefill_peak_fraction"] for f in found[: len(options.prompt)]],
            "private MB": found[-1]["private_mb"],
        },
    }


def run_llama_bench(command: list[str]) -> tuple[dict[str, Any], float, float]:
    """What it says of its last test; seconds and peak memory in 10**6 bytes of the process."""
    output, wall_s, peak_mb = _run([*command, "-r", "1", "-o", "json"])
    return json.loads(output)[-1], wall_s, peak_mb


def _run(command: list[str]) -> tuple[str, float, float]:
    """Standard output, seconds, and the most resident memory (VmHWM) in 10**6 bytes."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(
                f"{shlex.join(command)}\nended with {process.returncode}:\n{errors.read()}"
            )
        unit = 1 if sys.platform == "darwin" else 1024
        return output.read(), wall_s, usage.ru_maxrss * unit / 1e6


def machine() -> str:
    """Processor and system, as far as they tell."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def compare(records: list[dict[str, Any]], threads: int) -> list[Comparison]:
    """Every number that all records of so many threads have."""
    chosen = [record for record in records if record["threads"] == threads]
    if not chosen:
        return []
    names = [
        name
        for name, value in chosen[0]["peer"].items()
        if isinstance(value, float) and all(name in r["peer"] and name in r["ours"] for r in chosen)
    ]
    return [
        Comparison(
            name,
            {"load": "s", "peak": "MB"}.get(name.split()[0], "tokens/s"),
            name.split()[0] not in ("load", "peak"),
            [record["peer"][name] for record in chosen],
            [record["ours"][name] for record in chosen],
        )
        for name in names
    ]


def as_table(records: list[dict[str, Any]]) -> str:
    """Medians, and the ratio of each round: median, least and most. Markdown."""
    if not records:
        return "nothing was measured"
    last = records[-1]
    peer, ours = last["peer"], last["ours"]
    lines = [
        f"{last['machine']}, {last['date']}",
        f"peer: {peer['format']}, build {peer['commit']} {shlex.join(peer['options'])}".rstrip(),
        f"ours: {ours['kernel_set']} {shlex.join(ours['options'])}".rstrip(),
    ]
    for threads in sorted({record["threads"] for record in records}):
        chosen = [record["ours"] for record in records if record["threads"] == threads]
        title = f"{_count(threads, 'thread')}, {_count(len(chosen), 'round')}"
        lines += ["", f"| {title} | peer | ours | times better |", "|---|---|---|---|"]
        for found in compare(records, threads):
            digits = 2 if found.unit == "s" else 1
            ratios = found.ratios
            lines.append(
                f"| {found.name}, {found.unit} | {statistics.median(found.peer):.{digits}f} "
                f"| {statistics.median(found.ours):.{digits}f} "
                f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |"
            )
        prefill = zip(*(c["prefill of peak"] for c in chosen), strict=True)
        lines += [
            "",
            f"Limits beside: {_spread([c['read GB/s'] for c in chosen])} GB/s read, "
            f"{_spread([c['peak GMAC/s'] for c in chosen])} GMAC/s. Ours decodes at "
            f"{statistics.median(c['decode of bandwidth'] for c in chosen):.1%} of the bandwidth, "
            f"prefills at {', '.join(f'{statistics.median(p):.1%}' for p in prefill)} of the peak.",
        ]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def draw_ratios(file: Path, records: list[dict[str, Any]]) -> None:
    """A bar for each number and thread count, from the least to the most of the rounds."""
    pyplot = load_pyplot()
    counts = sorted({record["threads"] for record in records})
    names = [found.name for found in compare(records, counts[0])]
    figure, axes = pyplot.subplots(figsize=(7.2, 0.5 + 0.62 * len(names)), layout="constrained")
    height = 0.8 / len(counts)
    for place, threads in enumerate(counts):
        ratios = [found.ratios for found in compare(records, threads)]
        middles = [statistics.median(r) for r in ratios]
        ys = [row + (place - (len(counts) - 1) / 2) * height for row in range(len(names))]
        axes.barh(
            ys,
            middles,
            height * 0.9,
            xerr=[
                [m - min(r) for m, r in zip(middles, ratios, strict=True)],
                [max(r) - m for m, r in zip(middles, ratios, strict=True)],
            ],
            color=("#1f6f8b", "#7fb7be", "#c9ada7", "#9a8c98")[place % 4],
            ecolor="#444444",
            label=_count(threads, "thread"),
        )
        for y, middle, r in zip(ys, middles, ratios, strict=True):
            axes.annotate(
                f"{middle:.2f}",
                (max(r), y),
                textcoords="offset points",
                xytext=(4, 0),
                va="center",
                fontsize=8,
            )
    axes.axvline(1, color="#c44536", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("times better than the peer; whiskers: all rounds")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def _say(line: str) -> None:
    if sys.stderr.isatty():
        print(f"peers: {line}", file=sys.stderr, flush=True)


def _read_records(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What was recorded before, of the same comparison."""
    file = options.record
    if file is None or not file.exists():
        return []
    records = [json.loads(line) for line in file.read_text().splitlines()]
    asked = options.format, options.peer, options.ours
    for record in records:
        found = record["peer"]["format"], record["peer"]["options"], record["ours"]["options"]
        if found != asked:
            raise SystemExit(f"{file} records another comparison: {found}, asked for {asked}")
    return records


if __name__ == "__main__":
    sys.exit(main())
