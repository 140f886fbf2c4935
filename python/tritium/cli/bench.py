"""`tritium bench`: how fast is a model here, and what bounds it?"""

from __future__ import annotations

import argparse
import json
import sys

from ..bench import BenchResult, find_geometry, run_bench
from ..synthetic import EMBEDDINGS, GEOMETRIES
from .arguments import (
    add_device_options,
    add_model_option,
    add_option,
    add_plan_options,
    add_switch,
)

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
    add_device_options(parser)
    add_plan_options(parser)
    add_option(parser, "--prompt", type=int, default=128, help="tokens of the prompt")
    add_option(parser, "--generate", type=int, default=64, help="tokens to generate")
    add_option(parser, "--rounds", type=int, default=3, help="how often; medians are reported")
    add_option(parser, "--batch", type=int, default=1, help="sequences fed and decoded together")
    add_option(parser, "--depth", type=int, help="also decode at the end of so long a context")
    add_option(parser, "--kernels", metavar="SET", help="kernel set (default: the best one here)")
    add_option(
        parser,
        "--head-weights",
        metavar="KIND",
        default="gaussian",
        help=f"how the weights of a synthetic head are spread: {' or '.join(EMBEDDINGS)}",
    )
    add_option(parser, "--plot", metavar="FILE", help="draw a roofline (needs matplotlib)")
    add_switch(parser, "--json", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.synthetic is not None and arguments.model is not None:
        arguments.parser.error("--synthetic and --model exclude each other")
    if arguments.head_weights not in EMBEDDINGS:
        arguments.parser.error(f"--head-weights is one of {', '.join(EMBEDDINGS)}")
    if arguments.synthetic is None and arguments.head_weights != EMBEDDINGS[0]:
        arguments.parser.error("--head-weights needs --synthetic")
    result = run_bench(
        arguments.model if arguments.synthetic is None else find_geometry(arguments.synthetic),
        device=arguments.device,
        fallback=arguments.fallback,
        threads=arguments.threads,
        optimization_level=arguments.optimization_level,
        ternary_format=arguments.ternary_format,
        kv_dtype=arguments.kv_dtype,
        prompt=arguments.prompt,
        generate=arguments.generate,
        rounds=arguments.rounds,
        batch=arguments.batch,
        depth=arguments.depth,
        kernels=arguments.kernels,
        head=arguments.head,
        embeddings=arguments.head_weights,
        plot=arguments.plot,
        report=lambda line: print(f"tritium: {line}", file=sys.stderr, flush=True),
    )
    print(json.dumps(result.as_dict(), indent=2) if arguments.json else as_table(result))
    return 0


def as_table(result: BenchResult) -> str:
    """A result as lines for people."""
    ran = f"{result.kernel_set}, {result.threads} thread{'s' if result.threads != 1 else ''}"
    if result.batch != 1:
        ran += f", {result.batch} sequences"
    step = "a token" if result.batch == 1 else "a step"
    rows = [
        ("kernel set", ran),
        ("", f"ternary weights in {result.ternary_format}"),
        ("load", f"{result.load_s:.2f} s"),
        ("", f"{result.load_to_first_token_s:.2f} s with the first prompt and its first token"),
        ("peak memory", f"{result.peak_rss_mb:.0f} MB, {result.private_mb:.0f} MB of it private"),
        ("first token", f"{result.time_to_first_token_s:.3f} s"),
        ("prefill", f"{result.prefill_tokens_per_s:.1f} tokens/s"),
        ("", f"{result.prefill_peak_fraction:.1%} of {result.integer_peak_gmac_per_s:.1f} GMAC/s"),
        ("decode", f"{result.decode_tokens_per_s:.1f} tokens/s"),
        (
            "",
            f"{result.decode_bandwidth_fraction:.1%} of {result.read_bandwidth_gb_per_s:.1f} GB/s, "
            f"reading {result.weight_bytes_per_token / 1e6:.0f} MB {step}",
        ),
    ]
    if result.head_rows_per_token is not None:
        rows.append(("", f"{result.head_rows_per_token:.0f} rows of the head in full a token"))
    if result.joules_per_token is not None:
        rows.append(("", f"{result.joules_per_token:.2f} J a token"))
    if result.depth is not None:
        deep = result.depth
        rows += [
            (f"at {deep.tokens}", f"{deep.decode_tokens_per_s:.1f} tokens/s"),
            (
                "",
                f"{deep.loss:.1%} lost, {deep.predicted_loss:.1%} predicted by "
                f"{deep.kv_bytes_per_step / 1e6:.0f} MB of keys and values {step}",
            ),
            ("", f"{deep.time_over_bytes:.2f} x the time of reading what was added"),
        ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)
