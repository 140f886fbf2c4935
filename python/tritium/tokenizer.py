"""How does text become token ids, and token ids text?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, overload

from .errors import BatchProcessingError, ModelLoadError
from .loaders.inner_files import File, Folder, InnerFile

_REPLACEMENT = "\ufffd"
# A character is at most four bytes, hence four tokens: a much longer run is no character.
_LONGEST_RUN = 64

JSON_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "tokenizer.model"


@overload
def find_tokenizer_file(folder: Path) -> Path | None: ...
@overload
def find_tokenizer_file(folder: Folder) -> File | None: ...
def find_tokenizer_file(folder: Folder) -> File | None:
    """tokenizer.json, else tokenizer.model, else None."""
    for name in (JSON_FILE, SENTENCEPIECE_FILE):
        if (folder / name).is_file():
            return folder / name
    return None


class Codec(Protocol):
    """What reads a kind of tokenizer file. Texts are Unicode, ids are not negative."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def special_tokens(self) -> dict[str, int]: ...
    def encode(self, text: str, *, add_special: bool) -> list[int]: ...
    def decode(self, token_ids: list[int], *, skip_special: bool) -> str: ...
    def token_to_id(self, token: str) -> int | None: ...
    def id_to_token(self, token_id: int) -> str | None: ...


class Tokenizer:
    """The tokenizer of a model. Immutable; several threads may use it."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    @classmethod
    def from_file(cls, path: str | File, *, vocab_size: int | None = None) -> Tokenizer:
        """Read `tokenizer.json`, or a SentencePiece `tokenizer.model` with what
        `tokenizer_config.json` beside it says.

        vocab_size: rows of the model's embedding. ModelLoadError if the file is missing or broken,
        if it knows more tokens than that, or if reading it needs a package that is not installed.
        """
        path = path if isinstance(path, InnerFile) else Path(path)
        if not path.is_file():
            raise ModelLoadError(f"[tokenizer] {path} does not exist")
        if path.suffix == ".model":
            from .sentencepiece_codec import SentencePieceCodec

            tokenizer = cls(SentencePieceCodec(path))
        else:
            tokenizer = cls(_JsonCodec(path))
        if vocab_size is not None and tokenizer.vocab_size > vocab_size:
            raise ModelLoadError(
                f"[tokenizer] {path} has ids up to {tokenizer.vocab_size - 1}, "
                f"the model's embedding has {vocab_size} rows"
            )
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """One more than the largest token id."""
        return self._codec.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Spelling and id of the tokens that stand for no text, such as the begin token."""
        return self._codec.special_tokens

    def encode(self, text: str, *, add_bos: bool = True) -> list[int]:
        """Token ids of `text`.

        add_bos: also what the tokenizer's post-processor puts around a text, normally the begin
        token. BatchProcessingError if the text holds half of a surrogate pair.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BatchProcessingError(
                f"[tokenizer] the text is not Unicode: {text[error.start]!r} "
                f"at position {error.start}"
            ) from None
        return self._codec.encode(text, add_special=add_bos)

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of `token_ids`. Bytes that are no character become U+FFFD."""
        ids = [int(token) for token in token_ids]
        if any(token < 0 for token in ids):
            raise BatchProcessingError(f"[tokenizer] token id {min(ids)} is negative")
        return self._codec.decode(ids, skip_special=skip_special)

    def token_to_id(self, token: str) -> int | None:
        """The id of one token by its spelling, None if there is none."""
        return self._codec.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        """The spelling of one token in the vocabulary (not its text), None if there is none."""
        return self._codec.id_to_token(token_id)

    def detokenizer(self, context: Sequence[int] = ()) -> Detokenizer:
        """An incremental decoder of what follows the token ids `context`."""
        return Detokenizer(self, context)


class _JsonCodec:
    """`tokenizer.json`, read by the library `tokenizers`."""

    def __init__(self, path: File) -> None:
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(path.read_bytes())
        except Exception as error:  # the library raises plain Exception
            raise ModelLoadError(f"[tokenizer] {path} cannot be read: {error}") from error
        added = self._tokenizer.get_added_tokens_decoder()
        self.vocab_size = max(self._tokenizer.get_vocab_size(), max(added, default=-1) + 1)
        self.special_tokens = {
            token.content: token_id for token_id, token in added.items() if token.special
        }

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=add_special).ids

    def decode(self, token_ids: list[int], *, skip_special: bool) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=skip_special)

    def token_to_id(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        return self._tokenizer.id_to_token(token_id)


class Detokenizer:
    """Turns tokens into text one by one and never splits a character.

    A character may be spread over several tokens; its text comes with the last of them. Only the
    last few tokens are decoded again for each new one. Those before them serve as context, because
    some decoders treat the first token of a text specially (they drop its leading space).
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # tokens whose text is out already
        self._base = ""  # their text
        self._tail: list[int] = []  # tokens whose text is not out, or only in part
        self._sent = ""  # the part of the tail's text that is out
        context = list(context[-8:])
        text = tokenizer.decode(context)
        if context and not text.endswith(_REPLACEMENT):
            self._context, self._base = context, text

    def push(self, token: int) -> str:
        """The characters that `token` completes, possibly none."""
        self._tail.append(token)
        text = self._tail_text()
        if not text.startswith(self._sent):  # some decoders look again at bytes they had accepted
            return ""
        complete = text.rstrip(_REPLACEMENT) if len(self._tail) < _LONGEST_RUN else text
        new = complete[len(self._sent) :]
        if complete == text:
            self._settle(text)
        elif new:
            self._sent = complete
        return new

    def flush(self) -> str:
        """What is still held back, at the end of the text: incomplete characters as U+FFFD."""
        new = self._tail_text()[len(self._sent) :]
        self._settle(_REPLACEMENT)
        return new

    def _settle(self, text: str) -> None:
        """All of the tail's text is out: let the tail be the context of what comes."""
        if text.endswith(_REPLACEMENT):
            self._context, self._base = [], ""
        elif text:
            self._context, self._base = self._tail, self._tokenizer.decode(self._tail)
        elif self._tail:  # it may be a space that shows only before what follows
            self._context = (self._context + self._tail)[-_LONGEST_RUN:]
            self._base = self._tokenizer.decode(self._context)
        self._tail, self._sent = [], ""

    def _tail_text(self) -> str:
        return self._tokenizer.decode(self._context + self._tail)[len(self._base) :]
