"""How does one get text out of a language model?"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast, overload

import numpy as np

from . import _core
from .chat import ChatFormat, Message, check_messages, find_chat_format
from .conversation import Conversation
from .engine import InferenceEngine
from .errors import BatchProcessingError, ModelLoadError
from .generation import PROMPT_TOKENS_PER_STEP, Request, generate_chunks
from .items import as_token_ids
from .model import LanguageModel, Model, as_language_model, load
from .sampling import SamplingOptions
from .slots import FedSequence, Slots
from .streaming import GenerationResult, TextBuilder, TextChunk, join
from .tokenizer import Tokenizer, find_tokenizer_file

if TYPE_CHECKING:
    import asyncio

    from numpy.typing import NDArray

Prompt: TypeAlias = "str | Sequence[int] | NDArray[np.integer]"
"""Text, or token ids (tokens,) that are fed as they are."""


class LLM:
    """A language model ready to answer. Several threads may use it; their steps take turns.

    source_or_model: a folder, a hub id, a loaded Model, or None for the bundled model. device,
    fallback: where it runs, "auto" or one of `tritium.devices()`, and whether the CPU takes over
    what that cannot, as in InferenceEngine. context_size: tokens of prompt and answer together;
    default the model's, at most 4096. threads: default the performance cores. memory_pool_size,
    memory_limit: bytes of working memory and of everything that the engine allocates, as in
    InferenceEngine.
    max_sequences: answers that can be in the making at once; more have to wait.
    optimization_level: "none", "basic" or "aggressive", ternary_format: "auto", "2bit" or "1.6bit",
    as in InferenceEngine.
    cache_dir, max_cache_size: the packed weights of large models, as in `InferenceEngine`.
    kv_dtype: how keys and values of past tokens are kept: "f16", or "int8" in half the memory and
    with less precision.
    head: how the output head is read. "full": as it lies in the file. "screened": the same tokens
    from a copy in 4 bits and the few rows that it leaves open; "screened8": in 8 bits, with a
    certain bound. "int8", "int4": only the copy, with other results. "auto": "screened" for a large
    head, else "full".

    ModelLoadError if the model or its tokenizer cannot be used, DeviceError if the device or the
    thread count cannot be met, MemoryLimitError if the plan needs more memory than the limit,
    OptimizationError for a kv_dtype or a head that is unknown or that the model cannot have, or the
    device.
    """

    def __init__(
        self,
        source_or_model: str | Path | Model | None = None,
        device: str = "auto",
        *,
        fallback: bool = False,
        context_size: int | None = None,
        threads: int | None = None,
        memory_pool_size: int | str = "512MB",
        memory_limit: int | str | None = None,
        max_sequences: int = 8,
        optimization_level: str = "basic",
        ternary_format: str = "auto",
        cache_dir: str | os.PathLike[str] | None = "auto",
        max_cache_size: int = 16_000_000_000,
        kv_dtype: str = "f16",
        head: str = "auto",
    ) -> None:
        self._model = _language_model(source_or_model)
        self._tokenizer = self._load_tokenizer()
        self._engine = InferenceEngine(
            device,
            fallback=fallback,
            threads=threads,
            memory_pool_size=memory_pool_size,
            memory_limit=memory_limit,
            optimization_level=optimization_level,
            ternary_format=ternary_format,
            cache_dir=cache_dir,
            max_cache_size=max_cache_size,
        )
        if context_size is not None:
            _check_count("context_size", context_size, 1, self._model.config.context_length)
        _check_count("max_sequences", max_sequences, 1, None)
        session = _core.Session(
            self._engine.core,
            self._model.core,
            context_size,
            max_sequences,
            kv_dtype=kv_dtype,
            head=head,
        )
        self._slots: Slots | None = Slots(session, max_sequences)
        self._context_size = session.context_size
        self._plan = session.plan
        self._chat_format: ChatFormat | None = None

    def _load_tokenizer(self) -> Tokenizer | None:
        file = self._model.tokenizer_file or find_tokenizer_file(self._model.files)
        if file is None:
            return None
        return Tokenizer.from_file(file, vocab_size=self._model.config.vocab_size)

    @property
    def model(self) -> LanguageModel:
        return self._model

    @property
    def tokenizer(self) -> Tokenizer | None:
        """None where the model comes without one; prompts are token ids then."""
        return self._tokenizer

    @property
    def engine(self) -> InferenceEngine:
        return self._engine

    @property
    def context_size(self) -> int:
        """Tokens of prompt and answer together."""
        return self._context_size

    @property
    def plan(self) -> _core.ExecutionPlan:
        """The steps that the engine runs, and their memory."""
        return self._plan

    @overload
    def generate(  # type: ignore[overload-overlap]  # text is a sequence of texts, too
        self,
        prompt: Prompt,
        *,
        max_tokens: int = ...,
        sampling: SamplingOptions | None = ...,
        stop: str | Sequence[str] | None = ...,
        logprobs: int | None = ...,
    ) -> GenerationResult: ...
    @overload
    def generate(
        self,
        prompt: Sequence[Prompt],
        *,
        max_tokens: int = ...,
        sampling: SamplingOptions | None = ...,
        stop: str | Sequence[str] | None = ...,
        logprobs: int | None = ...,
    ) -> list[GenerationResult]: ...
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        max_tokens: int = 128,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> GenerationResult | list[GenerationResult]:
        """The whole answer to a prompt; for a list of prompts, a list of answers in the same order.

        A list is worked on together, and each answer is what its prompt alone would get. Parameters
        as in `stream`.
        """
        batch = _is_batch(prompt)
        prompts = cast("list[Prompt]", list(prompt) if batch else [prompt])
        requests = self._requests(prompts, max_tokens, sampling, stop, logprobs)
        chunks: list[list[TextChunk]] = [[] for _ in requests]
        with closing(generate_chunks(self._open_slots(), requests, check=self._check_open)) as run:
            for index, chunk in run:
                chunks[index].append(chunk)
        results = [join(own) for own in chunks]
        return results if batch else results[0]

    def stream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 128,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> Generator[TextChunk, None, None]:
        """The answer to a prompt, chunk by chunk as it is made.

        max_tokens: most tokens to generate; fewer where the context ends. sampling: default greedy.
        stop: strings that end the answer and are not part of it. logprobs: n adds log-probabilities
        of each token and of the n likeliest ones.

        Closing the iterator ends the work and frees its memory. The request is checked before
        anything is computed: BatchProcessingError if the prompt is empty, longer than the context
        or holds ids out of range, or if an option is out of range; ModelLoadError for text without
        a tokenizer.
        """
        requests = self._requests([prompt], max_tokens, sampling, stop, logprobs)
        return self._stream(self._open_slots(), requests, self._check_open)

    def astream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 128,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> AsyncGenerator[TextChunk, None]:
        """`stream` for asyncio: the work is done in a thread of its own.

        Cancelling the task or closing the iterator ends the work after its current step, and waits
        for that.
        """
        requests = self._requests([prompt], max_tokens, sampling, stop, logprobs)
        return self._astream(self._open_slots(), requests)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 512,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> GenerationResult:
        """The model's answer to a conversation, written in the form that it was trained on.

        messages: dicts such as {"role": "user", "content": "Hello"}, the oldest first; roles are
        "system", "user" and "assistant". Other parameters and errors as in `stream_chat`.
        """
        return join(
            self.stream_chat(
                messages, max_tokens=max_tokens, sampling=sampling, stop=stop, logprobs=logprobs
            )
        )

    def stream_chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 512,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> Generator[TextChunk, None, None]:
        """`chat`, chunk by chunk as the answer is made. Parameters as in `stream`.

        The answer ends with the model's end tokens and with what its template writes after an
        answer. Errors as in `stream`, and ModelLoadError if the model has no chat template, or one
        that is broken; BatchProcessingError if the template refuses these messages.
        """
        request = self._chat_request(messages, max_tokens, sampling, stop, logprobs)
        return self._stream(self._open_slots(), [request], self._check_open)

    def conversation(
        self,
        *,
        system: str | None = None,
        max_tokens: int = 512,
        sampling: SamplingOptions | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Conversation:
        """A chat that goes on: each turn feeds only what the model has not read yet.

        system: a first message that says how to answer. Other parameters hold for each turn; errors
        as in `stream_chat`. It takes one of `max_sequences` until it is closed.
        """
        slots = self._open_slots()
        self.chat_format  # noqa: B018  # a model that cannot chat says so now

        def request(messages: Sequence[Message]) -> Request:
            return self._chat_request(messages, max_tokens, sampling, stop, None)

        return Conversation(slots, request, self._check_open, system=system)

    @property
    def chat_format(self) -> ChatFormat:
        """How this model writes a conversation, and what ends an answer.

        ModelLoadError if it has no chat template, or one that is broken.
        """
        if self._chat_format is None:
            self._chat_format = find_chat_format(self._model, self._need_tokenizer("a chat"))
        return self._chat_format

    def logits(self, token_ids: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Logits after each of `token_ids` (tokens,): float32 (tokens, vocab_size).

        BatchProcessingError as in `stream`.
        """
        ids = self._prompt_ids(token_ids, "logits")
        result = np.empty((len(ids), self._model.config.vocab_size), np.float32)
        with self.open_sequence() as sequence:
            for start in range(0, len(ids), PROMPT_TOKENS_PER_STEP):
                piece = ids[start : start + PROMPT_TOKENS_PER_STEP]
                result[start : start + len(piece)] = sequence.logits(piece)
        return result

    def open_sequence(self) -> FedSequence:
        """An empty sequence to be fed by hand; one of `max_sequences` until it is closed."""
        return FedSequence(self._open_slots(), self._check_open)

    def close(self) -> None:
        """Give the memory back. Streams still open end with BatchProcessingError. May be called
        again.
        """
        self._slots = None

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open_slots(self) -> Slots:
        if self._slots is None:
            raise BatchProcessingError("[llm] this LLM is closed")
        return self._slots

    def _check_open(self) -> None:
        self._open_slots()

    @staticmethod
    def _stream(
        slots: Slots, requests: list[Request], check: Callable[[], None]
    ) -> Generator[TextChunk, None, None]:
        with closing(generate_chunks(slots, requests, check=check)) as run:
            for _, chunk in run:
                yield chunk

    async def _astream(
        self, slots: Slots, requests: list[Request]
    ) -> AsyncGenerator[TextChunk, None]:
        import asyncio  # who listens has it already, everyone else need not pay for it

        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[TextChunk | BaseException | None] = asyncio.Queue()
        cancelled = threading.Event()

        def check() -> None:
            if cancelled.is_set():
                raise _Cancelled
            self._check_open()

        def send(item: TextChunk | BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:  # the loop is closed: nobody listens
                cancelled.set()

        def work() -> None:
            try:
                for chunk in self._stream(slots, requests, check):
                    send(chunk)
            except _Cancelled:
                pass
            except BaseException as error:
                send(error)
            send(None)

        threading.Thread(target=work, name="tritium-stream", daemon=True).start()
        running = True
        try:
            while running:
                item = await queue.get()
                if item is None:
                    running = False
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            cancelled.set()
            while running:
                running = await queue.get() is not None

    def _chat_request(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        sampling: SamplingOptions | None,
        stop: str | Sequence[str] | None,
        logprobs: int | None,
    ) -> Request:
        checked = check_messages(messages)
        form = self.chat_format
        text = form.render(checked, add_generation_prompt=True)
        # The template has written the begin token itself, where there is one.
        ids = self._need_tokenizer("a chat").encode(text, add_bos=False)
        stops = (*form.stop, *self._stop_strings(stop))
        [request] = self._requests([ids], max_tokens, sampling, stops, logprobs)
        return replace(request, end_ids=request.end_ids | form.end_ids)

    def _requests(
        self,
        prompts: list[Prompt],
        max_tokens: int,
        sampling: SamplingOptions | None,
        stop: str | Sequence[str] | None,
        logprobs: int | None,
    ) -> list[Request]:
        started = time.perf_counter()
        _check_count("max_tokens", max_tokens, 1, None)
        if logprobs is not None:
            _check_count("logprobs", logprobs, 0, self._model.config.vocab_size)
        stops = self._stop_strings(stop)
        options = sampling if sampling is not None else SamplingOptions()
        if not isinstance(options, SamplingOptions):
            raise BatchProcessingError(
                f"[llm] sampling is {type(options).__name__}, must be SamplingOptions"
            )
        options.check_ids(self._model.config.vocab_size)
        requests = []
        for index, prompt in enumerate(prompts):
            ids = self._prompt_ids(prompt, "prompt" if len(prompts) == 1 else f"prompt {index}")
            requests.append(
                Request(
                    prompt=ids,
                    # The last token is not fed, so it needs no place in the context.
                    max_tokens=min(max_tokens, self._context_size - len(ids) + 1),
                    sampling=options.to_core(logprobs=logprobs),
                    end_ids=frozenset(self._model.eos_token_ids),
                    text=self._text_builder(ids, stops),
                    emits_text=self._tokenizer is not None,
                    wants_logprobs=logprobs is not None,
                    started=started,
                )
            )
        return requests

    def _text_builder(self, prompt: list[int], stops: tuple[str, ...]) -> Callable[[], TextBuilder]:
        tokenizer = self._tokenizer
        if tokenizer is None:
            return lambda: TextBuilder(None)
        return lambda: TextBuilder(tokenizer.detokenizer(prompt), stops)

    def _prompt_ids(self, prompt: Prompt, where: str) -> list[int]:
        if isinstance(prompt, str):
            prompt = self._need_tokenizer("a text prompt").encode(prompt)
        ids = as_token_ids(prompt, vocab_size=self._model.config.vocab_size, where=where)
        if len(ids) > self._context_size:
            raise BatchProcessingError(
                f"[{where}] {len(ids)} tokens given, the context holds {self._context_size}"
            )
        return ids

    def _stop_strings(self, stop: str | Sequence[str] | None) -> tuple[str, ...]:
        if stop is None:
            return ()
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        for index, string in enumerate(stops):
            if not isinstance(string, str) or not string:
                raise BatchProcessingError(
                    f"[llm] stop string {index} is {string!r}, must be text that is not empty"
                )
        if stops:
            self._need_tokenizer("a stop string")
        return stops

    def _need_tokenizer(self, what: str) -> Tokenizer:
        if self._tokenizer is None:
            raise ModelLoadError(
                f"[tokenizer] {self._model.folder / 'tokenizer.json'} is missing, "
                f"{what} needs it; token ids work without"
            )
        return self._tokenizer


class _Cancelled(Exception):
    """The listener of an asynchronous stream has gone."""


def _is_batch(prompt: Prompt | Sequence[Prompt]) -> bool:
    """Whether `prompt` is several prompts: a sequence whose first element is a text or a sequence
    itself.
    """
    if isinstance(prompt, str):
        return False
    if isinstance(prompt, np.ndarray):
        return prompt.ndim == 2
    if not isinstance(prompt, Sequence):
        raise BatchProcessingError(
            f"[prompt] got {type(prompt).__name__}, must be text, token ids or a list of these"
        )
    return len(prompt) > 0 and isinstance(prompt[0], (str, Sequence, np.ndarray))


def _language_model(source_or_model: str | Path | Model | None) -> LanguageModel:
    model = source_or_model if isinstance(source_or_model, Model) else load(source_or_model)
    return as_language_model(model)


def _check_count(name: str, value: int, low: int, high: int | None) -> None:
    allowed = f">= {low}" if high is None else f"in [{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, int):
        raise BatchProcessingError(f"[llm] {name} is {value!r}, must be an integer {allowed}")
    if value < low or (high is not None and value > high):
        raise BatchProcessingError(f"[llm] {name} is {value}, must be {allowed}")
