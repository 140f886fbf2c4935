"""Does this machine have the device, and does it compute as the CPU does?

Usage: check_device.py <device> [--bits]

Tests of a device that is not there are left out; this program fails instead. It runs the bundled
language model and a network on the device and on the CPU: tokens must be the same, with --bits
also the bits of logits and outputs.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import tritium
from tritium.layers import BitLinear, ReLU, RMSNorm

TOKENS = 48
TOLERANCE = 2e-3  # of the largest output: that of networks in tests/python/mlx_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device")
    parser.add_argument("--bits", action="store_true")
    arguments = parser.parse_args()

    for device in tritium.devices():
        state = "available" if device.is_available else device.missing
        print(f"{device.name}: {state}", device.detail or "")

    stories = []
    for device in (arguments.device, "cpu"):
        with tritium.LLM(device=device) as llm:
            stories.append(llm.generate("Once upon a time", max_tokens=TOKENS).text)
    print(*stories, sep="\n")
    if stories[0] != stories[1]:
        sys.exit(f"{arguments.device} and cpu tell different stories")

    random = np.random.default_rng(1)
    model = tritium.build_model(
        [
            RMSNorm(np.ones(512, np.float32)),
            BitLinear(random.integers(-1, 2, (1024, 512), dtype=np.int8), np.float32(0.03)),
            ReLU(),
            BitLinear(random.integers(-1, 2, (512, 1024), dtype=np.int8), np.float32(0.03)),
        ],
        input_shape=(512,),
    )
    x = random.standard_normal((33, 512)).astype(np.float32)
    here, there = (
        tritium.InferenceEngine(device).infer(model, x) for device in (arguments.device, "cpu")
    )
    same = here.tobytes() == there.tobytes()
    print(f"outputs of a network: {'the same bits' if same else np.abs(here - there).max()}")
    if np.abs(here - there).max() > TOLERANCE * np.abs(there).max():
        sys.exit(f"{arguments.device} and cpu compute different outputs")
    if arguments.bits and not same:
        sys.exit(f"{arguments.device} does not give the bits of the CPU")


if __name__ == "__main__":
    main()
