"""What must tests compare with where there is no torch?  Writes tests/fixtures/.

    python tools/make_fixtures.py        (needs `pip install tritium[oracles]`)

Tiny random models, at least one of each family in each published form, and beside each what
transformers computes from it in float32: the linear layers' inputs, int8 codes and outputs for a
few tokens, the logits of a sequence, and greedy tokens.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling the quantisers takes a minute
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))

import accelerate
import numpy as np
import torch
import transformers
import transformers_model
from tiny_models import Case

from agreement import clear_positions

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
CASES = {
    "packed": Case("bitnet", "small", "packed", 0),
    "masters": Case("bitnet", "small-odd-rows", "masters-bf16", 0),
    "divide": Case("bitnet", "small", "divide", 0),
    "reproduction": Case("reproduction", "small-head-of-100", "masters-f16", 0),
    "llama-divide": Case("llama", "small-odd-rows", "divide", 0),
    "llama-packed": Case("llama", "small", "packed", 0, "biases-rope-linear"),
    "llama-masters": Case("llama", "small", "masters-bf16", 0, "norms-biases-rope-llama3"),
    "llama-kept": Case("llama", "small", "divide", 0, "norms-kept"),
    "bitnet-biases": Case("bitnet", "small", "packed", 0, "norms-biases"),
}
LINEAR_TOKENS = [0, 33, 69]  # positions whose linear layers are kept
PROMPT_TOKENS, NEW_TOKENS = 60, 16  # the answer crosses into the second page of 64 tokens


def write_fixture(case: Case, folder: Path) -> None:
    """Write the model of a case and transformers.npz."""
    case.write(folder)
    with tempfile.TemporaryDirectory() as twin:
        if case.needs_twin:
            case.write_twin(Path(twin))
        model = transformers_model.load_float32(Path(twin) if case.needs_twin else folder)
    ids = case.token_ids()
    recording = transformers_model.record(model, ids)
    greedy, chosen_by = transformers_model.greedy(model, ids[:PROMPT_TOKENS], NEW_TOKENS)
    arrays = {
        "token_ids": np.array(ids, np.int32),
        "logits": recording.logits,
        "greedy_prompt": np.array(ids[:PROMPT_TOKENS], np.int32),
        "greedy_tokens": np.array(greedy, np.int32),
        "greedy_clear": clear_positions(chosen_by),
    }
    for name, call in recording.linears.items():
        arrays[f"{name}/x"] = call.x[LINEAR_TOKENS]
        arrays[f"{name}/codes"] = call.codes[LINEAR_TOKENS]
        arrays[f"{name}/y"] = call.y[LINEAR_TOKENS]
    np.savez_compressed(folder / "transformers.npz", **arrays)


def main() -> None:
    """Write all of tests/fixtures/."""
    for name, case in CASES.items():
        write_fixture(case, FIXTURES / name)
    about = {
        "command": "python tools/make_fixtures.py",
        "models": {name: str(case) for name, case in CASES.items()},
        "dtype": "float32",
        "python": platform.python_version(),
        **{m.__name__: m.__version__ for m in (torch, transformers, accelerate, np)},
    }
    text = json.dumps(about, indent=2) + "\n"
    (FIXTURES / "about.json").write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file())
    print(f"{FIXTURES.relative_to(ROOT)}: {size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
