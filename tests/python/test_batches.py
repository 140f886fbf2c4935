"""Sequences that join and leave a running loop, prompts in chunks: each as if it were alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest

import tritium
from tritium import LLM, SamplingOptions, _core
from tritium.streaming import join

VOCABULARY = 2048
# Around a page of 64 tokens, a pass of 256, and several of them.
PROMPT_LENGTHS = [1, 2, 63, 64, 65, 130, 255, 256, 257, 300]


@pytest.fixture(scope="module")
def model():
    return tritium.load()


@dataclass
class Job:
    """One sequence: its prompt, how it is sampled, and how many tokens it gets."""

    prompt: list[int]
    count: int
    sampling: _core.Sampling | None
    chunks: list[int]  # how the prompt is cut
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)

    def feeds(self):
        """Token ids to feed and whether to sample, step by step."""
        start = 0
        for size in self.chunks:
            start += size
            yield self.prompt[start - size : start], start == len(self.prompt)
        while len(self.tokens) < self.count:
            yield [self.tokens[-1]], True


def make_job(rng: random.Random) -> Job:
    length = rng.choice(PROMPT_LENGTHS)
    chunks, left = [], length
    while left:
        chunks.append(min(left, rng.choice([1, 7, 64, 100, 256, 400])))
        left -= chunks[-1]
    sampling = None
    if rng.random() < 0.6:
        sampling = _core.Sampling(
            temperature=rng.choice([0.0, 1.0, 3.0]),
            top_k=rng.choice([0, 40]),
            repetition_penalty=rng.choice([1.0, 1.3]),
            seed=rng.randrange(1000),
            logprobs=2,
        )
    prompt = [rng.randrange(2, VOCABULARY) for _ in range(length)]
    return Job(prompt, rng.randrange(1, 12), sampling, chunks)


def alone(session: _core.Session, job: Job) -> tuple[list[int], list[float | None]]:
    """What the job gets in a session where nothing else is fed, its prompt in one piece."""
    sequence = session.open(job.sampling)
    tokens, logprobs, fed = [], [], job.prompt
    while len(tokens) < job.count:
        [result] = session.step([(sequence, fed, True)])
        tokens.append(result.token)
        logprobs.append(result.logprob)
        fed = [result.token]
    session.close(sequence)
    return tokens, logprobs


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_sequences_join_and_leave_and_each_is_as_if_alone(model, threads, seed):
    rng = random.Random(seed)
    engine = _core.InferenceEngine(threads=threads)
    session = _core.Session(engine, model.core, 400, 5)
    jobs = [make_job(rng) for _ in range(14)]
    waiting, running = list(jobs), []
    while waiting or running:
        while waiting and len(running) < 5 and rng.random() < 0.7:
            job = waiting.pop(0)
            running.append((session.open(job.sampling), job, job.feeds()))
        step = [entry for entry in running if rng.random() < 0.8]  # some wait this time
        rng.shuffle(step)
        feeds = [(sequence, *next(feed)) for sequence, _, feed in step]
        results = session.step(feeds)
        for (sequence, job, feed), (_, _, sampled), result in zip(
            step, feeds, results, strict=True
        ):
            assert (result.token is not None) == sampled
            if sampled:
                job.tokens.append(result.token)
                job.logprobs.append(result.logprob)
            if len(job.tokens) == job.count:
                session.close(sequence)
                running.remove((sequence, job, feed))
    other = _core.Session(_core.InferenceEngine(threads=1), model.core, 400, 1)
    for job in jobs:
        assert (job.tokens, job.logprobs) == alone(other, job)
    assert engine.memory_usage().kv_cache == 0


def test_logits_after_a_crowded_past_are_those_of_a_lonely_one(model):
    engine = _core.InferenceEngine(threads=2)
    session = _core.Session(engine, model.core, 400, 4)
    rng = random.Random(9)
    prompts = [[rng.randrange(2, VOCABULARY) for _ in range(n)] for n in (200, 257, 70, 333)]
    sequences = [session.open() for _ in prompts]
    for start in range(0, 333, 37):
        pieces = [
            (sequence, prompt[start : start + 37], False)
            for sequence, prompt in zip(sequences, prompts, strict=True)
            if start < len(prompt)
        ]
        session.step(pieces)
    for sequence, prompt in zip(sequences, prompts, strict=True):
        session.truncate(sequence, len(prompt) - 3)
        last = session.logits(sequence, prompt[-3:])
        assert np.array_equal(last, engine.infer(model.core, np.array(prompt, np.int32))[-3:])


def prompts(count: int) -> list[list[int]]:
    rng = random.Random(3)
    return [
        [rng.randrange(2, VOCABULARY) for _ in range(rng.choice(PROMPT_LENGTHS))]
        for _ in range(count)
    ]


def same(results: Sequence, expected: Sequence) -> bool:
    return [(r.text, r.token_ids, r.finish_reason) for r in results] == [
        (r.text, r.token_ids, r.finish_reason) for r in expected
    ]


def test_more_prompts_than_sequences_follow_as_others_finish(model):
    options = SamplingOptions(temperature=2.0, seed=5)
    with LLM(model, max_sequences=3) as llm:
        many = prompts(12)
        # Stop strings end the answers after different numbers of tokens.
        arguments = {"max_tokens": 30, "sampling": options, "stop": ["e", "\n"]}
        expected = [llm.generate(prompt, **arguments) for prompt in many]
        assert len({len(r.token_ids) for r in expected}) > 3
        assert same(llm.generate(many, **arguments), expected)
        assert llm.engine.memory_usage().kv_cache == 0


def test_streams_that_take_turns_do_not_touch_each_other(model):
    with LLM(model, max_sequences=3) as llm:
        many = prompts(3)
        expected = [llm.generate(prompt, max_tokens=25) for prompt in many]
        streams = [llm.stream(prompt, max_tokens=25) for prompt in many]
        chunks: list[list] = [[] for _ in many]
        running = dict(enumerate(streams))
        rng = random.Random(1)
        while running:
            index = rng.choice(list(running))
            chunk = next(running[index], None)
            if chunk is None:
                del running[index]
            else:
                chunks[index].append(chunk)
        assert same([join(own) for own in chunks], expected)


def test_threads_and_batches_share_an_llm(model):
    with LLM(model, max_sequences=3) as llm:
        many = prompts(8)
        expected = [llm.generate(prompt, max_tokens=10) for prompt in many]

        def ask(index: int):
            if index % 2:
                return llm.generate(many[: index + 1], max_tokens=10)[-1]
            with closing(llm.stream(many[index], max_tokens=10)) as stream:
                return join(stream)

        with ThreadPoolExecutor(4) as pool:
            assert same(list(pool.map(ask, range(8))), expected)
