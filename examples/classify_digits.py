"""Which digits do these images show?  One image, all at once, and as they arrive.

python examples/classify_digits.py [--scores FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tritium

FOLDER = Path(__file__).parent / "digits"


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8), float32 from 0 to 16, and labels (n,)."""
    records = np.fromfile(path, np.uint8).reshape(-1, 65)  # 64 pixels and the label
    return records[:, :64].reshape(-1, 8, 8).astype(np.float32), records[:, 64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, help="where to write all scores, float32 (n, 10)")
    options = parser.parse_args()

    model = tritium.load(FOLDER / "digits.gguf")
    images, labels = read_digits(FOLDER / "held_out.bin")
    engine = tritium.InferenceEngine()

    scores = engine.infer(model, images[0])
    print("\n".join("".join(" .:-=+*#%@"[int(pixel) // 2] for pixel in row) for row in images[0]))
    print(f"shows a {scores.argmax()}, by the label a {labels[0]}")

    batch = engine.infer(model, images)
    right = int((batch.argmax(axis=1) == labels).sum())
    print(f"{right} of {len(labels)} are right, {right / len(labels):.2%}")

    streamed = list(engine.stream(model, images))
    print(f"a stream gives the same: {np.array_equal(streamed, batch)}")

    if options.scores is not None:
        options.scores.write_bytes(batch.tobytes())


if __name__ == "__main__":
    main()
