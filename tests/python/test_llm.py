"""LLM and InferenceEngine with the bundled model."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tritium
from tritium import (
    LLM,
    BatchProcessingError,
    DeviceError,
    InferenceEngine,
    MemoryLimitError,
    ModelLoadError,
    OptimizationError,
    SamplingOptions,
    _core,
)
from tritium.streaming import join

PROMPT = "Once upon a time"
PROMPTS = [
    PROMPT,
    "The little fox",
    "",
    "A girl named Lily went to the market with her mother. She",
]
WILD = SamplingOptions(temperature=4.0, seed=11)


@pytest.fixture(scope="module")
def model():
    return tritium.load()


@pytest.fixture(scope="module")
def llm(model):
    with LLM(model) as ready:
        yield ready


@pytest.fixture
def single(model):
    """One sequence only: whoever does not give it back blocks the next."""
    with LLM(model, max_sequences=1) as ready:
        yield ready


@pytest.fixture(scope="module")
def ids_only(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ids-only")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(model.folder / name, folder)
    with LLM(folder) as ready:
        yield ready


def tokens(count: int) -> list[int]:
    """Any valid prompt of `count` tokens."""
    return [5 + i % 200 for i in range(count)]


# Answers


def test_the_default_is_the_bundled_model(llm):
    with LLM() as default:
        assert default.model.name == "demo"
        assert (
            default.generate(PROMPT, max_tokens=8).token_ids
            == llm.generate(PROMPT, max_tokens=8).token_ids
        )


def test_the_answer_is_text_with_its_tokens_and_times(llm):
    result = llm.generate(PROMPT, max_tokens=12)
    assert result.text == llm.tokenizer.decode(result.token_ids)
    assert result.prompt_tokens == len(llm.tokenizer.encode(PROMPT))
    assert result.timings.generated_tokens == len(result.token_ids) <= 12
    assert 0 < result.timings.prefill_seconds <= result.timings.time_to_first_token


@pytest.mark.parametrize("sampling", [None, WILD])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_stream_joins_to_the_generated_answer(llm, prompt, sampling):
    chunks = list(llm.stream(prompt, max_tokens=40, sampling=sampling, logprobs=2))
    streamed = join(chunks)
    whole = llm.generate(prompt, max_tokens=40, sampling=sampling, logprobs=2)
    assert streamed.text == whole.text
    assert streamed.token_ids == whole.token_ids
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.logprobs == whole.logprobs
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all(chunk.text for chunk in chunks[:-1])


def test_text_and_its_token_ids_are_the_same_prompt(llm):
    ids = llm.tokenizer.encode(PROMPT)
    expected = llm.generate(PROMPT, max_tokens=8).token_ids
    for prompt in (ids, tuple(ids), np.array(ids), np.array(ids, np.uint16)):
        assert llm.generate(prompt, max_tokens=8).token_ids == expected


def test_random_tokens_never_split_a_character(llm):
    for seed in range(5):
        options = SamplingOptions(temperature=1000.0, seed=seed)
        chunks = list(llm.stream(PROMPT, max_tokens=60, sampling=options))
        joined = join(chunks)
        end = joined.finish_reason == "stop"
        answer = joined.token_ids[:-1] if end else joined.token_ids
        assert joined.text == llm.tokenizer.decode(answer)


def test_the_end_token_ends_the_answer(llm):
    ends = set(llm.model.eos_token_ids)
    assert ends
    for seed in range(20):
        options = SamplingOptions(temperature=1.0, seed=seed)
        result = llm.generate(PROMPT, max_tokens=400, sampling=options)
        assert not ends & set(result.token_ids[:-1])
        assert (result.token_ids[-1] in ends) == (result.finish_reason == "stop")
        if result.finish_reason == "stop":
            return
    pytest.fail("no answer of 20 reached an end token")


def test_the_answer_ends_with_the_context(model):
    with LLM(model, context_size=64) as small:
        options = SamplingOptions(temperature=1000.0, seed=1)
        for seed in range(1, 20):
            options = SamplingOptions(temperature=1000.0, seed=seed)
            result = small.generate(tokens(60), max_tokens=100, sampling=options)
            if result.finish_reason == "length":
                break
        assert result.finish_reason == "length"
        assert len(result.token_ids) == 5  # the last one need not be fed
        assert len(small.generate(tokens(64), max_tokens=100).token_ids) == 1


# Stop strings


def test_a_stop_string_is_never_part_of_the_answer(llm):
    whole = llm.generate(PROMPT, max_tokens=60).text
    for start, length in ((5, 1), (9, 4), (17, 12), (1, 2)):
        stop = whole[start : start + length]
        expected = whole[: whole.index(stop)]
        result = llm.generate(PROMPT, max_tokens=60, stop=[stop, "never in the text \u2603"])
        assert (result.text, result.finish_reason) == (expected, "stop_string")
        chunks = list(llm.stream(PROMPT, max_tokens=60, stop=stop))
        assert "".join(chunk.text for chunk in chunks) == expected
        assert chunks[-1].finish_reason == "stop_string"


def test_a_stop_string_over_token_borders_is_found(llm):
    result = llm.generate(PROMPT, max_tokens=40)
    pieces = [llm.tokenizer.decode([token]) for token in result.token_ids]
    stop = pieces[4][-1:] + pieces[5] + pieces[6][:1]
    stopped = llm.generate(PROMPT, max_tokens=40, stop=stop)
    assert stopped.text == result.text[: result.text.index(stop)]
    assert len(stopped.token_ids) <= 7


def test_text_held_back_for_a_stop_string_comes_at_the_end(llm):
    whole = llm.generate(PROMPT, max_tokens=20).text
    result = llm.generate(PROMPT, max_tokens=20, stop=whole[-5:] + "\u2603")
    assert result.text == whole


# The same answer whatever the circumstances


def test_a_batch_gives_each_prompt_the_answer_it_gets_alone(llm):
    prompts = [*PROMPTS, llm.tokenizer.encode("The bear"), tokens(300)] * 2  # more than sequences
    for sampling in (None, WILD):
        together = llm.generate(prompts, max_tokens=24, sampling=sampling, logprobs=1)
        for prompt, result in zip(prompts, together, strict=True):
            alone = llm.generate(prompt, max_tokens=24, sampling=sampling, logprobs=1)
            assert result.token_ids == alone.token_ids
            assert result.text == alone.text
            assert result.logprobs == alone.logprobs


def test_one_and_two_threads_give_the_same_bits(model):
    ids = tokens(70)
    answers, logits = [], []
    for threads in (1, 2):
        with LLM(model, threads=threads) as ready:
            assert ready.engine.threads == threads
            answers.append(ready.generate(PROMPTS, max_tokens=30))
            logits.append(ready.logits(ids))
    assert [r.token_ids for r in answers[0]] == [r.token_ids for r in answers[1]]
    assert np.array_equal(logits[0], logits[1])


@pytest.mark.parametrize("sizes", [[1] * 70, [69, 1], [3, 64, 3], [35, 35], [2, 5, 11, 23, 29]])
def test_a_prompt_fed_in_pieces_equals_the_whole(model, sizes):
    session = _core.Session(InferenceEngine().core, model.core, None, 2)
    ids = tokens(70)
    whole = session.logits(session.open(), ids)
    pieces, sequence, start = [], session.open(), 0
    for size in sizes:
        pieces.append(session.logits(sequence, ids[start : start + size]))
        start += size
    assert np.array_equal(np.concatenate(pieces), whole)


def test_long_prompts_are_fed_in_steps_with_the_same_result(llm):
    ids = tokens(600)
    if len(ids) > llm.context_size:
        ids = tokens(llm.context_size)
    session = _core.Session(llm.engine.core, llm.model.core, None, 1)
    assert np.array_equal(llm.logits(ids), session.logits(session.open(), ids))


def test_logits_have_a_row_for_each_token(llm):
    logits = llm.logits(tokens(9))
    assert logits.shape == (9, llm.model.config.vocab_size)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_the_engine_infers_the_same_logits(llm):
    engine = InferenceEngine(threads=1)
    assert np.array_equal(engine.infer(llm.model, tokens(20)), llm.logits(tokens(20)))
    assert engine.device == "cpu"
    assert engine.kernel_set in {s.name for s in _core.kernel_sets() if s.supported}
    assert engine.plan(llm.model).estimated_memory > 0
    assert engine.memory_usage().total.peak > 0


@pytest.mark.parametrize("level", ["none", "basic", "aggressive"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_optimization_level_gives_the_same_tokens_and_says_so_in_its_plan(
    llm, level, threads
):
    with LLM(llm.model, threads=threads, optimization_level=level) as other:
        assert f"level {level}, " in other.plan.describe()
        assert "ternary weights: " in other.plan.describe()
        assert np.array_equal(other.logits(tokens(20)), llm.logits(tokens(20)))
        expected = llm.generate(PROMPTS[0], max_tokens=16).token_ids
        assert other.generate(PROMPTS[0], max_tokens=16).token_ids == expected


def test_an_unknown_level_or_ternary_format_is_refused_by_name(llm):
    with pytest.raises(OptimizationError, match="'fast'; known are none, basic, aggressive"):
        LLM(llm.model, optimization_level="fast")
    with pytest.raises(OptimizationError, match="no ternary format '3bit'; it has 2bit"):
        LLM(llm.model, ternary_format="3bit")


def test_several_threads_may_use_one_model(llm):
    expected = [llm.generate(prompt, max_tokens=16).token_ids for prompt in PROMPTS]
    with ThreadPoolExecutor(12) as pool:  # more threads than sequences
        answers = pool.map(
            lambda i: llm.generate(PROMPTS[i % 4], max_tokens=16).token_ids, range(24)
        )
        for index, answer in enumerate(answers):
            assert answer == expected[index % 4]


# Ends that nobody planned


def test_closing_a_stream_frees_its_sequence(single):
    for _ in range(3):
        stream = single.stream(PROMPT)
        next(stream)
        stream.close()
    assert single.generate(PROMPT, max_tokens=2).token_ids


def test_forgetting_a_stream_frees_its_sequence(single):
    next(single.stream(PROMPT))
    gc.collect()
    assert single.generate(PROMPT, max_tokens=2).token_ids


def test_an_exception_in_the_consumer_frees_the_sequence(single):
    def consume():
        for _ in single.stream(PROMPT):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    assert single.generate(PROMPT, max_tokens=2).token_ids


def test_an_interrupt_frees_the_sequence(single):
    def consume():
        for _ in single.stream(PROMPT):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert single.generate(PROMPT, max_tokens=2).token_ids


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no interval timer")
def test_interrupts_at_any_moment_free_the_sequence(single):
    armed = []

    def interrupt(*_):
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    def is_interrupted(delay):
        try:
            armed.append(True)
            signal.setitimer(signal.ITIMER_REAL, delay)
            for _ in single.stream(PROMPT, max_tokens=5):
                pass
            armed.clear()  # from here on, a late timer does nothing
        except KeyboardInterrupt:
            return True
        return False

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        count = sum(is_interrupted(0.0001 * (1 + step % 60)) for step in range(240))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 0
    assert single.generate(PROMPT, max_tokens=2).token_ids


def test_a_stream_that_was_never_read_takes_nothing(single):
    unread = [single.stream(PROMPT) for _ in range(3)]
    assert single.generate(PROMPT, max_tokens=2).token_ids
    del unread


def test_as_many_streams_as_sequences_are_open_at_once_and_no_more(model):
    with LLM(model, max_sequences=3) as three:
        streams = [three.stream(PROMPT) for _ in range(4)]
        for stream in streams[:3]:
            next(stream)
        with pytest.raises(BatchProcessingError, match=r"3 unfinished.*limit is 3"):
            next(streams[3])
        streams[0].close()
        again = three.stream(PROMPT)
        assert next(again).token_ids
        for stream in (*streams, again):
            stream.close()


def test_freed_sequences_free_their_memory(single):
    before = single.engine.memory_usage().kv_cache
    stream = single.stream(tokens(100))
    next(stream)
    assert single.engine.memory_usage().kv_cache > before
    stream.close()
    assert single.engine.memory_usage().kv_cache == before


def test_a_closed_model_answers_no_more(model):
    llm = LLM(model)
    stream = llm.stream(PROMPT)
    next(stream)
    llm.close()
    llm.close()
    with pytest.raises(BatchProcessingError, match="closed"):
        next(stream)
    with pytest.raises(BatchProcessingError, match="closed"):
        llm.generate(PROMPT)


# asyncio


def test_an_asynchronous_stream_gives_the_same_chunks(llm):
    async def collect():
        return [chunk async for chunk in llm.astream(PROMPT, max_tokens=20)]

    assert join(asyncio.run(collect())).text == llm.generate(PROMPT, max_tokens=20).text


def test_asynchronous_streams_run_side_by_side(llm):
    async def one(prompt):
        return join([chunk async for chunk in llm.astream(prompt, max_tokens=12)]).token_ids

    async def all_of_them():
        return await asyncio.gather(*(one(PROMPTS[i % 4]) for i in range(12)))

    answers = asyncio.run(all_of_them())
    assert answers == [llm.generate(PROMPTS[i % 4], max_tokens=12).token_ids for i in range(12)]


def test_cancelling_an_asynchronous_stream_frees_its_sequence(single):
    async def cancelled():
        started = asyncio.Event()

        async def consume():
            async for _ in single.astream(PROMPT, max_tokens=100):
                started.set()
                await asyncio.sleep(3600)

        task = asyncio.create_task(consume())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert single.generate(PROMPT, max_tokens=2).token_ids


def test_closing_an_asynchronous_stream_waits_until_its_sequence_is_free(single):
    async def close_early():
        stream = single.astream(tokens(300), max_tokens=100)
        async for _ in stream:
            break
        await stream.aclose()
        return single.generate(PROMPT, max_tokens=2)

    assert asyncio.run(close_early()).token_ids


def test_an_asynchronous_stream_checks_its_request_at_once(llm):
    with pytest.raises(BatchProcessingError, match="max_tokens"):
        llm.astream(PROMPT, max_tokens=0)


# A folder without a tokenizer


def test_without_a_tokenizer_token_ids_still_work(ids_only, llm):
    ids = llm.tokenizer.encode(PROMPT)
    assert ids_only.tokenizer is None
    expected = llm.generate(ids, max_tokens=10).token_ids
    result = ids_only.generate(ids, max_tokens=10)
    assert (result.text, result.token_ids) == ("", expected)
    chunks = list(ids_only.stream(ids, max_tokens=10))
    assert [chunk.token_ids for chunk in chunks] == [(token,) for token in expected]


@pytest.mark.parametrize("arguments", [{"prompt": "text"}, {"prompt": [5, 6], "stop": "end"}])
def test_without_a_tokenizer_text_names_the_missing_file(ids_only, arguments):
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is missing"):
        ids_only.generate(**arguments)


def test_a_tokenizer_larger_than_the_embedding_is_refused(model, tmp_path):
    folder = tmp_path / "large"
    shutil.copytree(model.folder, folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    size = model.config.vocab_size
    content["added_tokens"].append(
        {
            "id": size,
            "content": "<|one too many|>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    )
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ModelLoadError, match=rf"ids up to {size}.*{size} rows"):
        LLM(folder)


# Requests that cannot be met

BAD_REQUESTS = [
    ({"prompt": []}, "0 tokens"),
    ({"prompt": np.array([], np.int32)}, "0 tokens"),
    ({"prompt": [5, -1]}, "-1 at position 1"),
    ({"prompt": [5, 6, 10**6]}, "1000000 at position 2"),
    ({"prompt": [10**30]}, "integers"),
    ({"prompt": [1.5]}, "integers"),
    ({"prompt": [True]}, "integers"),
    ({"prompt": np.zeros((1, 1, 1), np.int32)}, "dimension"),
    ({"prompt": None}, "NoneType"),
    ({"prompt": 7}, "int"),
    ({"prompt": {"a": 1}}, "dict"),
    ({"prompt": [PROMPT, []]}, r"\[prompt 1\] 0 tokens"),
    ({"prompt": [[5], [6, 10**6]]}, r"\[prompt 1\] token id 1000000"),
    ({"prompt": "a\ud83d"}, "position 1"),
    ({"max_tokens": 0}, "max_tokens is 0"),
    ({"max_tokens": -3}, "max_tokens is -3"),
    ({"max_tokens": 1.5}, "max_tokens is 1.5"),
    ({"max_tokens": True}, "max_tokens is True"),
    ({"logprobs": -1}, "logprobs is -1"),
    ({"logprobs": 10**6}, "logprobs is 1000000"),
    ({"stop": ""}, "stop string 0"),
    ({"stop": ["ok", 5]}, "stop string 1"),
    ({"sampling": {"temperature": 1}}, "SamplingOptions"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_REQUESTS)
def test_a_request_that_cannot_be_met_says_why(llm, arguments, message):
    before = llm.engine.memory_usage().kv_cache
    with pytest.raises(BatchProcessingError, match=message):
        llm.generate(**{"prompt": PROMPT, **arguments})
    assert llm.engine.memory_usage().kv_cache == before


@pytest.mark.parametrize("method", ["generate", "stream", "astream", "logits"])
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(llm, method):
    size = llm.context_size
    with pytest.raises(BatchProcessingError, match=rf"{size + 1} tokens.*holds {size}"):
        getattr(llm, method)(tokens(size + 1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threads": 0}, DeviceError, "0"),
        ({"threads": -1}, DeviceError, "-1"),
        ({"device": "abacus"}, DeviceError, "abacus"),
        ({"context_size": 0}, BatchProcessingError, "context_size is 0"),
        ({"context_size": 10**9}, BatchProcessingError, "context_size is 1000000000"),
        ({"max_sequences": 0}, BatchProcessingError, "max_sequences is 0"),
        ({"memory_limit": 1000}, MemoryLimitError, "1000"),
        ({"source_or_model": "/no/such/folder"}, ModelLoadError, "/no/such/folder"),
    ],
)
def test_an_engine_that_cannot_be_made_says_why(model, arguments, error, message):
    with pytest.raises(error, match=message):
        LLM(**{"source_or_model": model, **arguments})


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "0 tokens"),
        ([-1], "-1"),
        ([10**6], "1000000"),
        ([0.5], "integers"),
        ([[5]], "dimension"),
    ],
)
def test_the_engine_refuses_what_is_not_a_sequence_of_tokens(model, ids, message):
    with pytest.raises(BatchProcessingError, match=message):
        InferenceEngine().infer(model, ids)


def test_the_engine_refuses_more_tokens_than_the_context(model):
    size = model.config.context_length
    with pytest.raises(BatchProcessingError, match=rf"{size + 1}.*{size}"):
        InferenceEngine().infer(model, tokens(size + 1))
