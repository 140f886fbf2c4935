"""Does the bundled digit classifier predict what PyTorch predicts with the same quantisation?"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import nn
from transformers.integrations.bitnet import unpack_weights

import tritium

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import train_digits

FOLDER = train_digits.FOLDER
# Of the largest score. PyTorch sums in floats, which now and then moves an activation to the next
# of its 255 codes, and that moves what the two layers behind it see.
TOLERANCE = 1e-2


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    x, y, _, _ = train_digits.split()
    return train_digits.train(x, y)


def compare(model: tritium.Model, network: nn.Module) -> None:
    _, _, x, _ = train_digits.split()
    got = tritium.InferenceEngine(threads=1).infer(model, x)
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(got - expected).max() < TOLERANCE * np.abs(expected).max()


def test_the_images_are_those_of_scikit_learn() -> None:
    _, _, x, y = train_digits.split()
    records = np.fromfile(FOLDER / "held_out.bin", np.uint8).reshape(-1, 65)
    np.testing.assert_array_equal(records[:, :64].reshape(-1, 8, 8), x)
    np.testing.assert_array_equal(records[:, 64], y)


class FakeQuantised(nn.Module):
    """Floats that are the trits and the scale in the file."""

    def __init__(self, tensors: dict[str, gguf.ReaderTensor], path: str, outputs: int) -> None:
        super().__init__()
        packed = torch.from_numpy(tensors[f"{path}.weight"].data.view(np.uint8).copy())
        trits = unpack_weights(packed, dtype=torch.float32)
        self.weight = trits[:outputs] / float(tensors[f"{path}.weight_scale"].data[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(train_digits.quantized(x), self.weight)


def shipped_network() -> nn.Module:
    """With the weights of the file, as another reader of the format has them."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(FOLDER / "digits.gguf").tensors}
    network = train_digits.network()
    for path, layer in network.named_children():
        if isinstance(layer, nn.Linear):
            network[int(path)] = FakeQuantised(tensors, path, layer.out_features)
    return network


def test_the_shipped_classifier_predicts_what_pytorch_predicts_for_every_image() -> None:
    compare(tritium.load(FOLDER / "digits.gguf"), shipped_network())


def test_a_classifier_trained_now_predicts_what_pytorch_predicts_for_every_image(
    trained: nn.Module,
) -> None:
    model = train_digits.convert(trained)
    compare(model, trained)
    _, _, x, y = train_digits.split()
    assert train_digits.accuracy(trained, x, y) >= 0.96
