"""How is a SentencePiece `tokenizer.model` read, as transformers reads it for LLaMA models?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import ModelLoadError
from .loaders.inner_files import File, Folder
from .loaders.json_text import read_object

if TYPE_CHECKING:
    import sentencepiece

_MAX_BYTES = 64 << 20
# Lines of base64 and a rank: how tiktoken stores a vocabulary, as in Llama 3.
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")

# ModelProto.normalizer_spec.add_dummy_prefix, to be appended: protobuf merges it into the message.
_DUMMY_PREFIX = {False: b"\x1a\x02\x18\x00", True: b"\x1a\x02\x18\x01"}


class SentencePieceCodec:
    """A SentencePiece model, with the settings of `tokenizer_config.json` beside it.

    add_bos_token (default true) and add_eos_token (default false) say what goes around a text.
    add_dummy_prefix or add_prefix_space overrides the model's own choice to begin a text with a
    space. With legacy (default true), text after a special token begins with one, too.
    """

    def __init__(self, path: File) -> None:
        """ModelLoadError for a file that is none, and without the package sentencepiece."""
        content = _read(path)
        settings, added = _read_settings(path.parent)
        prefix = _flag(settings, "add_dummy_prefix", _flag(settings, "add_prefix_space", None))
        self._first = _processor(path, content, prefix)
        legacy = _flag(settings, "legacy", True)
        self._later = self._first if legacy else _processor(path, content, False)
        self._bos = self._first.bos_id() if _flag(settings, "add_bos_token", True) else -1
        self._eos = self._first.eos_id() if _flag(settings, "add_eos_token", False) else -1

        pieces = self._first.get_piece_size()
        control = {
            self._first.id_to_piece(i): i for i in range(pieces) if self._first.is_control(i)
        }
        # Tokens that the model does not know are only in the settings.
        self._beyond = {i: token for token, (i, _) in added.items() if i >= pieces}
        self.vocab_size = max([pieces, *(i + 1 for i in self._beyond)])
        self.special_tokens = control | {
            token: i for token, (i, special) in added.items() if special
        }
        self._whole = control | {token: i for token, (i, _) in added.items()}
        longest_first = sorted(filter(None, self._whole), key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._special_ids = frozenset(self.special_tokens.values())
        self._control_ids = frozenset(self._whole.values())
        self._spelling = {i: token for token, i in self._whole.items()}

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        ids = [self._bos] if add_special and self._bos >= 0 else []
        processor, start = self._first, 0
        for match in self._split.finditer(text):
            if match.start() > start:
                ids += processor.encode(text[start : match.start()])
            ids.append(self._whole[match.group()])
            processor, start = self._later, match.end()
        if start < len(text):
            ids += processor.encode(text[start:])
        if add_special and self._eos >= 0:
            ids.append(self._eos)
        return ids

    def decode(self, token_ids: list[int], *, skip_special: bool) -> str:
        text: list[str] = []
        run: list[int] = []  # joined over special tokens that are skipped
        for token in token_ids:
            if token >= self.vocab_size or (skip_special and token in self._special_ids):
                continue
            if token in self._control_ids:
                text += [self._first.decode(run), self._spelling[token]]
                run = []
            else:
                run.append(token)
        return "".join([*text, self._first.decode(run)])

    def token_to_id(self, token: str) -> int | None:
        if token in self._whole:
            return self._whole[token]
        found = self._first.piece_to_id(token)
        return None if found == self._first.unk_id() and token != self._unknown() else found

    def id_to_token(self, token_id: int) -> str | None:
        if token_id in self._spelling:
            return self._spelling[token_id]
        if not 0 <= token_id < self._first.get_piece_size():
            return None
        return self._first.id_to_piece(token_id)

    def _unknown(self) -> str:
        return self._first.id_to_piece(self._first.unk_id())


def _read(path: File) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ModelLoadError(
                f"[tokenizer] {path} has {size} bytes, expected at most {_MAX_BYTES}"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"[tokenizer] {path} cannot be read: {error}") from error
    if _TIKTOKEN.match(content):
        raise ModelLoadError(
            f"[tokenizer] {path} is a tiktoken vocabulary, not a SentencePiece model; take "
            "tokenizer.json from the model's page on Hugging Face, or let transformers write it: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    return content


def _processor(
    path: File, content: bytes, dummy_prefix: bool | None
) -> sentencepiece.SentencePieceProcessor:
    try:
        import sentencepiece
    except ImportError as error:
        raise ModelLoadError(
            f"[tokenizer] {path} needs the package sentencepiece: "
            "pip install 'tritium[sentencepiece]'"
        ) from error
    processor = sentencepiece.SentencePieceProcessor()
    if dummy_prefix is not None:
        content += _DUMMY_PREFIX[dummy_prefix]
    try:
        processor.load_from_serialized_proto(content)
    except Exception as error:  # the library raises RuntimeError and others
        raise ModelLoadError(
            f"[tokenizer] {path} is not a SentencePiece model: {' '.join(str(error).split())}"
        ) from error
    return processor


def _read_settings(folder: Folder) -> tuple[dict[str, Any], dict[str, tuple[int, bool]]]:
    """(tokenizer_config.json, token -> (id, special) of the tokens that it or added_tokens.json
    adds)."""
    config, tokens = folder / "tokenizer_config.json", folder / "added_tokens.json"
    settings = read_object(config, "tokenizer") if config.is_file() else {}
    listed = read_object(tokens, "tokenizer") if tokens.is_file() else {}
    added = {token: (i, False) for token, i in listed.items() if type(i) is int and i >= 0}
    decoder = settings.get("added_tokens_decoder")
    for key, value in (decoder if isinstance(decoder, dict) else {}).items():
        token = value.get("content") if isinstance(value, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[0-9]{1,9}", key):
            raise ModelLoadError(
                f"[tokenizer] {config}, added_tokens_decoder: {key!r} is no id with a token"
            )
        added[token] = (int(key), value.get("special") is True)
    return settings, added


def _flag(settings: dict[str, Any], name: str, default: Any) -> Any:
    value = settings.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ModelLoadError(f"[tokenizer] tokenizer_config.json, {name}: {value!r} is no flag")
    return value
