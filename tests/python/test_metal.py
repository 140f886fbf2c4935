"""device="metal": on a Mac, or on Linux in a build with TRITIUM_FAKE_METAL (docs/metal.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import tritium
from tritium import LLM, DeviceError, OptimizationError

FOLDER = Path(tritium.__file__).parent / "demo_model"
CASES = json.loads((FOLDER / "golden.json").read_text("utf-8"))["cases"]


def why_not() -> str:
    try:
        tritium.InferenceEngine(device="metal")
    except DeviceError as error:
        return str(error)
    return ""


MISSING = why_not()
REQUIRED = os.environ.get("TRITIUM_REQUIRE_DEVICE") == "metal"
needs_metal = pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=MISSING or "Metal is here")


@pytest.mark.skipif(not MISSING, reason="Metal is here")
def test_without_metal_the_error_says_why() -> None:
    with pytest.raises(DeviceError, match=r"metal is (not in this build|without a device here)"):
        LLM(FOLDER, device="metal")


@needs_metal
@pytest.mark.parametrize(("case", "count"), [(CASES[0], 64), *((case, 8) for case in CASES[1:])])
def test_the_bundled_model_gives_its_golden_tokens(case: dict, count: int) -> None:
    llm = LLM(FOLDER, device="metal")
    result = llm.generate(case["prompt"], max_tokens=count)
    assert list(result.token_ids) == case["tokens"][:count]


@needs_metal
def test_a_batch_of_prompts_gives_their_golden_tokens() -> None:
    results = LLM(FOLDER, device="metal").generate([c["prompt"] for c in CASES], max_tokens=3)
    assert [list(result.token_ids) for result in results] == [c["tokens"][:3] for c in CASES]


@needs_metal
def test_the_device_is_listed_by_its_name() -> None:
    (metal,) = (device for device in tritium.devices() if device.name == "metal")
    assert metal.is_available
    assert metal.detail
    assert metal.detail in tritium.InferenceEngine(device="metal").kernel_set


@needs_metal
def test_with_fallback_the_cpu_runs_what_metal_does_not_have() -> None:
    with pytest.raises(OptimizationError, match="no kv_dtype 'int8'; there is f16"):
        LLM(FOLDER, device="metal", kv_dtype="int8")
    with pytest.warns(RuntimeWarning, match="runs on the CPU, for metal cannot") as warnings:
        llm = LLM(FOLDER, device="metal", kv_dtype="int8", fallback=True)
    assert len(warnings) == 1
    expected = LLM(FOLDER, device="cpu", kv_dtype="int8").generate("Once upon a time", max_tokens=8)
    assert llm.generate("Once upon a time", max_tokens=8).token_ids == expected.token_ids
