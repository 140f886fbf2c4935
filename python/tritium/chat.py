"""How does a checkpoint write a conversation, and what ends an answer?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .chat_template import MAX_TEMPLATE_BYTES, ChatTemplate
from .errors import BatchProcessingError, ModelLoadError
from .loaders.inner_files import File, Folder
from .loaders.json_text import read_object, shown

if TYPE_CHECKING:
    from .model import LanguageModel
    from .tokenizer import Tokenizer

Message: TypeAlias = "Mapping[str, Any]"
"""{"role": "user", "content": "Hello"}; roles are "system", "user" and "assistant"."""

_TEMPLATE_FILE = "chat_template.jinja"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_TEMPLATE_JSON = "chat_template.json"
_SPECIAL_TOKENS = "special_tokens_map.json"

_ANSWER, _QUESTION = "tritiumanswer", "tritiumquestion"


class Renderer(Protocol):
    """Writes messages as the text that the model was trained on."""

    def __call__(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str: ...


@dataclass(frozen=True)
class ChatFormat:
    """How a checkpoint writes a conversation."""

    render: Renderer
    end_ids: frozenset[int]
    """Tokens that end an answer, beside the model's own end tokens."""
    stop: tuple[str, ...]
    """Texts that end an answer, where the format ends it by text."""
    source: str
    """Where the format comes from, for people."""


def check_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as dicts. BatchProcessingError if they are no conversation."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise BatchProcessingError(
            f"[chat] messages are {type(messages).__name__}, must be a list of "
            '{"role": ..., "content": ...}'
        )
    if not messages:
        raise BatchProcessingError("[chat] 0 messages given, at least 1 is needed")
    checked = []
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise BatchProcessingError(
                f"[chat] message {index} is {type(message).__name__}, must be a dict"
            )
        for field in ("role", "content"):
            value = message.get(field)
            if not isinstance(value, str) or (field == "role" and not value):
                raise BatchProcessingError(
                    f"[chat] {field} of message {index} is {shown(value)}, must be text"
                )
        try:
            checked.append(json.loads(json.dumps(dict(message))))
        except (TypeError, ValueError, RecursionError) as error:
            raise BatchProcessingError(
                f"[chat] message {index} cannot be written as JSON: {error}"
            ) from None
    return checked


def find_chat_format(model: LanguageModel, tokenizer: Tokenizer) -> ChatFormat:
    """The format of a checkpoint: its own template, or what is known of it.

    ModelLoadError if it has none: a base model continues text and does not chat.
    """
    found = _read_template(model.files)
    if found is not None:
        template = ChatTemplate(*found)
        render: Renderer = _TemplateRenderer(template, _special_tokens(model, tokenizer))
        source = found[1]
    elif _is_bitnet_2b(model, tokenizer):
        render, source = _render_bitnet_2b, "built in, for microsoft/bitnet-b1.58-2B-4T"
    else:
        raise ModelLoadError(
            f"[chat] {model.name} has no chat template ({_TEMPLATE_FILE}, or chat_template in "
            f"{_TOKENIZER_CONFIG}): it is a base model that continues text; use `tritium run` or "
            "LLM.generate"
        )
    end_ids, stop = find_turn_end(render, tokenizer)
    return ChatFormat(render, end_ids, stop, source)


def find_turn_end(render: Renderer, tokenizer: Tokenizer) -> tuple[frozenset[int], tuple[str, ...]]:
    """What a format writes after an answer: (special tokens, texts), each possibly empty.

    An answer is rendered, and what follows it is looked at up to the next question: the first
    special token there, and text before that which is not only white space.
    """
    asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _ANSWER}]
    for messages in ([*asked, {"role": "user", "content": _QUESTION}], asked):
        try:
            text = render(messages, add_generation_prompt=False)
        except BatchProcessingError:  # this order of messages is not for that template
            continue
        _, answered, tail = text.rpartition(_ANSWER)
        if not answered:
            continue
        tail = tail.partition(_QUESTION)[0]
        places = [
            (place, -len(token), token)
            for token in tokenizer.special_tokens
            if token and (place := tail.find(token)) >= 0
        ]
        if not places:
            stop = tail.rstrip()
            return frozenset(), (stop,) if stop.strip() else ()
        place, _, token = min(places)
        stop = tail[:place].rstrip()
        return frozenset([tokenizer.special_tokens[token]]), (stop,) if stop.strip() else ()
    return frozenset(), ()


class _TemplateRenderer:
    """Renders with a checkpoint's template, as transformers' apply_chat_template does."""

    def __init__(self, template: ChatTemplate, special_tokens: dict[str, str]) -> None:
        self._template = template
        self._special_tokens = special_tokens

    def __call__(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        return self._template.render(
            {
                **self._special_tokens,
                "messages": list(messages),
                "tools": None,
                "documents": None,
                "add_generation_prompt": add_generation_prompt,
            }
        )


def _render_bitnet_2b(messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The form that microsoft/bitnet-b1.58-2B-4T was tuned on."""
    turns = [f"{m['role'].capitalize()}: {m['content'].strip()}<|eot_id|>" for m in messages]
    return "".join(["<|begin_of_text|>", *turns, "Assistant: " if add_generation_prompt else ""])


def _is_bitnet_2b(model: LanguageModel, tokenizer: Tokenizer) -> bool:
    """Whether this is that model, by its architecture, its sizes and its tokens."""
    config = model.config
    sizes = (config.hidden_size, config.layers, config.vocab_size)
    return (
        config.architecture == "bitnet"
        and sizes == (2560, 30, 128256)
        and tokenizer.token_to_id("<|begin_of_text|>") == 128000
        and tokenizer.token_to_id("<|end_of_text|>") == 128001
        and tokenizer.token_to_id("<|eot_id|>") == 128009
    )


def _read_template(folder: Folder) -> tuple[str, str] | None:
    """(template, where it comes from), or None. A file of its own wins, as in transformers."""
    file = folder / _TEMPLATE_FILE
    if file.is_file():
        return _read_text(file), str(file)
    for name in (_TOKENIZER_CONFIG, _TEMPLATE_JSON):
        path = folder / name
        if not path.is_file():
            continue
        value = read_object(path, "chat template").get("chat_template")
        where = f"{path}, chat_template"
        if isinstance(value, list):
            value = _default_of(value, where)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ModelLoadError(
                f"[chat template] {where}: got {shown(value)}, expected text or a list of templates"
            )
        return value, where
    return None


def _default_of(templates: list[Any], where: str) -> Any:
    """The template named "default" of [{"name", "template"}, ...], else the only one."""
    named = {
        entry.get("name"): entry.get("template")
        for entry in templates
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    if len(named) != len(templates):
        raise ModelLoadError(
            f"[chat template] {where}: expected a list of objects with different names and their "
            "templates"
        )
    if "default" in named or len(named) != 1:
        return named.get("default")
    return next(iter(named.values()))


def _read_text(file: File) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_TEMPLATE_BYTES + 1)
    except OSError as error:
        raise ModelLoadError(
            f"[chat template] {file}: cannot be read ({error.strerror or error})"
        ) from error
    if len(content) > MAX_TEMPLATE_BYTES:
        size = file.stat().st_size
        raise ModelLoadError(
            f"[chat template] {file}: {size} bytes, expected at most {MAX_TEMPLATE_BYTES}"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelLoadError(
            f"[chat template] {file}: not UTF-8 at byte {error.start} of {len(content)}"
        ) from None


def _special_tokens(model: LanguageModel, tokenizer: Tokenizer) -> dict[str, str]:
    """bos_token, eos_token and the like, as templates name them."""
    found: dict[str, str] = {}
    for name in (_SPECIAL_TOKENS, _TOKENIZER_CONFIG):
        path = model.files / name
        if not path.is_file():
            continue
        for field, value in read_object(path, "tokenizer").items():
            token = value.get("content") if isinstance(value, dict) else value
            if field.endswith("_token") and isinstance(token, str):
                found[field] = token
    ids = {"bos_token": model.bos_token_id, "eos_token": next(iter(model.eos_token_ids), None)}
    for field, token_id in ids.items():
        if field not in found and token_id is not None:
            token = tokenizer.id_to_token(token_id)
            if token is not None:
                found[field] = token
    return found
