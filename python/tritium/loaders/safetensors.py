"""Where the tensors of a safetensors file lie. Reads its header; no byte of a weight is touched.

The format (https://github.com/huggingface/safetensors): 8 bytes with the little-endian length of
the header, the header (a JSON object of name -> dtype, shape, data_offsets relative to its end,
padded with spaces), the data. Names are unique, and the tensors cover the data without overlaps,
holes or a remainder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ModelLoadError
from .json_text import MAX_JSON_BYTES, parse_object, shown

# Bytes of an element of the dtypes that a model may use.
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}

_FORMAT_MAX_HEADER = 100_000_000
_MAX_BYTES = 2**63 - 1
_ENTRY_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file."""

    name: str
    dtype: str  # the file's word: "BF16", "F16", "F32", "U8", or one that no model here uses
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the file
    nbytes: int


def read_entries(data: memoryview, path: str) -> dict[str, TensorEntry]:
    """The tensors of the safetensors file with the bytes `data`, in the order of their data.

    `path` is only for messages. A dtype outside `DTYPE_BYTES` is kept as it is: it matters only
    to who asks for that tensor.

    Raises ModelLoadError that names the file, the tensor and both numbers for whatever the format
    forbids, and for a header of more than `MAX_JSON_BYTES`.
    """
    where = f"[safetensors] {path}"
    header_bytes = _header_length(data, where)
    header = bytes(data[8 : 8 + header_bytes])
    if header[:1] != b"{":
        raise ModelLoadError(f"{where}: the header begins with {header[:1]!r}, expected b'{{'")
    members = parse_object(header, where, strict=True)
    _check_metadata(members.pop("__metadata__", None), where)
    start = 8 + header_bytes
    available = len(data) - start
    entries = [_entry(name, value, start, available, where) for name, value in members.items()]
    entries.sort(key=lambda entry: (entry.offset, entry.nbytes))
    _check_coverage(entries, start, available, where)
    return {entry.name: entry for entry in entries}


def _header_length(data: memoryview, where: str) -> int:
    if len(data) < 8:
        raise ModelLoadError(
            f"{where}: {len(data)} bytes, expected at least 8 for the header length"
        )
    length = int.from_bytes(data[:8], "little")
    if length > _FORMAT_MAX_HEADER:
        raise ModelLoadError(
            f"{where}: a header of {length} bytes, the format allows {_FORMAT_MAX_HEADER}; "
            "this is not a safetensors file or it is damaged"
        )
    if length > len(data) - 8:
        raise ModelLoadError(
            f"{where}: a header of {length} bytes, but {len(data) - 8} follow its length; "
            "the file is cut short, download or copy it again"
        )
    if length > MAX_JSON_BYTES:
        raise ModelLoadError(
            f"{where}: a header of {length} bytes, expected at most {MAX_JSON_BYTES}; "
            "save the model in several shards"
        )
    if length < 2:
        raise ModelLoadError(f"{where}: a header of {length} bytes, expected at least 2")
    return length


def _check_metadata(metadata: Any, where: str) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise ModelLoadError(f"{where}: __metadata__ is {shown(metadata)}, expected an object")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise ModelLoadError(
                f"{where}: __metadata__ {shown(name)} is {shown(value)}, expected a string"
            )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_BYTES


def _entry(name: str, value: Any, start: int, available: int, where: str) -> TensorEntry:
    where = f"{where}: tensor {shown(name)}"
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ModelLoadError(f"{where}: the name is not Unicode text") from None
    if not isinstance(value, dict) or not set(value) >= _ENTRY_FIELDS:
        got = sorted(value) if isinstance(value, dict) else value
        raise ModelLoadError(f"{where}: got {shown(got)}, expected dtype, shape and data_offsets")
    dtype = value["dtype"]
    if not isinstance(dtype, str):
        raise ModelLoadError(f"{where}: dtype is {shown(dtype)}, expected a string")
    shape = value["shape"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ModelLoadError(f"{where}: shape is {shown(shape)}, expected integers >= 0")
    offsets = value["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ModelLoadError(
            f"{where}: data_offsets are {shown(offsets)}, expected 2 integers >= 0"
        )
    begin, end = offsets
    if begin > end:
        raise ModelLoadError(f"{where}: data_offsets begin at {begin} and end at {end}")
    if end > available:
        raise ModelLoadError(
            f"{where}: data_offsets end at {end}, but the file holds {available} bytes of data; "
            "if it was cut short, download or copy it again"
        )
    element = DTYPE_BYTES.get(dtype)
    if element is not None:
        expected = _product(shape, element, where)
        if end - begin != expected:
            raise ModelLoadError(
                f"{where}: {end - begin} bytes by data_offsets, {expected} by {dtype} "
                f"{shown(shape)}"
            )
    return TensorEntry(name, dtype, tuple(shape), start + begin, end - begin)


def _product(shape: list[int], element: int, where: str) -> int:
    if 0 in shape:
        return 0
    total = element
    for size in shape:
        total *= size
        if total > _MAX_BYTES:
            raise ModelLoadError(
                f"{where}: shape {shown(shape)} takes more than {_MAX_BYTES} bytes"
            )
    return total


def _check_coverage(entries: list[TensorEntry], start: int, available: int, where: str) -> None:
    """Each tensor begins where the one before it ends, and the last ends with the file."""
    end = start
    before = "the header"
    for entry in entries:
        if entry.offset < end:
            raise ModelLoadError(
                f"{where}: tensor {shown(entry.name)} begins at byte {entry.offset - start} of the "
                f"data and overlaps {before}, which ends at {end - start}"
            )
        if entry.offset > end:
            raise ModelLoadError(
                f"{where}: tensor {shown(entry.name)} begins at byte {entry.offset - start} of the "
                f"data, but {before} ends at {end - start}: no tensor covers the bytes between"
            )
        end = entry.offset + entry.nbytes
        before = f"tensor {shown(entry.name)}"
    if end - start != available:
        raise ModelLoadError(
            f"{where}: the tensors cover {end - start} bytes, the file holds {available} of data"
        )
