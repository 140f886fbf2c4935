"""The perplexity of Tritium against the script that docs/benchmarks.md gives to its readers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tritium
from tritium import LLM, measure_perplexity
from tritium.perplexity import bundled_text

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
STORY = "Once upon a time, there was a friendly boy named Tom. He lived in a busy harbor town.\n"


@pytest.mark.parametrize(("text", "tolerance"), [(STORY, 0.005), (bundled_text(), 0.02)])
def test_transformers_finds_a_text_as_likely(tmp_path, text, tolerance):
    [script] = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "script.py").write_text(script, "utf-8")
    (tmp_path / "text").write_text(text, "utf-8")
    model = tritium.load()
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(model.folder), str(tmp_path / "text")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TORCHDYNAMO_DISABLE": "1"},
    )
    assert done.returncode == 0, done.stderr
    per_token, per_byte = map(float, done.stdout.split())
    with LLM(model) as llm:
        ours = measure_perplexity(llm, text)
    assert ours.token_perplexity == pytest.approx(per_token, rel=tolerance)
    assert ours.byte_perplexity == pytest.approx(per_byte, rel=tolerance)
