"""`tritium perplexity`: how well does a model foresee a text?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import BatchProcessingError
from ..llm import LLM
from ..perplexity import Perplexity, bundled_text, measure_perplexity
from .arguments import add_model_options, add_option, add_switch

SUMMARY = "measure how well a model foresees a text"
DESCRIPTION = """\
Measure the perplexity of a text: of windows of -c tokens that begin --stride tokens apart, each
token is scored once, after at least -c minus --stride tokens.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="UTF-8 text (default: the bundled one; - is stdin)"
    )
    add_model_options(parser, context="tokens of a window (default: 512, or the context)")
    add_option(parser, "--stride", type=int, help="tokens between windows (default: half a window)")
    add_switch(parser, "--json", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    text = bundled_text() if arguments.file is None else _read(arguments.file)
    with LLM(
        arguments.model,
        arguments.device,
        fallback=arguments.fallback,
        context_size=arguments.ctx_size,
        threads=arguments.threads,
        optimization_level=arguments.optimization_level,
        ternary_format=arguments.ternary_format,
        kv_dtype=arguments.kv_dtype,
        head=arguments.head,
    ) as llm:
        result = _measure(llm, text, arguments.ctx_size, arguments.stride)
    print(json.dumps(result.as_dict(), indent=2) if arguments.json else as_text(result))
    return 0


def as_text(result: Perplexity) -> str:
    """A result as lines for people."""
    return "\n".join(
        [
            f"perplexity per token  {result.token_perplexity:.4f}",
            f"perplexity per byte   {result.byte_perplexity:.4f}",
            f"scored                {result.tokens} tokens, {result.bytes} bytes",
            f"windows               {result.window} tokens, {result.stride} apart",
        ]
    )


def _measure(llm: LLM, text: str, window: int | None, stride: int | None) -> Perplexity:
    """With a progress bar on stderr, silent where that is not a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return measure_perplexity(llm, text, window=window, stride=stride)
    from tqdm import tqdm

    with tqdm(unit=" tokens", file=sys.stderr, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return measure_perplexity(llm, text, window=window, stride=stride, progress=progress)


def _read(name: str) -> str:
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BatchProcessingError(
            f"[perplexity] byte {error.start} of {len(content)} of {name} is not UTF-8"
        ) from None
