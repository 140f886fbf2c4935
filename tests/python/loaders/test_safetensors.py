"""A safetensors file is read only if every rule of the format holds."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hf_folders import safetensors_bytes, with_header
from tritium.errors import ModelLoadError
from tritium.loaders.safetensors import read_entries
from tritium.loaders.weight_files import open_file


def read(path: Path):
    return read_entries(memoryview(open_file(path)), str(path))


def entry(dtype="F32", shape=(2,), begin=0, end=8, **others):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **others}


def header(**tensors) -> str:
    return json.dumps(tensors)


def one(data_bytes=8, **changes) -> bytes:
    return with_header(header(a=entry(**changes)), bytes(data_bytes))


def test_entries_have_absolute_offsets_in_the_order_of_the_data(tmp_path):
    tensors = {
        "half": ("F16", np.zeros((2, 3), np.float16)),
        "codes": ("U8", np.zeros((4, 1), np.uint8)),
        "scalar": ("F32", np.zeros((), np.float32)),
        "empty": ("BF16", np.zeros((0, 7), np.uint16)),
        "brain": ("BF16", np.zeros((3,), np.uint16)),
    }
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(tensors, metadata={"format": "pt"}))
    entries = read(path)
    start = path.stat().st_size - 12 - 4 - 4 - 6
    assert list(entries) == ["half", "codes", "scalar", "empty", "brain"]
    assert [e.offset - start for e in entries.values()] == [0, 12, 16, 20, 20]
    assert [e.nbytes for e in entries.values()] == [12, 4, 4, 0, 6]
    assert [e.shape for e in entries.values()] == [(2, 3), (4, 1), (), (0, 7), (3,)]
    assert [e.dtype for e in entries.values()] == ["F16", "U8", "F32", "BF16", "BF16"]


def test_the_order_of_names_in_the_header_does_not_matter(tmp_path):
    path = tmp_path / "model.safetensors"
    text = header(b=entry(begin=8, end=16), a=entry())
    path.write_bytes(with_header(text, bytes(16)))
    assert list(read(path)) == ["a", "b"]


def test_a_dtype_that_no_model_uses_is_read_and_left_to_who_asks(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_header(header(a=entry("F8_E4M3", (8,)))))
    with pytest.raises(ModelLoadError, match="end at 8, but the file holds 0 bytes"):
        read(path)
    path.write_bytes(with_header(header(a=entry("F8_E4M3", (8,))), bytes(8)))
    assert read(path)["a"].dtype == "F8_E4M3"


def test_a_file_without_tensors_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_header("{}"))
    assert read(path) == {}


DEEP = 100_000
TWICE = '{"a":%s,"a":%s}' % ((json.dumps(entry()),) * 2)

HOSTILE = {
    "empty file": (b"", "0 bytes, expected at least 8"),
    "seven bytes": (b"\x08\0\0\0\0\0\0", "7 bytes, expected at least 8"),
    "header length 0": (struct.pack("<Q", 0), "0 bytes, expected at least 2"),
    "header longer than the file": (
        struct.pack("<Q", 100) + b"{}",
        "header of 100 bytes, but 2 follow",
    ),
    "header length 2^63": (
        struct.pack("<Q", 2**63) + b"{}",
        "9223372036854775808 bytes, the format allows 100000000",
    ),
    "header length 2^64 - 1": (
        struct.pack("<Q", 2**64 - 1) + b"{}",
        "18446744073709551615 bytes, the format allows 100000000",
    ),
    "header of 3 MB": (
        with_header("{" + " " * 3_000_000 + "}"),
        "3000002|3000008 bytes, expected at most 2097152",
    ),
    "not JSON": (with_header('{"a":'), "not JSON"),
    "data instead of JSON": (with_header(b"\x80\x02}q\x01"), "the header begins with"),
    "not UTF-8": (with_header(b'{"\xff":1}'), "not UTF-8 at byte 2 of 8"),
    "text after the object": (with_header("{} {}"), "not JSON"),
    "an array": (with_header("[]"), r"begins with b'\['"),
    "deep arrays": (with_header('{"a":' + "[" * DEEP + "]" * DEEP + "}"), "nested too deeply"),
    "deep objects": (with_header('{"a":' * DEEP + "1" + "}" * DEEP), "nested too deeply"),
    "a name twice": (with_header(TWICE, bytes(8)), "'a' is given twice, expected once"),
    "a field twice": (
        with_header(
            '{"a":{"dtype":"U8","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)
        ),
        "'dtype' is given twice",
    ),
    "NaN": (with_header('{"a":NaN}'), "NaN is not JSON"),
    "Infinity": (with_header('{"a":{"shape":[-Infinity]}}'), "-Infinity is not JSON"),
    "5000 digits": (
        with_header('{"a":{"shape":[' + "9" * 5000 + "]}}"),
        "5000 digits, expected at most 400",
    ),
    "an entry that is a number": (with_header('{"a":7}'), "got 7, expected dtype, shape"),
    "no offsets": (with_header('{"a":{"dtype":"U8","shape":[]}}'), "expected dtype, shape and"),
    "dtype not a string": (one(dtype=3), "dtype is 3, expected a string"),
    "shape of a bool": (one(shape=[True, 2]), r"shape is \[True, 2\]"),
    "shape of a float": (one(shape=[2.0]), r"shape is \[2.0\], expected integers >= 0"),
    "negative shape": (one(shape=[-2]), r"shape is \[-2\], expected integers >= 0"),
    "shape not a list": (
        with_header('{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}', bytes(8)),
        "shape is 2, expected integers",
    ),
    "shape overflows": (one(shape=[2**32, 2**32]), "takes more than 9223372036854775807 bytes"),
    "shape overflows to the right size": (
        one(shape=[2**62, 4, 2]),
        "takes more than 9223372036854775807 bytes",
    ),
    "huge shape": (one(shape=[10**50]), "shape is"),
    "wrong shape": (one(shape=[3]), r"8 bytes by data_offsets, 12 by F32 \[3\]"),
    "wrong dtype": (one(dtype="BF16"), r"8 bytes by data_offsets, 4 by BF16 \[2\]"),
    "one offset": (
        with_header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}', bytes(8)),
        "expected 2 integers",
    ),
    "bool offset": (one(begin=False), "expected 2 integers"),
    "negative offset": (one(begin=-8, end=0), "expected 2 integers >= 0"),
    "offsets backwards": (one(begin=8, end=0), "begin at 8 and end at 0"),
    "offsets beyond the end": (one(begin=8, end=16), "end at 16, but the file holds 8 bytes"),
    "data cut short": (one(data_bytes=5), "end at 8, but the file holds 5 bytes"),
    "data left over": (one(data_bytes=9), "cover 8 bytes, the file holds 9"),
    "a hole": (
        with_header(header(a=entry(), b=entry(begin=12, end=20)), bytes(20)),
        "'b' begins at byte 12 of the data, but tensor 'a' ends at 8",
    ),
    "a hole at the front": (
        with_header(header(a=entry(begin=8, end=16)), bytes(16)),
        "'a' begins at byte 8 of the data, but the header ends at 0",
    ),
    "an overlap": (
        with_header(header(a=entry(), b=entry(begin=4, end=12)), bytes(12)),
        "'b' begins at byte 4 of the data and overlaps tensor 'a', which ends at 8",
    ),
    "two names for the same bytes": (
        with_header(header(a=entry(), b=entry()), bytes(8)),
        "'b' begins at byte 0 of the data and overlaps tensor 'a', which ends at 8",
    ),
    "metadata not an object": (with_header('{"__metadata__":[]}'), "expected an object"),
    "metadata of numbers": (with_header('{"__metadata__":{"a":1}}'), "'a' is 1, expected a string"),
    "half a surrogate pair": (
        with_header('{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        "not Unicode text",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_a_model_load_error_that_names_it_within_a_second(tmp_path, case):
    content, message = HOSTILE[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    begin = time.perf_counter()
    with pytest.raises(ModelLoadError, match=message) as caught:
        read(path)
    assert time.perf_counter() - begin < 1
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


# Headers of the greatest length that is read, each with as many Python objects as it can make.
DENSEST = {
    "empty arrays": '{"a":[' + "[]," * 699_000 + "[]]}",
    "empty objects": '{"a":[' + "{}," * 699_000 + "{}]}",
    "numbers": '{"a":[' + "1.5," * 524_000 + "1.5]}",
    "names": "{" + ",".join(f'"{i:x}":0' for i in range(200_000)) + "}",
    "valid entries": "{"
    + ",".join(f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(35_000))
    + "}",
    "metadata": '{"__metadata__":{' + ",".join(f'"{i:x}":""' for i in range(180_000)) + "}}",
    "wide characters": '{"\U0001f600' + "a" * 2_000_000 + '":0}',
}

MEASURE = """
import re, sys, time
from tritium.errors import ModelLoadError
from tritium.loaders.safetensors import read_entries

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

data = memoryview(open(sys.argv[1], "rb").read())
before = peak()
begin = time.process_time()
try:
    read_entries(data, "file")
except ModelLoadError:
    pass
print(time.process_time() - begin, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("case", DENSEST)
def test_the_densest_header_takes_less_than_a_second_and_64_mb(tmp_path, case):
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_header(DENSEST[case]))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    print(f"{seconds:.2f} s, {megabytes:.0f} MB")
    assert seconds < 1
    assert megabytes < 64
