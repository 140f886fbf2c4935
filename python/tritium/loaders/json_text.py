"""How untrusted JSON becomes a Python dict within bounded time and memory."""

from __future__ import annotations

import json
import reprlib
import stat
from typing import Any, NoReturn

from ..errors import ModelLoadError
from .inner_files import File

# A safetensors header may have 100 MB by its format. 2 MiB hold the entries of about 16,000
# tensors, far more than a file of any ternary model has, and bound what a hostile text can cost:
# Python objects take up to 30 times the room of the JSON that they come from.
MAX_JSON_BYTES = 2 << 20

# Longer integers are not sizes of anything, and converting them takes quadratic time.
_MAX_DIGITS = 400

_SHORT = reprlib.Repr()
_SHORT.maxstring = 80
_SHORT.maxlong = 40
_SHORT.maxother = 80
_WORDS = {None: "null", True: "true", False: "false"}


def shown(value: object) -> str:
    """`value` as a short text for a message: never long, never with raw control characters."""
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return _SHORT.repr(value)


def parse_object(text: bytes, where: str, *, strict: bool = False) -> dict[str, Any]:
    """The JSON object that `text` (UTF-8) spells.

    `where` opens every message ("[config] /path/config.json"). With `strict`, a name given twice
    and the words NaN and Infinity are refused; without it the last name wins, as in most readers.

    Raises ModelLoadError: too long, not UTF-8, not JSON, nested too deeply, an integer of more
    than 400 digits, not an object.
    """

    def fail(what: str) -> NoReturn:
        raise ModelLoadError(f"{where}: {what}")

    def integer(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            fail(f"an integer of {len(digits)} digits, expected at most {_MAX_DIGITS}")
        return int(digits)

    def constant(word: str) -> float:
        if strict:
            fail(f"{word} is not JSON")
        return float(word.replace("Infinity", "inf"))

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if strict and len(result) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    fail(f"the name {shown(name)} is given twice, expected once")
                seen.add(name)
        return result

    if len(text) > MAX_JSON_BYTES:
        fail(f"JSON of {len(text)} bytes, expected at most {MAX_JSON_BYTES}")
    try:
        value = json.loads(
            text.decode("utf-8"),
            parse_int=integer,
            parse_constant=constant,
            object_pairs_hook=members,
        )
    except UnicodeDecodeError as error:
        fail(f"not UTF-8 at byte {error.start} of {len(text)}")
    except RecursionError:
        fail(f"JSON of {len(text)} bytes is nested too deeply to read")
    except ModelLoadError:
        raise
    except ValueError as error:
        fail(f"not JSON ({error})")
    if not isinstance(value, dict):
        fail(f"got a JSON {type(value).__name__}, expected an object")
    return value


def read_object(path: File, topic: str, *, strict: bool = False) -> dict[str, Any]:
    """The JSON object in a file; `topic` is the bracketed word that opens messages.

    Raises ModelLoadError as `parse_object` does, and when the file is missing, is not a regular
    file, is not readable or is longer than `MAX_JSON_BYTES`.
    """
    where = f"[{topic}] {path}"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelLoadError(f"{where}: not a regular file")
        if status.st_size > MAX_JSON_BYTES:
            raise ModelLoadError(
                f"{where}: {status.st_size} bytes, expected at most {MAX_JSON_BYTES}"
            )
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        raise ModelLoadError(f"{where}: no such file") from None
    except OSError as error:
        raise ModelLoadError(f"{where}: cannot be read ({error.strerror or error})") from error
    return parse_object(text, where, strict=strict)
