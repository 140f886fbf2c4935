"""What a loaded model costs: packed weights and pages anonymously, the rest stays in its files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hf_folders import write_bitnet_folder

SCRIPT = """
import json, re, sys
import tritium
from tritium.memory import peak_rss_bytes, read_status, reset_peak_rss
folder = sys.argv[1]
model = tritium.load(folder)

def resident():
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.rstrip().endswith("model.safetensors")
        elif inside and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total

before = read_status()["RssAnon"]
reset_peak_rss()
start = peak_rss_bytes()
with tritium.LLM(model, threads=2, context_size=64) as llm:
    peak, loaded, file = peak_rss_bytes(), read_status(), resident()
    logits = llm.logits([3, 4, 5])
    usage = llm.engine.memory_usage()
    print(json.dumps({
        "before": before,
        "anonymous": loaded["RssAnon"],
        "file": file,
        "peak": peak - start,
        "weights": usage.weights,
        "kv_cache": llm.plan.kv_bytes,
        "best": logits.argmax(axis=1).tolist(),
    }))
"""


@pytest.fixture(scope="module", params=["packed", "masters"])
def form(request):
    return request.param


@pytest.fixture(scope="module")
def loaded(form, tmp_path_factory):
    """What a process of its own holds after loading a model of a few million parameters."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc, which only Linux has")
    folder = tmp_path_factory.mktemp(form)
    write_bitnet_folder(
        folder,
        seed=1,
        form=form,
        vocab=16000,
        hidden=512,
        intermediate=2048,
        layers=4,
        heads=8,
        kv_heads=2,
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    file = (folder / "model.safetensors").stat().st_size
    embeddings = 2 * 16000 * 512
    return json.loads(done.stdout) | {"matrices": file - embeddings, "embeddings": embeddings}


def test_anonymous_memory_is_the_packed_weights_and_little_else(loaded):
    grown = loaded["anonymous"] - loaded["before"]
    assert loaded["weights"] > 3_500_000
    # Threads, plan, tables, and buffers that packing has given back: no copy of the embeddings.
    assert grown < loaded["weights"] + loaded["kv_cache"] + loaded["embeddings"] // 2
    assert loaded["anonymous"] < loaded["weights"] + loaded["kv_cache"] + 100_000_000


def test_what_was_packed_does_not_stay_resident(loaded, form):
    assert loaded["matrices"] > (25_000_000 if form == "masters" else 3_500_000)
    assert loaded["file"] < loaded["matrices"] // 8


# Packed codes are small beside what reading a page brings along.
@pytest.mark.parametrize("form", ["masters"], indirect=True)
def test_masters_are_never_resident_together(loaded):
    assert loaded["peak"] < loaded["weights"] + loaded["matrices"] // 2


def test_the_model_still_computes(loaded):
    assert len(loaded["best"]) == 3
