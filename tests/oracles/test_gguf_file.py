"""Does gguf, the library of llama.cpp, read what is written for llama.cpp?"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

from tritium.synthetic import Geometry

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gguf_file

SMALL = Geometry(
    vocab_size=24,
    hidden_size=256,
    intermediate_size=512,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=64,
    context_length=96,
)


def test_gguf_reads_sizes_and_weights(tmp_path):
    gguf_file.write_model(tmp_path / "model.gguf", SMALL, "tq2_0")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    values = {key: field.contents() for key, field in reader.fields.items()}
    assert values["general.architecture"] == gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.BITNET]
    assert values[gguf.Keys.LLM.VOCAB_SIZE.format(arch="bitnet")] == 24
    assert values[gguf.Keys.LLM.EMBEDDING_LENGTH.format(arch="bitnet")] == 256
    assert values[gguf.Keys.LLM.FEED_FORWARD_LENGTH.format(arch="bitnet")] == 512
    assert values[gguf.Keys.LLM.BLOCK_COUNT.format(arch="bitnet")] == 2
    assert values[gguf.Keys.Attention.HEAD_COUNT.format(arch="bitnet")] == 4
    assert values[gguf.Keys.Attention.HEAD_COUNT_KV.format(arch="bitnet")] == 2
    assert values[gguf.Keys.Rope.DIMENSION_COUNT.format(arch="bitnet")] == 64
    assert values[gguf.Keys.Rope.FREQ_BASE.format(arch="bitnet")] == 500000
    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == gguf.GGMLQuantizationType.Q6_K
    assert kinds["blk.0.ffn_down.weight"] == gguf.GGMLQuantizationType.TQ2_0
    names = gguf.TensorNameMap(gguf.MODEL_ARCH.BITNET, SMALL.layers).mapping
    assert kinds.keys() <= {f"{name}.weight" for _, name in names.values()}
    for tensor in reader.tensors:
        weights = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert weights.shape == tuple(reversed(tensor.shape.tolist()))
        assert np.isfinite(weights).all()
        if tensor.tensor_type == gguf.GGMLQuantizationType.TQ2_0:
            assert np.array_equal(np.unique(weights), np.float32([-1, 0, 1]) * np.float16(0.02))
