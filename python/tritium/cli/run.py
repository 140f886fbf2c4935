"""`tritium run`: what does the model say to a prompt?"""

from __future__ import annotations

import argparse
import sys

from ..errors import BatchProcessingError
from ..llm import LLM
from ..streaming import Timings
from .arguments import FromEnvironment, add_model_options, add_option
from .sampling import add_sampling_options, read_sampling

SUMMARY = "generate text after a prompt"
DESCRIPTION = """\
Generate text after a prompt. The text goes to stdout as it is made, everything else to stderr.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="PROMPT", help="the prompt (default: stdin)")
    add_option(parser, "-p", "--prompt", help="the prompt, as an option")
    add_model_options(parser)
    add_option(parser, "-n", "--max-tokens", type=int, default=128, help="most tokens to generate")
    add_sampling_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    prompt = _prompt(arguments)
    sampling = read_sampling(arguments)
    if arguments.model is None:
        print("tritium: no model given, using the bundled one", file=sys.stderr, flush=True)
    with LLM(
        arguments.model,
        arguments.device,
        fallback=arguments.fallback,
        context_size=arguments.ctx_size,
        threads=arguments.threads,
        optimization_level=arguments.optimization_level,
        ternary_format=arguments.ternary_format,
        head=arguments.head,
        max_sequences=1,
        kv_dtype=arguments.kv_dtype,
    ) as llm:
        for chunk in llm.stream(prompt, max_tokens=arguments.max_tokens, sampling=sampling):
            sys.stdout.write(chunk.text)
            if chunk.timings is not None:
                sys.stdout.write("\n")
            sys.stdout.flush()
            if chunk.timings is not None:
                print(f"tritium: {describe(chunk.timings)}", file=sys.stderr)
    return 0


def describe(timings: Timings) -> str:
    """One line: tokens, tokens per second of prefill and decode, time to the first token."""
    return (
        f"{timings.prompt_tokens} prompt tokens "
        f"(prefill {timings.prefill_tokens_per_second:.1f} tokens/s), "
        f"{timings.generated_tokens} generated tokens "
        f"(decode {timings.decode_tokens_per_second:.1f} tokens/s), "
        f"first token after {timings.time_to_first_token * 1000:.1f} ms"
    )


def _prompt(arguments: argparse.Namespace) -> str:
    """The positional prompt, else -p, else stdin unless that is a terminal."""
    by_option = arguments.prompt
    if arguments.text is not None:
        if by_option is not None and not isinstance(by_option, FromEnvironment):
            arguments.parser.error("the prompt is given twice, as PROMPT and with -p")
        return arguments.text
    if by_option is not None:
        return by_option
    text = "" if sys.stdin is None or sys.stdin.isatty() else _read_stdin()
    if not text:
        arguments.parser.error("no prompt: give it as PROMPT, with -p, or on stdin")
    return text


def _read_stdin() -> str:
    """All of stdin without its last line end."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BatchProcessingError(
            f"[stdin] byte {error.start} of {len(error.object)} is not UTF-8"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")
