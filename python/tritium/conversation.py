"""How does a chat go on without reading everything again?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from .chat import Message, check_messages
from .errors import BatchProcessingError
from .generation import Request, resume_chunks
from .slots import Slot, Slots
from .streaming import TextChunk


class Conversation:
    """Questions and answers with one model. `LLM.conversation` makes it.

    It holds one sequence of its LLM from the first question until `close`. Of each new question
    only the tokens are fed that the sequence does not hold yet; the answers are those of
    `LLM.chat` with the same messages. Where sampling is random, one seed serves all turns.
    """

    def __init__(
        self,
        slots: Slots,
        make_request: Callable[[Sequence[Message]], Request],
        check: Callable[[], None],
        *,
        system: str | None = None,
    ) -> None:
        self._slots = slots
        self._make_request = make_request
        self._check = check
        self._first = [] if system is None else check_messages(
            [{"role": "system", "content": system}]
        )  # fmt: skip
        self._messages = list(self._first)
        self._slot: Slot | None = None
        self._held: list[int] = []  # tokens in the sequence
        self._answering = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was said so far, the system message included."""
        return list(self._messages)

    def send(self, text: str) -> Generator[TextChunk, None, None]:
        """The answer to `text`, chunk by chunk as it is made; both join the messages.

        Closing the iterator early keeps what was answered until then. A turn that ends before any
        text leaves no trace. BatchProcessingError, before anything is computed, if the messages do
        not fit the context or the template refuses them, or if another answer is not finished.
        """
        messages = check_messages([*self._messages, {"role": "user", "content": text}])
        return self._answer(messages, self._make_request(messages))

    def clear(self) -> None:
        """Forget everything but the system message."""
        self._forbid_during_answer()
        self._messages = list(self._first)

    def close(self) -> None:
        """Give the sequence back. May be called again."""
        if self._slot is not None:
            self._slot.close()
            self._slot = None
        self._held = []

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answer(
        self, messages: list[dict[str, Any]], request: Request
    ) -> Generator[TextChunk, None, None]:
        self._forbid_during_answer()
        self._check()
        if self._slot is None:
            self._held = []
            self._slot = self._slots.open(request.sampling, check=self._check)
        slot = self._slot
        self._answering = True
        text: list[str] = []
        known = list(request.prompt)
        finished = False
        try:
            held = _common(self._held, request.prompt[:-1])
            self._keep(slot, self._held, held)
            for chunk in resume_chunks(self._slots, request, slot, held, check=self._check):
                known.extend(chunk.token_ids)
                text.append(chunk.text)
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            self._answering = False
            if finished or any(text):
                answer = {"role": "assistant", "content": "".join(text)}
                self._messages = [*messages, answer]
            if self._slot is slot:  # not closed meanwhile
                self._keep(slot, known, len(known))

    def _keep(self, slot: Slot, tokens: list[int], count: int) -> None:
        """Let the sequence, which begins with `tokens`, hold at most `count` of them."""
        length = self._slots.session.length(slot.sequence)
        if length > count:
            self._slots.session.truncate(slot.sequence, count)
        self._held = tokens[: min(length, count)]

    def _forbid_during_answer(self) -> None:
        if self._answering:
            raise BatchProcessingError("[chat] the last answer is not finished: close it first")


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the beginning that both share."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
