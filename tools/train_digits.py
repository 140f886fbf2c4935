"""How was the digit classifier of examples/digits trained?

    python tools/train_digits.py        (needs `pip install tritium[oracles]`)

BitLinear layers learn by a straight-through estimator: forward, weights and activations are
quantised, and backward, the gradient passes as if they were not. The images are the 1,797 of
scikit-learn's load_digits, 8 x 8 pixels from 0 to 16, of which every class gives a fifth to the
360 that are held out: never trained on, and looked at once, at the end.

Writes digits.gguf and held_out.bin: for each image 64 bytes, its pixels row by row, and a byte, the
digit that it shows.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import tritium

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "digits"
HELD_OUT = 360
SEED = 0
EPOCHS = 60
BATCH = 64
PEAK_RATE = 3e-3


def ternarized(weight: torch.Tensor) -> torch.Tensor:
    """-1, 0 and 1 times their mean magnitude (BitNet b1.58, arXiv:2402.17764)."""
    scale = 1 / weight.abs().mean().clamp(min=1e-5)
    return (weight * scale).round().clamp(-1, 1) / scale


def quantized(x: torch.Tensor) -> torch.Tensor:
    """Each row as integers from -127 to 127 times a number."""
    steps = 127 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    return (x * steps).round() / steps


def straight_through(exact: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """The rounded one, with the gradient of the exact one."""
    return rounded.detach() + (exact - exact.detach())


class BitLinear(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = straight_through(self.weight, ternarized(self.weight))
        return nn.functional.linear(straight_through(x, quantized(x)), weight, self.bias)

    def tritium_layers(self) -> Sequence[nn.Module]:
        """A Linear, whose weights from_torch ternarises by the arithmetic above."""
        linear = nn.Linear(self.in_features, self.out_features, device="meta")
        linear.weight, linear.bias = self.weight, self.bias
        return [linear]


def split() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (n, 8, 8) and labels to train on, and those that are held out."""
    digits = load_digits()
    parts = train_test_split(
        digits.images, digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=SEED
    )
    x, held_out_x, y, held_out_y = parts
    return (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(y),
        torch.tensor(held_out_x, dtype=torch.float32),
        torch.tensor(held_out_y),
    )


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        BitLinear(64, 128, bias=False),
        nn.ReLU(),
        BitLinear(128, 64, bias=False),
        nn.ReLU(),
        BitLinear(64, 10, bias=False),
    )


def train(x: torch.Tensor, y: torch.Tensor, *, seed: int = SEED, epochs: int = EPOCHS) -> nn.Module:
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x))[: len(x) // BATCH * BATCH].view(-1, BATCH):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).double().mean().item()


def convert(model: nn.Module) -> tritium.Model:
    return tritium.from_torch(model, input_shape=(8, 8), ternarize=True, name="digits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    x, y, held_out_x, held_out_y = split()
    model = train(x, y)
    folder.mkdir(parents=True, exist_ok=True)
    convert(model).save(folder / "digits.gguf")
    records = np.concatenate([held_out_x.flatten(1), held_out_y[:, None]], axis=1)
    (folder / "held_out.bin").write_bytes(records.astype(np.uint8).tobytes())
    print(f"of {len(x)} images trained on, {accuracy(model, x, y):.2%} are right")
    print(f"of {len(held_out_x)} held out, {accuracy(model, held_out_x, held_out_y):.2%} are right")


if __name__ == "__main__":
    main()
