"""Stop strings and chunks, without a model."""

from __future__ import annotations

import itertools

import pytest

from tritium import BatchProcessingError, TextChunk, Timings
from tritium.streaming import StopStrings, join

TIMINGS = Timings(
    prompt_tokens=10,
    generated_tokens=5,
    prefill_seconds=0.5,
    decode_seconds=2.0,
    time_to_first_token=0.6,
)


def pieces(text: str):
    """Every way to cut `text`."""
    for cuts in itertools.product((False, True), repeat=len(text) - 1):
        piece, result = text[0], []
        for cut, character in zip(cuts, text[1:], strict=True):
            if cut:
                result.append(piece)
                piece = ""
            piece += character
        yield [*result, piece]


def run(stops: list[str], parts: list[str]) -> tuple[str, bool]:
    matcher, given = StopStrings(stops), ""
    for part in parts:
        free, found = matcher.push(part)
        given += free
        if found:
            return given, True
    return given + matcher.flush(), False


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two", ["two"], ("one ", True)),
        ("one two", ["o"], ("", True)),
        ("one two", ["xyz"], ("one two", False)),
        ("one tw", ["two"], ("one tw", False)),
        ("aaab", ["aab"], ("a", True)),
        ("abababc", ["ababc"], ("ab", True)),
        ("abc", ["abc", "b"], ("a", True)),  # "b" is complete first
        ("abc", ["bc", "abc"], ("", True)),  # both end here, "abc" begins first
        ("a\n\nb", ["\n\n"], ("a", True)),
        ("né日本語", ["日本"], ("né", True)),
    ],
)
def test_a_stop_string_ends_the_text_however_it_is_cut(text, stops, expected):
    for parts in pieces(text):
        assert run(stops, parts) == expected, parts


def test_only_what_may_become_a_stop_string_is_held_back():
    matcher = StopStrings(["STOP"])
    assert matcher.push("go on ST") == ("go on ", False)
    assert matcher.push("ART S") == ("START ", False)
    assert matcher.push("TO") == ("", False)
    assert matcher.flush() == "STO"


def test_without_stop_strings_nothing_is_held_back():
    assert StopStrings().push("text") == ("text", False)


def test_chunks_join_to_a_result():
    result = join(
        [
            TextChunk(text="Hel", token_ids=(1, 2)),
            TextChunk(text="lo", token_ids=(3,), finish_reason="stop", timings=TIMINGS),
        ]
    )
    assert (result.text, result.token_ids) == ("Hello", [1, 2, 3])
    assert (result.finish_reason, result.prompt_tokens) == ("stop", 10)
    assert result.logprobs is None


@pytest.mark.parametrize("chunks", [[], [TextChunk(text="a", token_ids=(1,))]])
def test_chunks_without_an_end_do_not_join(chunks):
    with pytest.raises(BatchProcessingError, match="end before"):
        join(chunks)


def test_rates_count_the_tokens_of_their_own_steps():
    assert TIMINGS.prefill_tokens_per_second == 20.0
    assert TIMINGS.decode_tokens_per_second == 2.0  # the first of the 5 came with the prefill
    one = Timings(
        prompt_tokens=1,
        generated_tokens=1,
        prefill_seconds=0.0,
        decode_seconds=0.0,
        time_to_first_token=0.0,
    )
    assert one.decode_tokens_per_second == one.prefill_tokens_per_second == 0.0
