"""Perplexity: windows, sums in double precision, and the command."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import tritium
from tritium import LLM, BatchProcessingError, ModelLoadError
from tritium.perplexity import bundled_text, measure_perplexity, windows


@pytest.fixture(scope="module")
def llm():
    with LLM(threads=1) as ready:
        yield ready


@pytest.fixture(scope="module")
def story(llm):
    """What the bundled model itself tells: it foresees that well."""
    start = "Once upon a time"
    return start + llm.generate(start, max_tokens=200).text


def plain_perplexity(llm, ids) -> tuple[float, int]:
    """The sum of the negative log-probabilities of one window, the simple way."""
    logits = llm.logits(ids[:-1]).astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chosen = probabilities[np.arange(len(ids) - 1), ids[1:]]
    return -float(np.log(chosen).sum()), len(ids) - 1


def test_a_text_in_one_window_is_the_plain_sum(llm, story):
    ids = llm.tokenizer.encode(story)
    total, count = plain_perplexity(llm, ids)
    found = measure_perplexity(llm, story)
    assert found.tokens == count
    assert found.bytes == len(story.encode())
    assert found.negative_log_probability == pytest.approx(total, rel=1e-9)
    assert found.token_perplexity == pytest.approx(math.exp(total / count), rel=1e-9)
    assert found.byte_perplexity == pytest.approx(math.exp(total / len(story)), rel=1e-9)


def test_a_story_of_the_bundled_model_is_foreseen_and_noise_is_not(llm, story):
    told = measure_perplexity(llm, story).token_perplexity
    assert 1 < told < 3
    assert measure_perplexity(llm, story[::-1]).token_perplexity > 10 * told


@pytest.mark.parametrize(("window", "stride"), [(64, 32), (64, 63), (64, 1), (50, 7), (2, 1)])
def test_each_token_is_scored_once_after_the_tokens_of_its_window(llm, story, window, stride):
    story = story[:300]
    ids = llm.tokenizer.encode(story)
    total = 0.0
    logits = {}
    for token in range(1, len(ids)):
        # The first window that reaches this token.
        begin = max(0, -(-(token + 1 - window) // stride) * stride)
        if begin not in logits:
            logits[begin] = llm.logits(ids[begin : begin + window]).astype(np.float64)
        row = logits[begin][token - 1 - begin]
        total -= row[ids[token]] - row.max() - math.log(np.exp(row - row.max()).sum())
    found = measure_perplexity(llm, story, window=window, stride=stride)
    assert (found.tokens, found.window, found.stride) == (len(ids) - 1, window, stride)
    assert found.negative_log_probability == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (2, [(0, 2, 1)]),
        (8, [(0, 8, 1)]),
        (9, [(0, 8, 1), (3, 9, 8)]),
        (14, [(0, 8, 1), (3, 11, 8), (6, 14, 11)]),
    ],
)
def test_windows_begin_a_stride_apart_and_end_with_the_text(tokens, expected):
    assert list(windows(tokens, 8, 3)) == expected


def test_progress_ends_with_all_tokens(llm, story):
    seen: list[tuple[int, int]] = []
    found = measure_perplexity(
        llm, story, window=32, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (found.tokens, found.tokens)


def test_threads_and_kernel_sets_do_not_change_a_bit(llm, story):
    with LLM(threads=2) as two:
        assert measure_perplexity(two, story) == measure_perplexity(llm, story)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", {}, "1 tokens given"),
        ("a b", {"window": 1}, r"window is 1.*\[2, 512\]"),
        ("a b", {"window": 513}, "window is 513"),
        ("a b", {"window": 8, "stride": 8}, r"stride is 8.*\[1, 7\]"),
        ("a b", {"stride": 0}, "stride is 0"),
        ("a\ud83d", {}, "not Unicode"),
    ],
)
def test_what_cannot_be_measured_says_why(llm, text, arguments, message):
    with pytest.raises(BatchProcessingError, match=message):
        measure_perplexity(llm, text, **arguments)


def test_a_model_without_a_tokenizer_cannot_read(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(tritium.load().folder / name)
    with LLM(tmp_path) as ids_only, pytest.raises(ModelLoadError, match="no tokenizer"):
        measure_perplexity(ids_only, "text")


def test_the_bundled_text_is_some_hundred_words_of_english():
    text = bundled_text()
    assert 600 <= len(text.split()) <= 1000
    assert text.isascii()
    assert text.endswith("\n")


# The command


def run(*arguments: str, stdin: str = ""):
    return subprocess.run(
        [sys.executable, "-m", "tritium", "perplexity", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")},
    )


def test_the_command_reads_a_file_and_prints_json(llm, story, tmp_path):
    (tmp_path / "story").write_text(story, "utf-8")
    done = run("--json", "-c", "64", "--stride", "16", str(tmp_path / "story"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar where nobody looks
    expected = measure_perplexity(llm, story, window=64, stride=16)
    assert json.loads(done.stdout) == expected.as_dict()
    assert run("--json", "-c", "64", "--stride", "16", "-", stdin=story).stdout == done.stdout


def test_the_command_prints_lines_for_people(llm):
    done = run()
    assert done.returncode == 0, done.stderr
    found = measure_perplexity(llm, bundled_text())
    assert f"perplexity per token  {found.token_perplexity:.4f}\n" in done.stdout
    assert f"{found.tokens} tokens, {found.bytes} bytes\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/file"], "/no/such/file"),
        (["-c", "1"], "window is 1"),
        (["--stride", "600"], "stride is 600"),
    ],
)
def test_an_error_is_one_line(arguments, message):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tritium: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
