"""Does `tritium show` say what was read from a configuration?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tritium
from hf_folders import write_bitnet_folder
from tritium.cli.show import as_table, describe_model

LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def facts_of(folder: Path, **options: Any) -> dict[str, Any]:
    write_bitnet_folder(folder, seed=1, **options)
    return describe_model(tritium.load(folder), tritium.InferenceEngine())


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """The table by its first column."""
    lines = as_table(facts | {"plan": {"steps": [], "fusions": []}}).splitlines()
    return {line[:14].strip(): line[14:] for line in lines}


def test_everything_that_a_configuration_adds_is_shown(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path, family="llama", rope=LLAMA3, attention_bias=True, use_rms_norm=True,
        rope_theta=1000042.0, linear_class="bitlinear", rms_norm_eps=1e-5,
    )  # fmt: skip
    assert facts["architecture"] == "llama"
    assert facts["biases"] == {"attention": True, "mlp": False}
    assert facts["linear_norm_eps"] == 1e-6
    assert facts["rope"] == {
        "theta": 1000042.0, "scaling": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_context": 64.0,
    }  # fmt: skip
    lines = lines_of(facts)
    assert lines["biases"] == "attention"
    assert lines["RoPE"] == (
        "theta 1000042, llama3 (factor 8, low_freq_factor 1, high_freq_factor 4, "
        "original_context 64)"
    )
    assert lines["RMSNorm"] == "eps 1e-05; one in front of every ternary linear, eps 1e-06"
    assert lines["scale rule"] == "divide: y = sum / scale"


def test_what_a_configuration_does_not_add_takes_no_room(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert facts["rope"] == {"theta": 10000.0, "scaling": "none"}
    lines = lines_of(facts)
    assert (lines["biases"], lines["RoPE"]) == ("none", "theta 10000")
    assert lines["RMSNorm"] == "eps 1e-05"
    assert lines["activation"] == "relu2"
