"""Which tokens begin and end a text: generation_config.json, else config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Fields
from .inner_files import Folder
from .json_text import read_object

GENERATION_FILE = "generation_config.json"


@dataclass(frozen=True)
class GenerationDefaults:
    """What a checkpoint says about generating with it."""

    values: dict[str, Any]  # generation_config.json as it is, empty without one
    eos_token_ids: tuple[int, ...]  # without repetition, in the file's order
    bos_token_id: int | None


def read_generation_defaults(
    folder: Folder, config: Mapping[str, Any], vocab_size: int
) -> GenerationDefaults:
    """The defaults of the checkpoint in `folder`, whose config.json holds `config`.

    A field that generation_config.json lacks is taken from config.json, as transformers does
    where the file is missing.

    Raises ModelLoadError for a file that is not JSON and for token ids outside [0, vocab_size).
    """
    path = folder / GENERATION_FILE
    values = read_object(path, "generation") if path.exists() else {}
    own = Fields(values, "generation", str(path))
    fallback = Fields(config, "config", str(folder / "config.json"))

    def fields_with(field: str) -> Fields:
        return own if own.has(field) else fallback

    eos = _token_ids(fields_with("eos_token_id"), "eos_token_id", vocab_size)
    bos = fields_with("bos_token_id").integer("bos_token_id", 0, vocab_size - 1, None)
    return GenerationDefaults(values, eos, bos)


def _token_ids(fields: Fields, field: str, vocab_size: int) -> tuple[int, ...]:
    value = fields.raw(field)
    if value is None:
        return ()
    ids = value if isinstance(value, list) else [value]
    for token in ids:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocab_size:
            raise fields.error(field, token, f"token ids from 0 to {vocab_size - 1}")
    return tuple(dict.fromkeys(ids))
