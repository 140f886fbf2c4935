"""Copies of the bundled base model that chat: a template, and special tokens that end a turn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tritium

# Rows of the embedding that the demo vocabulary uses for rare words become tokens of turns.
START, END = "<|turn|>", "<|done|>"
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}\n"
    "    {% if message['role'] not in ['system', 'user', 'assistant'] %}\n"
    "        {{ raise_exception('no role ' + message['role']) }}\n"
    "    {% endif %}\n"
    "{{ '<|turn|>' + message['role'] + '\\n' + message['content'] | trim + '<|done|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% endif %}"
)


def edit(file: Path, change) -> None:
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def write_chat_folder(
    folder: Path, template: Any = TEMPLATE, *, turn_tokens: tuple[str, ...] = (START, END)
) -> Path:
    """The bundled model with a template, and the last rows of its vocabulary as `turn_tokens`."""
    shutil.copytree(tritium.load().folder, folder)

    def rename_last(content: dict[str, Any]) -> None:
        vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
        spelling = {i: token for token, i in vocabulary.items()}
        for place, token in enumerate(turn_tokens):
            last = len(spelling) - 1 - place
            old = spelling[last]
            merges[:] = [
                m for m in merges if "".join(m if isinstance(m, list) else m.split()) != old
            ]
            del vocabulary[old]
            vocabulary[token] = last
            content["added_tokens"].append(
                {
                    "id": last,
                    "content": token,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
            )

    edit(folder / "tokenizer.json", rename_last)
    if template is not None:
        edit(folder / "tokenizer_config.json", lambda c: c.update(chat_template=template))
    return folder
