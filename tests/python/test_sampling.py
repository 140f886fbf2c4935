"""SamplingOptions: ranges, and what each option does to the real model."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tritium import LLM, BatchProcessingError, OptimizationError, SamplingOptions

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def llm():
    with LLM() as model:
        yield model


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_k", 2**31),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("min_p", -0.01),
        ("min_p", 1.01),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("inf")),
        ("repetition_window", -1),
        ("repetition_window", None),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.0),
        ("logit_bias", [1, 2]),
        ("logit_bias", {-1: 0.0}),
        ("logit_bias", {"a": 0.0}),
        ("logit_bias", {1.0: 0.0}),
        ("logit_bias", {1: float("inf")}),
        ("logit_bias", {1: float("nan")}),
        ("logit_bias", {1: "much"}),
    ],
)
def test_a_value_out_of_range_is_named_with_its_value_and_range(name, value):
    with pytest.raises(BatchProcessingError) as caught:
        SamplingOptions(**{name: value})
    message = str(caught.value)
    assert name in message
    assert repr(value) in message
    assert "must be" in message


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1e300},
        {"temperature": 1e-300},
        {"top_p": 1e-300},
        {"min_p": 1.0},
        {"repetition_penalty": 1e-300},
        {"seed": 2**63 - 1},
        {"top_k": 2**31 - 1},
    ],
)
def test_extreme_values_give_a_token_or_a_typed_error(llm, options):
    try:
        sampling = SamplingOptions(**{"temperature": 1.0, **options})
        result = llm.generate(PROMPT, max_tokens=2, sampling=sampling)
    except BatchProcessingError:
        return
    assert len(result.token_ids) >= 1


def test_options_do_not_change():
    options = SamplingOptions()
    with pytest.raises(AttributeError):
        options.temperature = 1.0
    assert options == SamplingOptions(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)


def test_the_same_seed_gives_the_same_tokens(llm):
    options = SamplingOptions(temperature=1.5, seed=7)
    first = llm.generate(PROMPT, max_tokens=32, sampling=options)
    again = llm.generate(PROMPT, max_tokens=32, sampling=options)
    assert first.token_ids == again.token_ids


def test_other_seeds_and_no_seed_give_other_tokens(llm):
    answers = {
        tuple(
            llm.generate(
                PROMPT, max_tokens=32, sampling=SamplingOptions(temperature=2.0, seed=seed)
            ).token_ids
        )
        for seed in (0, 1, 2, None, None)
    }
    assert len(answers) == 5


def test_temperature_zero_takes_the_largest_logit_each_time(llm):
    result = llm.generate(PROMPT, max_tokens=24)
    prompt = llm.tokenizer.encode(PROMPT)
    logits = llm.logits(prompt + result.token_ids[:-1])
    assert logits[len(prompt) - 1 :].argmax(axis=1).tolist() == result.token_ids


@pytest.mark.parametrize(
    "only_the_best", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-6}]
)
def test_options_that_leave_one_token_equal_greedy(llm, only_the_best):
    greedy = llm.generate(PROMPT, max_tokens=16).token_ids
    options = SamplingOptions(**{"temperature": 2.0, "seed": 3, **only_the_best})
    assert llm.generate(PROMPT, max_tokens=16, sampling=options).token_ids == greedy


def test_top_k_draws_among_the_k_likeliest(llm):
    prompt = llm.tokenizer.encode(PROMPT)
    likeliest = set(np.argsort(llm.logits(prompt)[-1])[-3:].tolist())
    drawn = {
        llm.generate(
            prompt, max_tokens=1, sampling=SamplingOptions(temperature=1000.0, top_k=3, seed=seed)
        ).token_ids[0]
        for seed in range(40)
    }
    assert drawn == likeliest


def test_a_repetition_penalty_keeps_tokens_from_coming_back(llm):
    options = SamplingOptions(repetition_penalty=1e6, repetition_window=1000)
    prompt = llm.tokenizer.encode(PROMPT)
    answer = llm.generate(prompt, max_tokens=24, sampling=options).token_ids
    assert len(set(prompt + answer)) == len(set(prompt)) + len(answer)


def test_a_logit_bias_favours_and_forbids(llm):
    greedy = llm.generate(PROMPT, max_tokens=8).token_ids
    forbidden = SamplingOptions(logit_bias={greedy[0]: float("-inf")})
    assert greedy[0] not in llm.generate(PROMPT, max_tokens=8, sampling=forbidden).token_ids
    favoured = SamplingOptions(temperature=1.0, seed=1, logit_bias={7: 1000.0})
    assert set(llm.generate(PROMPT, max_tokens=8, sampling=favoured).token_ids) == {7}


def test_a_logit_bias_of_a_token_that_does_not_exist_is_refused_before_anything_runs(llm):
    vocab = llm.model.config.vocab_size
    with pytest.raises(BatchProcessingError, match=rf"{vocab}, which lies outside \[0, {vocab}\)"):
        llm.stream(PROMPT, sampling=SamplingOptions(logit_bias={vocab: 1.0}))


def test_a_logit_bias_is_a_copy():
    bias = {1: 2.0}
    options = SamplingOptions(logit_bias=bias)
    bias[1] = 3.0
    assert options.logit_bias == {1: 2.0}


def test_options_with_a_bias_can_be_hashed_and_pickled():
    options = SamplingOptions(logit_bias={1: 2.0})
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(SamplingOptions(logit_bias={1: 2.0}))


@pytest.mark.parametrize("head", ["screened", "screened8"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"repetition_penalty": 1.5},
        {"temperature": 1.0, "top_k": 5},
        {"temperature": 1.0, "top_k": 40, "top_p": 0.8},
        {"temperature": 1.0, "min_p": 0.1},
        {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.2, "logit_bias": {3: 4.0}},
        {"logit_bias": {5: 3.0, 6: float("-inf")}, "repetition_penalty": 0.9},
        {"temperature": 1.0, "top_p": 0.9},
    ],
)
def test_a_screened_head_gives_the_tokens_of_the_full_one(full, screened, head, options):
    sampling = SamplingOptions(**{"seed": 5, **options})
    expected = full.generate([PROMPT, "The dog"], max_tokens=40, sampling=sampling)
    answers = screened[head].generate([PROMPT, "The dog"], max_tokens=40, sampling=sampling)
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]


@pytest.fixture(scope="module")
def full():
    with LLM(head="full") as model:
        yield model


@pytest.fixture(scope="module")
def screened():
    with LLM(head="screened") as four, LLM(head="screened8") as eight:
        assert four.plan.steps[-1] == "screened_head"
        yield {"screened": four, "screened8": eight}


def test_the_head_of_a_small_model_is_full_unless_asked_otherwise(llm):
    assert llm.plan.steps[-1] == "dense_matmul"
    for head in ("int8", "int4"):
        with LLM(head=head) as model:
            assert model.plan.steps[-1] == f"{head}_head"
            assert len(model.generate(PROMPT, max_tokens=4).token_ids) == 4
    with pytest.raises(OptimizationError, match="unknown head 'int6'"):
        LLM(head="int6")


def test_log_probabilities_are_those_of_the_logits(llm):
    prompt = llm.tokenizer.encode(PROMPT)
    result = llm.generate(prompt, max_tokens=4, logprobs=3)
    logits = llm.logits(prompt + result.token_ids[:-1])[len(prompt) - 1 :].astype(np.float64)
    expected = logits - logits.max(axis=1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    assert [entry.token_id for entry in result.logprobs] == result.token_ids
    for row, entry in zip(expected, result.logprobs, strict=True):
        assert entry.logprob == pytest.approx(row[entry.token_id], abs=1e-4)
        assert [token for token, _ in entry.top] == np.argsort(-row, kind="stable")[:3].tolist()
        assert [value for _, value in entry.top] == pytest.approx(
            [row[token] for token, _ in entry.top], abs=1e-4
        )


def test_log_probabilities_come_only_when_asked_for(llm):
    assert llm.generate(PROMPT, max_tokens=2).logprobs is None
    assert all(entry.top == () for entry in llm.generate(PROMPT, max_tokens=2, logprobs=0).logprobs)
