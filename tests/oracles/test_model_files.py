"""Are Tritium's model files GGUF as the package `gguf` reads it?"""

from __future__ import annotations

import numpy as np
import pytest

import tritium
from tritium.layers import BitLinear, Linear, ReLU

gguf = pytest.importorskip("gguf")


def test_the_package_gguf_reads_a_network(tmp_path):
    random = np.random.default_rng(0)
    trits = random.integers(-1, 2, (30, 20), dtype=np.int8)
    scales = random.random(30, np.float32) + 0.5
    masters = random.standard_normal((8, 30)).astype(np.float16)
    dense = random.standard_normal((4, 8), np.float32)
    layers = [BitLinear(trits, scales), ReLU(), BitLinear(masters), Linear(dense)]
    model = tritium.build_model(layers, input_shape=(20,), name="net")
    model.save(tmp_path / "net.gguf", version="2")
    reader = gguf.GGUFReader(tmp_path / "net.gguf")
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert fields["general.architecture"] == "tritium"
    assert fields["general.name"] == "net"
    assert fields["general.version"] == "2"
    assert fields["tritium.format_version"] == 1
    assert fields["tritium.input_shape"] == [20]
    assert fields["tritium.operator.0.kind"] == "ternary_linear"
    assert fields["tritium.operator.0.bias_before_scale"] is False
    assert fields["tritium.ternary_trits"] == ["0.weight"]
    assert fields["tritium.ternary_masters"] == ["2.weight"]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for name, array in (
        ("0.weight", trits),
        ("0.weight_scale", scales),
        ("2.weight", masters),
        ("3.weight", dense),
    ):
        assert np.array_equal(tensors[name].data, array), name
        assert tensors[name].shape.tolist() == list(array.shape[::-1])
        assert tensors[name].data_offset % 64 == 0
    assert len(tensors) == 4


def test_the_package_gguf_reads_a_language_model(tmp_path):
    tritium.load().save(tmp_path / "demo.gguf")
    reader = gguf.GGUFReader(tmp_path / "demo.gguf")
    fields = {key: field.contents() for key, field in reader.fields.items()}
    config = tritium.load().config
    assert fields["tritium.architecture"] == "bitnet"
    assert fields["tritium.config.hidden_size"] == config.hidden_size
    assert fields["tritium.config.rms_norm_eps"] == config.rms_norm_eps
    folder = tritium.load().folder
    assert fields["tritium.file.tokenizer.json"] == (folder / "tokenizer.json").read_text("utf-8")
    [embedding] = [t for t in reader.tensors if t.name == "model.embed_tokens.weight"]
    assert embedding.shape.tolist() == [config.hidden_size, config.vocab_size]
