"""What a process costs before a model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIMIT_KB = 50 * 1000
HEAVY = ["tokenizers", "huggingface_hub", "jinja2", "tqdm", "torch", "transformers", "asyncio"]

SCRIPT = """
import json, re, sys
import tritium
engine = tritium.InferenceEngine()
status = open("/proc/self/status").read()
print(json.dumps({
    "peak_kb": int(re.search(r"VmHWM:\\s*(\\d+) kB", status).group(1)),
    "modules": sorted(sys.modules),
    "threads": engine.threads,
}))
"""


@pytest.fixture(scope="module")
def fresh_process():
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc, which only Linux has")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_an_engine_without_a_model_stays_under_fifty_megabytes(fresh_process):
    assert fresh_process["threads"] >= 1
    assert fresh_process["peak_kb"] < LIMIT_KB


def test_heavy_packages_are_imported_only_when_needed(fresh_process):
    assert not set(HEAVY) & set(fresh_process["modules"])
