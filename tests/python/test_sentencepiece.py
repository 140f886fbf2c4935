"""SentencePiece models: sentencepiece itself is the oracle, on a model that is trained here."""

from __future__ import annotations

import json
import random
import shutil
import sys

import pytest

import tritium
from tritium import LLM, ModelLoadError, Tokenizer
from tritium.perplexity import bundled_text
from tritium.tokenizer import find_tokenizer_file

sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = [
    "The mill at the bend of the river",
    " leading and  double spaces ",
    "naïve café, 日本語 and 😀",
    "line\nbreak\ttab",
    "",
    " ",
    "a",
]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def file(request, tmp_path_factory):
    """A model of 400 pieces with byte fallback, as LLaMA 2 has it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "text").write_text(bundled_text(), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        model_type=request.param,
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@pytest.fixture(scope="module")
def oracle(file):
    return sentencepiece.SentencePieceProcessor(model_file=str(file))


def without_prefix(oracle, text: str) -> list[int]:
    """Ids of `text` after something that merges with nothing: no space is put before it."""
    before = oracle.encode("<>")
    assert oracle.is_byte(before[-1])
    return oracle.encode("<>" + text)[len(before) :]


@pytest.fixture(scope="module")
def tokenizer(file):
    return Tokenizer.from_file(file)


def configured(file, tmp_path, **settings) -> Tokenizer:
    shutil.copy(file, tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return Tokenizer.from_file(tmp_path / "tokenizer.model")


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_are_those_of_sentencepiece(tokenizer, oracle, text):
    ids = oracle.encode(text)
    assert tokenizer.encode(text, add_bos=False) == ids
    assert tokenizer.encode(text) == [oracle.bos_id(), *ids]
    assert tokenizer.decode(ids) == oracle.decode(ids) == text
    assert tokenizer.decode([oracle.bos_id(), *ids, oracle.eos_id()]) == text


def test_characters_that_no_piece_has_become_bytes(tokenizer, oracle):
    ids = tokenizer.encode("😀", add_bos=False)
    assert [oracle.is_byte(token) for token in ids[-4:]] == [True] * 4
    detokenizer = tokenizer.detokenizer()
    assert "".join(detokenizer.push(token) for token in ids[:-1]).strip() == ""
    assert detokenizer.push(ids[-1]) == "😀"


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(tokenizer, text):
    detokenizer = tokenizer.detokenizer()
    pieces = [detokenizer.push(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) + detokenizer.flush() == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_text_that_continues_a_prompt_keeps_its_leading_space(tokenizer, oracle):
    prompt = tokenizer.encode("The mill")
    rest = oracle.encode("at the river")  # its first piece begins with a space
    detokenizer = tokenizer.detokenizer(prompt)
    assert "".join(detokenizer.push(token) for token in rest) == " at the river"


def test_any_tokens_stream_to_what_they_decode_to(tokenizer):
    rng = random.Random(0)
    for _ in range(200):
        tokens = [rng.randrange(tokenizer.vocab_size) for _ in range(30)]
        detokenizer = tokenizer.detokenizer()
        text = "".join(detokenizer.push(token) for token in tokens) + detokenizer.flush()
        assert text == tokenizer.decode(tokens)


def test_special_tokens_in_a_text_are_tokens(tokenizer, oracle):
    ids = tokenizer.encode("<s>The mill</s>The river", add_bos=False)
    assert ids == [
        oracle.bos_id(), *oracle.encode("The mill"), oracle.eos_id(), *oracle.encode("The river")
    ]  # fmt: skip
    assert tokenizer.special_tokens == {"<s>": oracle.bos_id(), "</s>": oracle.eos_id()}
    assert tokenizer.decode(ids, skip_special=False) == "<s>The mill</s>The river"
    assert tokenizer.id_to_token(oracle.eos_id()) == "</s>"
    assert tokenizer.token_to_id("</s>") == oracle.eos_id()
    assert tokenizer.token_to_id("no such piece") is None
    assert tokenizer.id_to_token(10**6) is None


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({"add_bos_token": False}, [], []),
        ({"add_eos_token": True}, [1], [2]),
        ({"add_bos_token": False, "add_eos_token": True}, [], [2]),
        ({"add_bos_token": None}, [1], []),
    ],
)
def test_the_settings_say_what_goes_around_a_text(file, oracle, tmp_path, settings, before, after):
    tokenizer = configured(file, tmp_path, **settings)
    assert tokenizer.encode("The mill") == [*before, *oracle.encode("The mill"), *after]
    assert tokenizer.encode("The mill", add_bos=False) == oracle.encode("The mill")


@pytest.mark.parametrize("name", ["add_dummy_prefix", "add_prefix_space"])
def test_the_settings_may_take_the_first_space_away(file, oracle, tmp_path, name):
    tokenizer = configured(file, tmp_path, **{name: False})
    ids = tokenizer.encode("river", add_bos=False)
    assert ids == without_prefix(oracle, "river") != oracle.encode("river")
    assert tokenizer.decode(ids) == "river"


def test_without_legacy_only_the_beginning_gets_a_space(file, oracle, tmp_path):
    tokenizer = configured(file, tmp_path, legacy=False)
    ids = tokenizer.encode("river</s>river", add_bos=False)
    assert ids == [*oracle.encode("river"), 2, *without_prefix(oracle, "river")]


def test_added_tokens_beyond_the_model_are_known(file, tmp_path):
    (tmp_path / "added_tokens.json").write_text('{"<plain>": 401}')
    decoder = {"400": {"content": "<|turn|>", "special": True}, "2": {"content": "</s>"}}
    tokenizer = configured(file, tmp_path, added_tokens_decoder=decoder)
    assert tokenizer.vocab_size == 402
    assert tokenizer.special_tokens["<|turn|>"] == 400
    ids = tokenizer.encode("<|turn|><plain>", add_bos=False)
    assert ids == [400, 401]
    assert tokenizer.decode(ids) == "<plain>"
    assert tokenizer.decode(ids, skip_special=False) == "<|turn|><plain>"
    with pytest.raises(ModelLoadError, match=r"401.*401 rows"):
        Tokenizer.from_file(tmp_path / "tokenizer.model", vocab_size=401)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a SentencePiece model"),
        (b"no model at all", "not a SentencePiece model"),
        (b"IQ== 0\nIg== 1\n", r"tiktoken vocabulary.*tokenizer\.json.*save_pretrained"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ModelLoadError, match=rf"tokenizer\.model.*{message}"):
        Tokenizer.from_file(tmp_path / "tokenizer.model")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_never_ends_the_process(file, tmp_path, share):
    content = file.read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelLoadError, match=r"tokenizer\.model"):
        Tokenizer.from_file(tmp_path / "tokenizer.model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"add_bos_token": "yes"}, "add_bos_token"),
        ({"added_tokens_decoder": {"-1": {"content": "a"}}}, "'-1'"),
        ({"added_tokens_decoder": {"5": "a"}}, "'5'"),
    ],
)
def test_settings_that_are_none_are_refused(file, tmp_path, settings, message):
    with pytest.raises(ModelLoadError, match=message):
        configured(file, tmp_path, **settings)


def test_without_the_package_the_error_says_how_to_get_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModelLoadError, match=r"pip install 'tritium\[sentencepiece\]'"):
        Tokenizer.from_file(file)


def test_a_model_without_tokenizer_json_runs_with_it(file, tmp_path):
    folder = shutil.copytree(tritium.load().folder, tmp_path / "model")
    assert find_tokenizer_file(folder) == folder / "tokenizer.json"
    shutil.copy(file, folder)
    assert find_tokenizer_file(folder) == folder / "tokenizer.json"
    (folder / "tokenizer.json").unlink()
    assert find_tokenizer_file(folder) == folder / "tokenizer.model"
    with LLM(folder) as llm:
        result = llm.generate("The mill", max_tokens=8)
        ids = llm.tokenizer.encode("The mill")
        assert result.token_ids == llm.generate(ids, max_tokens=8).token_ids
        assert result.prompt_tokens == len(ids)
