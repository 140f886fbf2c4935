"""Does a checkpoint give here what transformers makes of it?

    python tools/compare_with_transformers.py FOLDER ["A text."]

Needs `pip install tritium[test,oracles]`, and memory for the model in float32: 4 bytes a weight.
Prints the difference of the logits (rms, of theirs), how many positions prefer the same token, and
how many prefer another where transformers leaves no doubt. Exits with 1 if the two do not agree,
by the criteria of tests/python/agreement.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling the quantisers takes a minute
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracles"))

import transformers_model
from transformers import AutoTokenizer

import tritium
from agreement import compare_logits

TEXT = "In a small village by the sea there lived a clockmaker who repaired more than clocks."


def main(folder: Path, text: str = TEXT) -> int:
    """Compare the model in `folder` on a text; 0 if it agrees."""
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    ours = tritium.InferenceEngine().infer(tritium.load(folder), ids)
    theirs = transformers_model.record(transformers_model.load_float32(folder), ids).logits
    agreement = compare_logits(ours, theirs)
    print(f"{folder}: {len(ids)} tokens, {agreement.summary()}")
    return 0 if agreement.holds else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
