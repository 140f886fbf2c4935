"""Does a language model on MLX say what it says on the CPU?"""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import mlx.core as mx
import numpy as np
import pytest

import tritium
from agreement import LOGITS_TOLERANCE, compare_logits, relative_rms
from chat_folders import write_chat_folder
from recorded import NAMES, Fixture
from tritium import _core, doctor
from tritium.mlx import backend as mlx_backend
from tritium.mlx.kv_cache import STEP
from tritium.mlx.plan_walker import PlanWalker

PROMPTS = ["Once upon a time", "The little fox", "A girl named Lily went to the market. She"]


def tokens(count: int) -> list[int]:
    """Any valid prompt of `count` tokens."""
    return [5 + i % 200 for i in range(count)]


@pytest.fixture
def session(llm):
    return _core.Session(llm.engine.core, llm.model.core, max_sequences=4)


# Answers


@pytest.mark.parametrize("level", ["none", "basic", "aggressive"])
def test_the_bundled_model_gives_its_golden_answers(level):
    with tritium.LLM(device="mlx", optimization_level=level, max_sequences=1) as llm:
        assert llm.engine.device == "mlx"
        assert llm.engine.kernel_set.startswith("mlx-")
        checks = doctor.check_model(llm, doctor.read_golden(llm.model.folder / "golden.json"))
    assert len(checks) == 4
    assert [check for check in checks if not check.ok] == []


def test_logits_are_those_of_the_cpu(llm, cpu_llm):
    """Of more tokens than a pass takes, and than keys and values have room for at first."""
    ids = tokens(STEP + 60)
    assert relative_rms(llm.logits(ids), cpu_llm.logits(ids)) <= LOGITS_TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_every_family_gives_the_logits_of_transformers(name):
    recorded = Fixture(name)
    logits = tritium.InferenceEngine("mlx").infer(tritium.load(recorded.folder), recorded.token_ids)
    agreement = compare_logits(logits, recorded.logits)
    assert agreement.holds, agreement


def test_a_prompt_in_pieces_is_the_prompt(session):
    ids = tokens(STEP + 12)
    whole, pieces = session.open(), session.open()
    expected = session.logits(whole, ids)
    cuts = [0, 1, 3, 100, STEP - 1, STEP, STEP + 1, len(ids)]
    got = [session.logits(pieces, ids[a:b]) for a, b in itertools.pairwise(cuts)]
    assert session.length(pieces) == session.length(whole) == len(ids)
    assert relative_rms(np.concatenate(got), expected) <= LOGITS_TOLERANCE


def test_decoding_gives_the_logits_of_the_prompt(session):
    """Tokens one by one, over the place where keys and values get more room."""
    ids = tokens(STEP + 5)
    whole, single = session.open(), session.open()
    expected = session.logits(whole, ids)
    session.step([(single, ids[: STEP - 5], False)])
    for place in range(STEP - 5, len(ids)):
        found = session.logits(single, [ids[place]])
        assert relative_rms(found[0], expected[place]) <= LOGITS_TOLERANCE, place


def test_a_batch_gives_each_prompt_its_own_answer(llm):
    together = llm.generate(PROMPTS, max_tokens=30)
    assert [r.token_ids for r in together] == [
        llm.generate(prompt, max_tokens=30).token_ids for prompt in PROMPTS
    ]


def test_more_prompts_than_sequences_wait_their_turn():
    with tritium.LLM(device="mlx", max_sequences=2) as llm:
        answers = llm.generate(PROMPTS * 2, max_tokens=5)
        assert [a.text for a in answers[:3]] == [a.text for a in answers[3:]]


def test_streams_give_the_text_in_pieces(llm):
    expected = llm.generate(PROMPTS[0], max_tokens=12)
    chunks = list(llm.stream(PROMPTS[0], max_tokens=12))
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert sum(len(chunk.token_ids) for chunk in chunks) == 12

    async def collect():
        return [chunk.text async for chunk in llm.astream(PROMPTS[0], max_tokens=12)]

    assert "".join(asyncio.run(collect())) == expected.text


def test_a_conversation_goes_on(tmp_path):
    folder = write_chat_folder(tmp_path / "chat")
    answers = {}
    for device in ("mlx", "cpu"):
        with tritium.LLM(folder, device) as llm, llm.conversation(max_tokens=8) as conversation:
            answers[device] = ["".join(c.text for c in conversation.send(t)) for t in PROMPTS[:2]]
    assert answers["mlx"] == answers["cpu"]


def test_sampling_follows_its_seed_and_its_options(llm):
    sampling = tritium.SamplingOptions(temperature=2.0, top_k=20, seed=3)
    first, second = (
        llm.generate(PROMPTS[0], max_tokens=20, sampling=sampling, logprobs=2) for _ in range(2)
    )
    assert first.token_ids == second.token_ids
    other = tritium.SamplingOptions(temperature=2.0, top_k=20, seed=4)
    assert llm.generate(PROMPTS[0], max_tokens=20, sampling=other).token_ids != first.token_ids
    forced = tritium.SamplingOptions(logit_bias={7: 1000.0})
    assert llm.generate(PROMPTS[0], max_tokens=3, sampling=forced).token_ids == [7, 7, 7]


def test_the_perplexity_is_that_of_the_cpu(llm, cpu_llm):
    text = "Once upon a time there was a little fox who lived in the wood with his mother."
    ours, theirs = (tritium.measure_perplexity(which, text) for which in (llm, cpu_llm))
    assert ours.tokens == theirs.tokens
    assert ours.token_perplexity == pytest.approx(theirs.token_perplexity, rel=0.02)


# Sequences


def test_forks_go_their_own_ways(session):
    trunk = session.open()
    session.logits(trunk, tokens(40))
    branch = session.fork(trunk)
    expected = session.logits(trunk, [9, 10])
    session.logits(branch, [300, 301, 302])
    again = session.fork(branch)
    session.truncate(again, 40)
    assert session.length(again) == 40
    np.testing.assert_array_equal(session.logits(again, [9, 10]), expected)
    assert session.length(branch) == 43


def test_a_fork_of_nothing_is_empty(session):
    fork = session.fork(session.open())
    assert session.length(fork) == 0
    assert session.logits(fork, [1]).shape == (1, 2048)


def test_truncated_tokens_are_forgotten(session):
    sequence, other = session.open(), session.open()
    expected = session.logits(sequence, tokens(30))
    session.truncate(sequence, 20)
    np.testing.assert_array_equal(session.logits(sequence, tokens(30)[20:]), expected[20:])
    session.truncate(sequence, 0)
    np.testing.assert_array_equal(session.logits(sequence, [3, 4]), session.logits(other, [3, 4]))


def test_closed_sequences_give_their_memory_back(llm):
    session = _core.Session(llm.engine.core, llm.model.core, max_sequences=4)
    before = mx.get_active_memory()
    for _ in range(20):
        sequence = session.open()
        session.logits(sequence, tokens(10))
        session.close(sequence)
    assert mx.get_active_memory() == before


def test_keys_and_values_are_counted_and_keep_the_limit(llm):
    before = llm.engine.memory_usage()
    session = _core.Session(llm.engine.core, llm.model.core, max_sequences=3)
    shape = llm.model.config
    step = STEP * shape.layers * shape.kv_heads * shape.head_dim * 4
    assert llm.plan.kv_bytes == 8 * 2 * step  # max_sequences, of 512 tokens

    def counted():
        return llm.engine.memory_usage().kv_cache - before.kv_cache

    sequence = session.open()
    assert counted() == 0
    session.logits(sequence, tokens(3))
    assert counted() == step
    session.fork(sequence)
    session.logits(sequence, tokens(STEP))
    assert counted() == 3 * step
    session.close(sequence)
    assert counted() == step
    del session
    assert counted() == 0
    usage = llm.engine.memory_usage()
    assert usage.total.active >= usage.weights > 0


def test_a_sequence_that_finds_no_memory_stays_as_it_was():
    """Either session fits the limit alone."""
    model = tritium.load()
    with tritium.LLM(model, "mlx") as llm:
        plan = llm.plan  # of 8 sequences
    limit = plan.estimated_memory + 2 * plan.weight_bytes
    engine = tritium.InferenceEngine("mlx", memory_limit=limit)
    first, second = (_core.Session(engine.core, model.core, max_sequences=8) for _ in range(2))
    for _ in range(8):
        first.step([(first.open(), tokens(STEP + 1), False)])
    sequence = second.open()
    second.logits(sequence, tokens(STEP))
    feeds = [(second.open(), tokens(STEP + 1), False) for _ in range(7)]
    with pytest.raises(tritium.MemoryLimitError, match="the KV cache needs"):
        second.step(feeds)
    assert second.length(sequence) == STEP
    second.truncate(sequence, STEP - 1)
    second.logits(sequence, [1])
    assert engine.memory_usage().total.active <= limit


def test_a_model_that_is_gone_leaves_no_memory():
    gc.collect()
    before = mx.get_active_memory()
    llm = tritium.LLM(device="mlx")
    llm.generate(PROMPTS[0], max_tokens=4)
    usage = llm.engine.memory_usage()
    assert usage.models[0].weights == usage.weights
    assert mx.get_active_memory() - before > usage.weights // 2
    del llm
    gc.collect()
    assert mx.get_active_memory() == before


# Compilation


def test_steps_of_decode_are_compiled_once(session, monkeypatch):
    runs = Counter()
    original = PlanWalker.run_tokens

    def count(self, *arguments):
        runs["tokens"] += 1
        return original(self, *arguments)

    monkeypatch.setattr(PlanWalker, "run_tokens", count)
    one, two = session.open(), session.open()
    for step in range(20):
        session.step([(one, [5 + step], True)])
    for step in range(20):
        session.step([(one, [5 + step], True), (two, [5 + step], True)])
    assert runs["tokens"] == 2  # once with one sequence, once with two


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_dtype": "int8"}, "mlx keeps keys and values as f16, 'int8' was asked for"),
        ({"head": "int4"}, "mlx reads the head in full, 'int4' was asked for"),
        ({"ternary_format": "1.6bit"}, "stores ternary weights as '2bit', '1.6bit' was asked for"),
    ],
)
def test_options_of_the_cpu_alone_are_refused(options, message):
    with pytest.raises(tritium.OptimizationError, match=message):
        tritium.LLM(device="mlx", **options)


def test_a_limit_is_kept_before_anything_is_allocated():
    before = mx.get_active_memory()
    with pytest.raises(tritium.MemoryLimitError, match="2000000 are free"):
        tritium.LLM(device="mlx", memory_limit="2MB")
    assert mx.get_active_memory() == before


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (RuntimeError("the device is gone"), tritium.DeviceError),
        (RuntimeError("[malloc] Unable to allocate 8 bytes."), tritium.MemoryLimitError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["device", "memory", "interrupt"],
)
@pytest.mark.parametrize("when", ["before", "while"])
def test_after_an_error_the_sequences_are_as_they_were(session, monkeypatch, raised, kind, when):
    """The error comes before MLX computes, or while it does: then keys and values are lost, and
    computed again when they are needed."""
    one, two, expected = (session.open() for _ in range(3))
    for sequence in (one, two, expected):
        session.logits(sequence, tokens(30))
    wanted = session.step([(expected, [9], True)])[0].token

    def fail(*_):
        raise raised

    with monkeypatch.context() as broken:
        if when == "before":
            broken.setattr(mlx_backend.mx, "array", fail)
        else:
            broken.setattr(mlx_backend.mx, "eval", fail)
        with pytest.raises(kind) as caught:
            session.step([(one, [9], True), (two, [9], True)])
    if kind is not KeyboardInterrupt:
        assert str(raised) in str(caught.value)
    assert session.length(one) == session.length(two) == 30
    found = session.step([(one, [9], True), (two, [9], True)])
    assert [result.token for result in found] == [wanted, wanted]


def test_an_error_of_the_input_changes_nothing(session):
    sequence = session.open()
    session.logits(sequence, tokens(5))
    with pytest.raises(tritium.BatchProcessingError, match="token id 2048 at place 1"):
        session.step([(sequence, [1, 2048], True)])
    with pytest.raises(tritium.BatchProcessingError, match="do not fit the context of 512"):
        session.step([(sequence, tokens(508), True)])
    with pytest.raises(tritium.BatchProcessingError, match="cannot truncate"):
        session.truncate(sequence, 6)
    assert session.length(sequence) == 5


# Threads


def test_threads_take_turns(llm):
    expected = llm.generate(PROMPTS[0], max_tokens=10).text
    with ThreadPoolExecutor(4) as pool:
        texts = pool.map(lambda _: llm.generate(PROMPTS[0], max_tokens=10).text, range(8))
    assert set(texts) == {expected}


def test_other_threads_of_python_run_meanwhile(llm):
    counted, stop = Counter(), threading.Event()

    def count():
        while not stop.is_set():
            counted["rounds"] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        llm.logits(tokens(200))
    finally:
        stop.set()
        thread.join()
    assert counted["rounds"] > 100


# What the device cannot


def test_the_cpu_takes_over_what_was_asked_of_mlx_and_says_so_once():
    with pytest.warns(RuntimeWarning, match="runs on the CPU, for mlx cannot: .*int8") as caught:
        llm = tritium.LLM(device="mlx", fallback=True, kv_dtype="int8")
    assert len(caught) == 1
    with llm, warnings.catch_warnings():
        warnings.simplefilter("error")
        with tritium.LLM(device="cpu", kv_dtype="int8") as cpu:
            assert (
                llm.generate(PROMPTS, max_tokens=9)[1].token_ids
                == cpu.generate(PROMPTS, max_tokens=9)[1].token_ids
            )
