"""Which command was asked for, and how does it end?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import TritiumError
from . import bench, chat, doctor, perplexity, run, show

_ENVIRONMENT = """\
Every option is also an environment variable: TRITIUM_ and its long name in capitals, for example
TRITIUM_MAX_TOKENS=32 for --max-tokens 32. An option on the command line wins. TRITIUM_KERNELS
chooses the kernel set by name; `tritium doctor` lists the sets.
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tritium",
        description="Run ternary (BitNet b1.58) language models.",
        epilog=_ENVIRONMENT,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tritium {__version__}")
    verbs = parser.add_subparsers(title="commands", dest="verb", metavar="COMMAND", required=True)
    for module in (run, chat, show, bench, perplexity, doctor):
        verb = verbs.add_parser(
            module.__name__.rpartition(".")[2],
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=_ENVIRONMENT,
            allow_abbrev=False,
        )
        module.add_arguments(verb)
        verb.set_defaults(execute=module.execute, parser=verb)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, default this process's. The exit code.

    0 done, 1 a TritiumError or a failed check, 2 wrong usage, 130 interrupted.
    """
    _prepare_streams()
    try:
        arguments = make_parser().parse_args(argv)
        code = arguments.execute(arguments)
        sys.stdout.flush()
        return code
    except TritiumError as error:
        return _report(str(error))
    except MemoryError:
        return _report("out of memory")
    except KeyboardInterrupt:
        print("\ntritium: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough
        _forget_output()
        return 0
    except OSError as error:
        _forget_output()
        return _report(str(error))


def _prepare_streams() -> None:
    """Make stdout and stderr take any text, even where they are closed or know few characters."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Let what stdout could not take go nowhere: Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str) -> int:
    print(f"tritium: error: {' '.join(message.split())}", file=sys.stderr)
    return 1
