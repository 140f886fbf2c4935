"""How is sampling asked for on the command line?"""

from __future__ import annotations

import argparse

from ..sampling import SamplingOptions
from .arguments import add_option


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """--temp, --top-k, --top-p, --min-p, --repeat-penalty, --seed."""
    add_option(parser, "--temp", type=float, default=0.0, help="temperature; 0 is greedy")
    add_option(parser, "--top-k", type=int, default=0, help="draw from the N likeliest; 0 is all")
    add_option(
        parser, "--top-p", type=float, default=1.0, help="draw from the likeliest that sum to X"
    )
    add_option(
        parser, "--min-p", type=float, default=0.0, help="drop tokens below X times the likeliest"
    )
    add_option(
        parser, "--repeat-penalty", type=float, default=1.0, help="weaken the last 64 tokens"
    )
    add_option(parser, "-s", "--seed", type=int, help="seed of the drawing (default: random)")


def read_sampling(arguments: argparse.Namespace) -> SamplingOptions:
    """The options that these flags give. BatchProcessingError for a value out of range."""
    return SamplingOptions(
        temperature=arguments.temp,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repeat_penalty,
        seed=arguments.seed,
    )
