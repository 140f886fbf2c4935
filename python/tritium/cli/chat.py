"""`tritium chat`: how does one talk with a model?"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator

from ..conversation import Conversation
from ..errors import BatchProcessingError
from ..llm import LLM
from .arguments import add_model_options, add_option
from .sampling import add_sampling_options, read_sampling

SUMMARY = "talk with a model that was tuned for it"
DESCRIPTION = """\
Talk with a model that was tuned for it, in the form of its own chat template. At a terminal, /help
lists the commands, Ctrl-C stops an answer and Ctrl-D leaves. From a pipe, each line is one turn.
"""
_HELP = """\
/clear   forget what was said
/exit    leave (also Ctrl-D)
/help    this list
Ctrl-C   stop an answer; what was said until then counts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_option(parser, "--system", help="a first message that says how to answer")
    add_option(parser, "-n", "--max-tokens", type=int, default=512, help="most tokens of an answer")
    add_sampling_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    with (
        LLM(
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
        ) as llm,
        llm.conversation(
            system=arguments.system,
            max_tokens=arguments.max_tokens,
            sampling=read_sampling(arguments),
        ) as conversation,
    ):
        if sys.stdin is not None and sys.stdin.isatty():
            _note(f"{llm.model.name}; /help lists the commands")
            return _talk(conversation, _typed_lines(), at_terminal=True)
        return _talk(conversation, _piped_lines(), at_terminal=False)


def _talk(conversation: Conversation, lines: Iterator[str], *, at_terminal: bool) -> int:
    """Answer each line. The exit code."""
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if text in ("/exit", "/quit"):
            break
        if text == "/clear":
            conversation.clear()
            _note("forgotten")
        elif text == "/help":
            sys.stderr.write(_HELP)
        elif text.startswith("/") and " " not in text:
            _note(f"{text} is no command; /help lists them")
        else:
            try:
                _answer(conversation, text)
            except BatchProcessingError as error:
                if not at_terminal:
                    raise
                _note(f"error: {error}")
    return 0


def _answer(conversation: Conversation, text: str) -> None:
    """Print one answer as it is made. An interrupt ends it, not the conversation."""
    try:
        with contextlib.closing(conversation.send(text)) as chunks:
            for chunk in chunks:
                sys.stdout.write(chunk.text)
                sys.stdout.flush()
        sys.stdout.write("\n")
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        sys.stdout.flush()
        _note("stopped")


def _typed_lines() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # its import gives input() line editing and a history
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            _note("Ctrl-D leaves")


def _piped_lines() -> Iterator[str]:
    if sys.stdin is None:
        return
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BatchProcessingError(
                f"[stdin] byte {error.start} of line {number} is not UTF-8"
            ) from None


def _note(text: str) -> None:
    print(f"tritium: {text}", file=sys.stderr, flush=True)
