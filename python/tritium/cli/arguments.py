"""How do options reach a command: by flag, or by environment variable?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any


class FromEnvironment(str):
    """An option's text that an environment variable gave."""

    variable: str

    @classmethod
    def read(cls, variable: str) -> FromEnvironment | None:
        """The variable's text; None if it is not set, or empty."""
        text = os.environ.get(variable)
        if not text:
            return None
        value = cls(text)
        value.variable = variable
        return value


def add_option(
    parser: argparse.ArgumentParser,
    *flags: str,
    type: Callable[[str], Any] = str,
    default: Any = None,
    help: str,
    metavar: str | None = None,
) -> None:
    """An option with a value. Flag, else environment variable, else default."""
    given = FromEnvironment.read(_variable(flags))

    def convert(text: str) -> Any:
        # argparse also converts a default that is text, but only where the flag is absent.
        try:
            return text if type is str else type(text)
        except ValueError:
            source = f"{text.variable}=" if isinstance(text, FromEnvironment) else ""
            kind = "an integer" if type is int else "a number"
            raise argparse.ArgumentTypeError(f"{source}{text} is not {kind}") from None

    parser.add_argument(
        *flags,
        type=convert,
        default=default if given is None else given,
        help=help if default is None else f"{help} (default: {default})",
        metavar=metavar or ("N" if type is int else "X" if type is float else "TEXT"),
    )


def add_switch(parser: argparse.ArgumentParser, flag: str, *, help: str) -> None:
    """An option without a value. Its variable switches it on, unless that is empty or 0."""
    given = os.environ.get(_variable((flag,)), "") not in ("", "0")
    parser.add_argument(flag, action="store_true", default=given, help=help)


def _variable(flags: tuple[str, ...]) -> str:
    name = next(flag for flag in flags if flag.startswith("--"))
    return "TRITIUM_" + name.lstrip("-").replace("-", "_").upper()


def add_model_options(
    parser: argparse.ArgumentParser, *, context: str = "tokens of prompt and answer together"
) -> None:
    """-m, -c, -t, --device, --fallback and the options of plans: what runs, and on what. `context`
    says what -c means.
    """
    add_model_option(parser)
    add_option(parser, "-c", "--ctx-size", type=int, help=context)
    add_option(parser, "-t", "--threads", type=int, help="threads (default: performance cores)")
    add_device_options(parser)
    add_plan_options(parser)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """--device, --fallback."""
    add_option(
        parser,
        "--device",
        default="auto",
        metavar="NAME",
        help="where it runs: auto, cpu, metal or mlx",
    )
    add_switch(parser, "--fallback", help="let the CPU run what the device cannot")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """--optimization-level, --ternary-format, --kv-dtype, --head: how a model is run."""
    add_option(
        parser,
        "--optimization-level",
        default="basic",
        metavar="NAME",
        help="none, basic or aggressive; the answer is the same",
    )
    add_option(
        parser,
        "--ternary-format",
        default="auto",
        metavar="NAME",
        help="bits of a ternary weight: auto, 2bit or 1.6bit; the answer is the same",
    )
    add_option(
        parser,
        "--kv-dtype",
        default="f16",
        metavar="NAME",
        help="keys and values of past tokens as f16, or as int8 in half the memory",
    )
    add_option(
        parser,
        "--head",
        default="auto",
        metavar="NAME",
        help="output head: auto, full, screened, screened8, or with other results int8, int4",
    )


def add_model_option(parser: argparse.ArgumentParser) -> None:
    add_option(
        parser,
        "-m",
        "--model",
        metavar="MODEL",
        help="a folder or a Hugging Face id (default: the bundled model)",
    )
