"""`tritium bench`: how fast is a model here, and what bounds it?"""

from __future__ import annotations

import argparse
import json
import sys

from ..bench import BenchResult, find_geometry, run_bench
from ..synthetic import GEOMETRIES
from .arguments import add_kv_dtype_option, add_model_option, add_option, add_switch

SUMMARY = "measure a model's speed beside the limits of this machine"
DESCRIPTION = """\
Measure prefill and decode of a model, and in the same run, with the same threads, how fast this
machine reads memory and multiplies integers.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_option(parser)
    add_option(
        parser,
        "--synthetic",
        metavar="NAME",
        help=f"random weights of a published size instead: {', '.join(GEOMETRIES)}",
    )
    add_option(parser, "-t", "--threads", type=int, help="threads (default: performance cores)")
    add_kv_dtype_option(parser)
    add_option(parser, "--prompt", type=int, default=128, help="tokens of the prompt")
    add_option(parser, "--generate", type=int, default=64, help="tokens to generate")
    add_option(parser, "--rounds", type=int, default=3, help="how often; medians are reported")
    add_switch(parser, "--json", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.synthetic is not None and arguments.model is not None:
        arguments.parser.error("--synthetic and --model exclude each other")
    result = run_bench(
        arguments.model if arguments.synthetic is None else find_geometry(arguments.synthetic),
        threads=arguments.threads,
        kv_dtype=arguments.kv_dtype,
        prompt=arguments.prompt,
        generate=arguments.generate,
        rounds=arguments.rounds,
        report=lambda line: print(f"tritium: {line}", file=sys.stderr, flush=True),
    )
    print(json.dumps(result.as_dict(), indent=2) if arguments.json else as_table(result))
    return 0


def as_table(result: BenchResult) -> str:
    """A result as lines for people."""
    threads = f"{result.threads} thread{'s' if result.threads != 1 else ''}"
    rows = [
        ("kernel set", f"{result.kernel_set}, {threads}"),
        ("load", f"{result.load_s:.2f} s"),
        ("peak memory", f"{result.peak_rss_mb:.0f} MB"),
        ("first token", f"{result.time_to_first_token_s:.3f} s"),
        ("prefill", f"{result.prefill_tokens_per_s:.1f} tokens/s"),
        ("", f"{result.prefill_peak_fraction:.1%} of {result.integer_peak_gmac_per_s:.1f} GMAC/s"),
        ("decode", f"{result.decode_tokens_per_s:.1f} tokens/s"),
        (
            "",
            f"{result.decode_bandwidth_fraction:.1%} of {result.read_bandwidth_gb_per_s:.1f} GB/s, "
            f"reading {result.weight_bytes_per_token / 1e6:.0f} MB a token",
        ),
    ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)
