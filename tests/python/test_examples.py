"""Do the examples run, as programs, and do those in C++ and Python give the same bits?"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritium

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
ACCURACY = 0.96


def run(*command: str | Path, timeout: float = 60) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8) and labels (n,)."""
    records = np.fromfile(DIGITS / "held_out.bin", np.uint8).reshape(-1, 65)
    return records[:, :64].reshape(-1, 8, 8).astype(np.float32), records[:, 64]


@pytest.fixture(scope="session")
def scores() -> np.ndarray:
    """Of all images that are held out, by the engine."""
    engine = tritium.InferenceEngine(threads=1)
    return engine.infer(tritium.load(DIGITS / "digits.gguf"), held_out()[0])


def test_images_of_every_digit_are_held_out() -> None:
    images, labels = held_out()
    assert len(images) == 360
    assert images.max() == 16
    assert (np.bincount(labels, minlength=10) >= 34).all()
    assert len(np.unique(labels)) == 10


def test_the_classifier_is_small_and_knows_its_shapes() -> None:
    assert (DIGITS / "digits.gguf").stat().st_size < 8000
    model = tritium.load(DIGITS / "digits.gguf")
    assert (model.name, model.input_shape, model.output_shape) == ("digits", (8, 8), (10,))
    assert tritium.InferenceEngine().infer(model, held_out()[0][:1]).shape == (1, 10)


def test_the_classifier_is_right_about_images_that_it_has_not_seen(scores: np.ndarray) -> None:
    assert (scores.argmax(axis=1) == held_out()[1]).mean() >= ACCURACY


def check_output(output: str) -> None:
    match = re.search(r"^(\d+) of 360 are right, [\d.]+ ?%$", output, re.MULTILINE)
    assert match, output
    assert int(match[1]) >= ACCURACY * 360
    assert "a stream gives the same: true" in output.lower()


def test_the_python_example_runs(repository: Path, tmp_path: Path, scores: np.ndarray) -> None:
    script = repository / "examples" / "classify_digits.py"
    output = run(sys.executable, script, "--scores", tmp_path / "scores")
    check_output(output)
    assert (tmp_path / "scores").read_bytes() == scores.tobytes()


@pytest.fixture(scope="session")
def built_examples(repository: Path) -> Path:
    """The folder where CMake built the C++ examples, with the sources of the core around them.

    It stays for the next run. Without optimization it takes less time; the bits are the same.
    """
    if shutil.which("cmake") is None:
        pytest.skip("CMake is not installed")
    folder = repository / "build" / "examples"
    source = repository / "examples" / "cpp"
    run("cmake", "-S", source, "-B", folder, "-DCMAKE_BUILD_TYPE=Debug", "-DTRITIUM_INSTALL=ON")
    run("cmake", "--build", folder, "--config", "Debug", "--parallel", "2", timeout=1200)
    return folder


def program(folder: Path) -> Path:
    (found,) = (
        path for path in folder.rglob("classify_digits*") if path.suffix in {"", ".exe"} and
        path.is_file()
    )  # fmt: skip
    return found


@pytest.mark.timeout(1500)
def test_the_cpp_example_gives_the_same_bits(
    built_examples: Path, tmp_path: Path, scores: np.ndarray
) -> None:
    output = run(program(built_examples), DIGITS, tmp_path / "scores")
    check_output(output)
    assert (tmp_path / "scores").read_bytes() == scores.tobytes()


@pytest.mark.timeout(1500)
def test_the_cpp_example_builds_with_an_installed_core(
    built_examples: Path, repository: Path, tmp_path: Path, scores: np.ndarray
) -> None:
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    run("cmake", "--install", built_examples, "--config", "Debug", "--prefix", prefix)
    source = repository / "examples" / "cpp"
    settings = ("-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "-S", source, "-B", build, *settings)
    assert f"{prefix}/lib/cmake/tritium" in (build / "CMakeCache.txt").read_text("utf-8")
    run("cmake", "--build", build, "--config", "Debug", timeout=300)
    check_output(run(program(build), DIGITS, tmp_path / "scores"))
    assert (tmp_path / "scores").read_bytes() == scores.tobytes()
