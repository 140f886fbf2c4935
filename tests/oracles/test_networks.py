"""Does a network give what PyTorch gives for the same layers, fake-quantised in float32?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

import tritium
from tritium import layers

# Of the largest magnitude of an output. PyTorch sums in another order and in floats, which now and
# then moves a hidden value over the border between two codes.
TOLERANCE = 2e-3


class FakeQuantisedBitLinear(nn.Linear):
    """BitLinear as it is trained: weights by absmean, activations by absmax, back in floats."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight.abs().mean().clamp(min=1e-5)
        weight = (self.weight / scale).round().clamp(-1, 1) * scale
        absmax = x.abs().max(dim=-1, keepdim=True).values.clamp(min=1e-5)
        x = (x * (127 / absmax)).round().clamp(-128, 127) * (absmax / 127)
        return nn.functional.linear(x, weight, self.bias)

    def tritium_layers(self) -> Sequence[layers.Layer]:
        bias = None if self.bias is None else self.bias.detach()
        return [layers.BitLinear(self.weight.detach(), bias=bias)]


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)

    def tritium_layers(self) -> Sequence[layers.Layer]:
        return [layers.Residual([self.inner])]


def compare(network: nn.Sequential, x: torch.Tensor, tolerance: float) -> None:
    with torch.no_grad():
        expected = network(x).numpy()
    shape = tuple(x.shape[1:])
    model = tritium.from_torch(network, input_shape=shape)
    got = tritium.InferenceEngine().infer(model, x)
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU])
def test_a_perceptron_agrees_with_pytorch(activation: type[nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(
        FakeQuantisedBitLinear(64, 200),
        activation(),
        FakeQuantisedBitLinear(200, 100, bias=False),
        activation(),
        nn.Linear(100, 10),
    )
    compare(network, torch.randn(50, 64), TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_norms_residuals_and_softmax_agree_with_pytorch(seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Flatten(),
        nn.LayerNorm(64),
        Residual(
            nn.RMSNorm(64, eps=1e-6), FakeQuantisedBitLinear(64, 128), nn.GELU(), nn.Linear(128, 64)
        ),
        FakeQuantisedBitLinear(64, 10),
        nn.Softmax(dim=-1),
    )
    compare(network, torch.randn(50, 8, 8), TOLERANCE)


@pytest.mark.parametrize("module", [nn.GELU(), nn.SiLU(), nn.ReLU(), nn.Softmax(dim=-1)], ids=str)
def test_functions_agree_with_pytorch_in_double_precision(module: nn.Module) -> None:
    x = torch.linspace(-12, 12, 4001)
    model = tritium.from_torch(module, input_shape=(4001,))
    got = tritium.InferenceEngine().infer(model, x)
    expected = module(x.double()).numpy()
    # PyTorch cancels in the tail of GELU, even in double precision.
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-15)
