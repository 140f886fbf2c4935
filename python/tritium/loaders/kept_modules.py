"""Which modules stay in floats: `modules_to_not_convert`, matched as transformers 5.23 does.

A name of the list keeps a module if it is an end of the module's full name, or if it matches, as
a regular expression, the full name from its start to a dot or the end: "model.layers.1" keeps all
of layer 1 and none of layer 11.

An expression from a file could take forever to match. So `.` and `.*` alone are understood, which
is what lists of names contain; other expressions are refused.
"""

from __future__ import annotations

import re

from .fields import Fields

HEAD = "lm_head"

_MAX_NAMES = 2048
_MAX_LENGTH = 256
_MAX_STARS = 64  # in the whole list
_STAR = re.compile(r"(?<!\\)\.\*")
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-]|\\?\.|(?<!\\)\.\*)*")
# Up to here a match may reach: after a dot, before one, or at the end.
_BOUNDARY = r"(?:(?<=\.)|(?=\.|$))"


class KeptModules:
    """The modules that a checkpoint keeps in floats."""

    def __init__(self, names: list[str] | None = None) -> None:
        """`names` as in the file; None keeps the head alone."""
        self._ends = (HEAD,) if names is None else tuple(names)
        pieces = [_STAR.split(name) for name in self._ends]
        beginnings = "|".join(name for name, *more in pieces if not more)
        self._beginning = re.compile(f"(?:{beginnings}){_BOUNDARY}" if beginnings else "(?!)")
        self._patterns = [_compiled(parts) for parts in pieces if len(parts) > 1]

    def __contains__(self, module: str) -> bool:
        return (
            module.endswith(self._ends)
            or self._beginning.match(module) is not None
            or any(_matches(pattern, module) for pattern in self._patterns)
        )


def read_kept_modules(quantization: Fields) -> KeptModules:
    """From a `quantization_config`.

    Raises ModelLoadError for what is not a list of names, for an expression that is not
    understood, and for a list that has the head made ternary.
    """
    field = "modules_to_not_convert"
    names = quantization.raw(field)
    if names is None:
        return KeptModules()
    if not isinstance(names, list) or len(names) > _MAX_NAMES:
        raise quantization.error(field, names, f"null or a list of at most {_MAX_NAMES} names")
    for name in names:
        if not isinstance(name, str) or len(name) > _MAX_LENGTH or not _PLAIN.fullmatch(name):
            raise quantization.error(
                field, name, "names of modules, where . may stand for any character and .* for any"
            )
    stars = sum(len(_STAR.findall(name)) for name in names)
    if stars > _MAX_STARS:
        raise quantization.error_text(field, f"got {stars} times .*, expected at most {_MAX_STARS}")
    kept = KeptModules(names)
    if HEAD not in kept:
        raise quantization.error(
            field, names, f'null or a list with "{HEAD}": a ternary head is not implemented'
        )
    return kept


def _compiled(parts: list[str]) -> list[re.Pattern[str]]:
    """The expressions between `.*`; none of them can go back and try again."""
    return [re.compile(part) for part in (*parts[:-1], parts[-1] + _BOUNDARY)]


def _matches(pattern: list[re.Pattern[str]], module: str) -> bool:
    match = pattern[0].match(module)
    # Each part at its first place leaves the most room for the next.
    for piece in pattern[1:]:
        if match is None:
            return False
        match = piece.search(module, match.end())
    return match is not None
