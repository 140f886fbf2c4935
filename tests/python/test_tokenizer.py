"""Text to token ids and back, with the bundled model's byte-level tokenizer."""

from __future__ import annotations

import json
import random

import pytest

import tritium
from tritium import BatchProcessingError, ModelLoadError, Tokenizer

TEXTS = [
    "The cat sat on the mat.",
    "naïve café",
    "日本語のテキスト",
    "emoji 😀 and family 👩‍👩‍👧",
    "combining e\u0301 n\u0303",
    "العربية and עברית",
    "\U0001f600",
    "line\nbreak\ttab  two spaces ",
]


@pytest.fixture(scope="module")
def model():
    return tritium.load()


@pytest.fixture(scope="module")
def tokenizer(model):
    return Tokenizer.from_file(model.tokenizer_file, vocab_size=model.config.vocab_size)


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_the_encoded_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_begin_token_comes_first_unless_it_is_not_wanted(tokenizer, model):
    with_begin = tokenizer.encode("The cat")
    assert with_begin[0] == model.bos_token_id
    assert tokenizer.encode("The cat", add_bos=False) == with_begin[1:]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_hold_whole_characters_and_join_to_the_text(tokenizer, text):
    detokenizer = tokenizer.detokenizer()
    pieces = [detokenizer.push(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert detokenizer.flush() == ""


def test_a_character_over_several_tokens_comes_with_the_last(tokenizer):
    tokens = tokenizer.encode("\U0001f600", add_bos=False)
    assert len(tokens) > 1, "the vocabulary has a token for this character"
    detokenizer = tokenizer.detokenizer()
    assert [detokenizer.push(token) for token in tokens] == [""] * (len(tokens) - 1) + [
        "\U0001f600"
    ]


def test_an_incomplete_character_at_the_end_becomes_one_replacement(tokenizer):
    tokens = tokenizer.encode("a\U0001f600", add_bos=False)[:-1]
    detokenizer = tokenizer.detokenizer()
    assert "".join(detokenizer.push(token) for token in tokens) == "a"
    assert detokenizer.flush() == "\ufffd"


def test_any_tokens_stream_to_what_they_decode_to(tokenizer, model):
    rng = random.Random(0)
    byte_tokens = [
        token
        for token in range(model.config.vocab_size)
        if len(tokenizer.id_to_token(token) or "") == 1
    ]
    for _ in range(200):
        pool = byte_tokens if rng.random() < 0.5 else range(model.config.vocab_size)
        tokens = [rng.choice(pool) for _ in range(40)]
        detokenizer = tokenizer.detokenizer()
        text = "".join(detokenizer.push(token) for token in tokens) + detokenizer.flush()
        assert text == tokenizer.decode(tokens)


def test_endless_broken_bytes_are_not_held_back_for_ever(tokenizer):
    broken = tokenizer.encode("\U0001f600", add_bos=False)[-1]
    detokenizer = tokenizer.detokenizer()
    assert "\ufffd" in "".join(detokenizer.push(broken) for _ in range(100))


def test_text_that_continues_a_prompt_keeps_its_leading_space(tokenizer):
    prompt = tokenizer.encode("The cat")
    rest = tokenizer.encode("The cat sat")[len(prompt) :]
    detokenizer = tokenizer.detokenizer(prompt)
    assert "".join(detokenizer.push(token) for token in rest) == " sat"


def test_the_leading_space_survives_a_decoder_that_drops_it(tmp_path):
    words = ["<s>", "▁the", "▁cat", "▁sat"]
    file = tmp_path / "tokenizer.json"
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    file.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": None,
                "pre_tokenizer": metaspace,
                "post_processor": None,
                "decoder": metaspace,
                "model": {
                    "type": "WordLevel",
                    "vocab": {word: i for i, word in enumerate(words)},
                    "unk_token": "<s>",
                },
            }
        ),
        "utf-8",
    )
    tokenizer = Tokenizer.from_file(file)
    detokenizer = tokenizer.detokenizer([1])
    assert [detokenizer.push(token) for token in (2, 3)] == [" cat", " sat"]


def test_a_vocabulary_larger_than_the_embedding_is_refused_with_both_numbers(model):
    rows = model.config.vocab_size - 1
    with pytest.raises(ModelLoadError, match=rf"{rows}.*{rows} rows"):
        Tokenizer.from_file(model.tokenizer_file, vocab_size=rows)


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"model": null}'])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        Tokenizer.from_file(file)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json does not exist"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_half_a_surrogate_pair_is_refused_with_its_position(tokenizer):
    with pytest.raises(BatchProcessingError, match="position 2"):
        tokenizer.encode("ab\ud83dcd")
