"""Does the engine compute whole models as the reference defines them, to the last bit?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import tritium
from hf_folders import write_bitnet_folder
from tritium import _core

TOKENS = 67  # more than a page of 64

# Widths that are not multiples of a vector, one key-value head, odd numbers of layers, head_dim
# other than hidden / heads.
MODELS: dict[str, dict[str, Any]] = {
    "packed": {"hidden": 64, "intermediate": 100, "heads": 4, "kv_heads": 1, "vocab": 131},
    "odd-masters": {
        "form": "masters", "hidden": 54, "intermediate": 67, "heads": 3, "kv_heads": 3,
        "layers": 3, "vocab": 97,
    },
    "odd-packed": {"hidden": 42, "intermediate": 61, "heads": 3, "kv_heads": 1, "vocab": 33},
    "wide-heads": {
        "form": "masters", "dtype": "float32", "hidden": 40, "intermediate": 132, "heads": 4,
        "kv_heads": 2, "head_dim": 24, "layers": 1, "vocab": 50,
    },
    "divide-silu-untied": {
        "linear_class": "bitlinear", "hidden": 48, "intermediate": 36, "heads": 2, "kv_heads": 1,
        "vocab": 65, "activation": "silu", "tied": False, "rms_norm_eps": 1e-6,
    },
    "half-precision": {"dtype": "float16", "hidden": 32, "heads": 2, "kv_heads": 2, "vocab": 40},
    "biases-multiply": {
        "hidden": 48, "intermediate": 52, "heads": 2, "kv_heads": 1, "vocab": 65,
        "attention_bias": True, "mlp_bias": True,
    },
    "reproduction": {
        "family": "reproduction", "form": "masters", "hidden": 200, "intermediate": 540,
        "heads": 2, "kv_heads": 2, "layers": 1, "vocab": 52, "dtype": "float16",
    },
    "reproduction-packed": {
        "family": "reproduction", "hidden": 50, "intermediate": 135, "heads": 1, "kv_heads": 1,
        "vocab": 34,
    },
    "llama-divide": {
        "family": "llama", "linear_class": "bitlinear", "hidden": 46, "intermediate": 61,
        "heads": 2, "kv_heads": 1, "head_dim": 32, "vocab": 77, "tied": False,
        "rope_theta": 1000042.0, "rms_norm_eps": 1e-6,
    },
    "llama-masters-biases": {
        "family": "llama", "form": "masters", "hidden": 48, "intermediate": 60, "heads": 4,
        "kv_heads": 2, "vocab": 51, "attention_bias": True, "mlp_bias": True,
        "rope": {"rope_type": "linear", "factor": 3.0},
    },
    "llama-norms-divide": {
        "family": "llama", "linear_class": "bitlinear", "hidden": 64, "intermediate": 44,
        "heads": 2, "kv_heads": 2, "vocab": 64, "use_rms_norm": True, "attention_bias": True,
        "rope": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 40,
        },
    },
    "llama-some-kept": {
        "family": "llama", "hidden": 32, "intermediate": 100, "heads": 2, "kv_heads": 1,
        "vocab": 45, "layers": 3, "mlp_bias": True, "attention_bias": True, "use_rms_norm": True,
        "kept": ["lm_head", "down_proj", "model.layers.1", "model.*.0.self_attn.q_proj"],
    },
    "bitnet-some-kept-masters": {
        "form": "masters", "hidden": 34, "intermediate": 52, "heads": 1, "kv_heads": 1,
        "vocab": 33, "dtype": "float16", "kept": ["lm_head", "o_proj", "mlp.gate_proj"],
    },
}  # fmt: skip


@pytest.mark.parametrize("kernels", [k.name for k in _core.kernel_sets() if k.supported], ids=str)
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_logits_have_the_bits_of_the_reference(
    options: dict[str, Any], kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITIUM_KERNELS", kernels)
    write_bitnet_folder(tmp_path, seed=1, **options)
    ids = np.random.default_rng(2).integers(0, options["vocab"], TOKENS)
    expected = reference.load_folder(tmp_path).forward(ids)
    engine = tritium.InferenceEngine()
    assert engine.kernel_set == kernels
    np.testing.assert_array_equal(engine.infer(tritium.load(tmp_path), ids), expected)


@pytest.mark.parametrize("kernels", [k.name for k in _core.kernel_sets() if k.supported], ids=str)
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_logits_over_an_int8_cache_have_the_bits_of_the_reference(
    options: dict[str, Any], kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITIUM_KERNELS", kernels)
    write_bitnet_folder(tmp_path, seed=1, **options)
    ids = np.random.default_rng(2).integers(0, options["vocab"], TOKENS)
    expected = reference.load_folder(tmp_path).forward(ids, "int8")
    with tritium.LLM(tmp_path, kv_dtype="int8", max_sequences=1) as llm:
        np.testing.assert_array_equal(llm.logits(ids), expected)
