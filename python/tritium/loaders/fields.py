"""Typed values out of an untrusted JSON object, each with an error that names its field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ModelLoadError
from .json_text import shown

_REQUIRED: Any = object()


class Fields:
    """The members of one JSON object. A member that is null counts as absent.

    Every reader raises ModelLoadError in the form
    ``[config] hidden_size: got -1, expected an integer from 1 to 2147483648 (in FILE)``.
    A bool is never a number, and a number is never a bool.
    """

    def __init__(self, values: Mapping[str, Any], topic: str, file: str, prefix: str = "") -> None:
        self._values = values
        self._topic = topic
        self._file = file
        self._prefix = prefix

    def error(self, field: str, got: object, expected: str) -> ModelLoadError:
        """The error of `field`, to be raised by the caller."""
        return self.error_text(field, f"got {shown(got)}, expected {expected}")

    def error_text(self, field: str, text: str) -> ModelLoadError:
        """The same with the caller's own words."""
        return ModelLoadError(f"[{self._topic}] {self._prefix}{field}: {text} (in {self._file})")

    def has(self, field: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(field) is not None

    def is_null(self, field: str) -> bool:
        """Whether the field is there, and null."""
        return field in self._values and self._values[field] is None

    def raw(self, field: str, default: Any = None) -> Any:
        """The value as it is; `default` when absent."""
        value = self._values.get(field)
        return default if value is None else value

    def integer(self, field: str, low: int, high: int, default: Any = _REQUIRED) -> Any:
        """An integer in [low, high]."""
        return self._number(field, f"an integer from {low} to {high}", low, high, int, default)

    def number(self, field: str, low: float, high: float, default: Any = _REQUIRED) -> Any:
        """A finite number in [low, high]; integers are taken too."""
        return self._number(
            field, f"a number from {low:g} to {high:g}", low, high, (int, float), default
        )

    def flag(self, field: str, default: Any = _REQUIRED) -> Any:
        """true or false."""
        value = self._get(field, "true or false", default)
        if value is not default and not isinstance(value, bool):
            raise self.error(field, value, "true or false")
        return value

    def choice(self, field: str, known: Sequence[str], default: Any = _REQUIRED) -> Any:
        """One of the `known` words."""
        expected = "one of " + ", ".join(known) if len(known) > 1 else known[0]
        value = self._get(field, expected, default)
        if value is not default and (not isinstance(value, str) or value not in known):
            raise self.error(field, value, expected)
        return value

    def object(self, field: str) -> Fields | None:
        """A nested object, None when absent."""
        value = self._values.get(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(field, value, "an object")
        return Fields(value, self._topic, self._file, f"{self._prefix}{field}.")

    def _get(self, field: str, expected: str, default: Any) -> Any:
        value = self._values.get(field)
        if value is not None:
            return value
        if default is _REQUIRED:
            absent = "null" if field in self._values else "nothing"
            raise self.error_text(field, f"got {absent}, expected {expected}")
        return default

    def _number(
        self,
        field: str,
        expected: str,
        low: float,
        high: float,
        kinds: type | tuple[type, ...],
        default: Any,
    ) -> Any:
        value = self._get(field, expected, default)
        if value is default:
            return value
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        if not is_number:
            raise self.error(field, value, expected)
        # Compared before any conversion: an integer may be too long for a float.
        if (isinstance(value, float) and not math.isfinite(value)) or not low <= value <= high:
            raise self.error(field, value, expected)
        return value if kinds is int else float(value)
