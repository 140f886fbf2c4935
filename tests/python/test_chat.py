"""Chat, for real: the bundled model with a template of its own and tokens that end a turn."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import tritium
from chat_folders import END, START, TEMPLATE, edit, write_chat_folder
from tritium import LLM, BatchProcessingError, ModelLoadError, SamplingOptions, chat
from tritium.streaming import join

QUESTION = [{"role": "user", "content": "Once upon a time"}]
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Tell me about the fox."},
    {"role": "assistant", "content": "The fox lived in a wood."},
    {"role": "user", "content": "And the bear?"},
]
RENDERED = (
    "<|begin_of_text|><|turn|>system\nBe brief.<|done|>"
    "<|turn|>user\nTell me about the fox.<|done|>"
    "<|turn|>assistant\nThe fox lived in a wood.<|done|>"
    "<|turn|>user\nAnd the bear?<|done|><|turn|>assistant\n"
)
# Keeps answers as they are, so that their tokens are those of the history.
EXACT = TEMPLATE.replace(" | trim", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_chat_folder(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="module")
def exact_folder(tmp_path_factory):
    return write_chat_folder(tmp_path_factory.mktemp("exact") / "model", EXACT)


@pytest.fixture(scope="module")
def llm(folder):
    with LLM(folder) as ready:
        yield ready


@pytest.fixture(scope="module")
def exact(exact_folder):
    with LLM(exact_folder, max_sequences=1) as ready:
        yield ready


def end_id(llm: LLM) -> int:
    found = llm.tokenizer.token_to_id(END)
    assert found is not None
    return found


# The form


def test_a_conversation_is_written_as_the_template_says(llm):
    assert llm.chat_format.render(CONVERSATION, add_generation_prompt=True) == RENDERED
    without = llm.chat_format.render(CONVERSATION, add_generation_prompt=False)
    assert without + "<|turn|>assistant\n" == RENDERED


def test_what_the_template_writes_after_an_answer_ends_it(llm):
    assert llm.chat_format.end_ids == {end_id(llm)}
    assert llm.chat_format.stop == ()


def test_a_chat_is_the_answer_to_its_text_up_to_the_end_token(llm):
    ids = llm.tokenizer.encode(RENDERED, add_bos=False)
    assert ids[0] == llm.model.bos_token_id
    assert ids.count(end_id(llm)) == 4
    alone = llm.generate(ids, max_tokens=60)
    answer = llm.chat(CONVERSATION, max_tokens=60)
    assert answer.prompt_tokens == len(ids)
    assert alone.token_ids[: len(answer.token_ids)] == answer.token_ids
    if END in [llm.tokenizer.id_to_token(t) for t in alone.token_ids]:
        assert answer.finish_reason == "stop"


def test_an_end_token_of_a_turn_ends_the_answer(llm):
    ends = {end_id(llm), *llm.model.eos_token_ids}
    for seed in range(200):
        options = SamplingOptions(temperature=1.5, seed=seed)
        answer = llm.chat(QUESTION, max_tokens=400, sampling=options)
        assert not ends & set(answer.token_ids[:-1])
        assert END not in answer.text
        if answer.token_ids[-1] == end_id(llm):
            assert answer.finish_reason == "stop"
            return
    pytest.fail("no answer of 200 reached the end of a turn")


def test_a_stream_joins_to_the_answer(llm):
    options = SamplingOptions(temperature=1.0, seed=4)
    arguments = {"max_tokens": 30, "sampling": options, "logprobs": 1, "stop": ["never \u2603"]}
    streamed = join(llm.stream_chat(CONVERSATION, **arguments))
    whole = llm.chat(CONVERSATION, **arguments)
    assert (streamed.text, streamed.token_ids) == (whole.text, whole.token_ids)
    assert streamed.logprobs == whole.logprobs


def template_of(folder, template, *, name="tokenizer_config.json"):
    if name.endswith(".jinja"):
        (folder / name).write_text(template, "utf-8")
    else:
        (folder / name).touch()
        text = (folder / name).read_text("utf-8") or "{}"
        (folder / name).write_text(json.dumps(json.loads(text) | {"chat_template": template}))


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("tokenizer_config.json", TEMPLATE),
        ("tokenizer_config.json", [{"name": "default", "template": TEMPLATE}]),
        (
            "tokenizer_config.json",
            [{"name": "tools", "template": "x"}, {"name": "default", "template": TEMPLATE}],
        ),
        ("tokenizer_config.json", [{"name": "only", "template": TEMPLATE}]),
        ("chat_template.jinja", TEMPLATE),
        ("chat_template.json", TEMPLATE),
    ],
)
def test_a_template_is_found_wherever_checkpoints_put_it(tmp_path, name, template):
    folder = write_chat_folder(tmp_path / "model", None)
    template_of(folder, template, name=name)
    with LLM(folder) as llm:
        assert llm.chat_format.render(CONVERSATION, add_generation_prompt=True) == RENDERED
        assert name in llm.chat_format.source


def test_a_file_of_its_own_wins(tmp_path):
    folder = write_chat_folder(tmp_path / "model", "not this one")
    template_of(folder, TEMPLATE, name="chat_template.jinja")
    with LLM(folder) as llm:
        assert llm.chat_format.render(CONVERSATION, add_generation_prompt=True) == RENDERED


def test_special_tokens_may_be_objects(tmp_path):
    folder = write_chat_folder(tmp_path / "model", "{{ bos_token }}{{ eos_token }}")
    edit(folder / "tokenizer_config.json", lambda c: c.update(bos_token={"content": "<B>"}))
    edit(folder / "tokenizer_config.json", lambda c: c.pop("eos_token"))
    with LLM(folder) as llm:
        text = llm.chat_format.render(QUESTION, add_generation_prompt=True)
    assert text == "<B><|end_of_text|>"


# What ends a turn, for templates of all kinds


def tokenizer_with(*tokens: str) -> SimpleNamespace:
    return SimpleNamespace(special_tokens={token: 100 + i for i, token in enumerate(tokens)})


def template(form: str, *, between: str = ""):
    """A renderer: `form` of each message, with {role} and {content}."""

    def render(messages, *, add_generation_prompt):
        assert not add_generation_prompt
        return between.join(form.format_map(message) for message in messages)

    return render


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        (template("<|im_start|>{role}\n{content}<|im_end|>\n"), ({101}, ())),
        (template("<|{role}|>\n{content}</s>\n"), ({104}, ())),
        (template("{role}: {content}<|eot_id|>"), ({102}, ())),
        (template("{role}: {content}\n\n<|eot_id|>"), ({102}, ())),
        (template("<|im_start|>{role}\n{content}\n"), ({100}, ())),  # only the next turn begins
        (template("### {role}:\n{content}\n\n"), (set(), ("\n\n### user:",))),
        (template("{role}: {content}", between="\n"), (set(), ("\nuser:",))),
        (template("{content} [end]</s>"), ({104}, (" [end]",))),
        (template("{content}\n"), (set(), ())),
        (template("a fixed text"), (set(), ())),
    ],
)
def test_the_end_of_a_turn_is_read_off_what_the_template_writes(render, expected):
    tokenizer = tokenizer_with("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "</s>", "")
    ids, stop = chat.find_turn_end(render, tokenizer)
    assert (set(ids), stop) == expected


def test_a_template_that_wants_the_last_word_for_the_user_is_asked_otherwise():
    def render(messages, *, add_generation_prompt):
        if len(messages) == 3:
            raise BatchProcessingError("[chat template] no")
        return "".join(f"{m['content']}</s>" for m in messages)

    assert chat.find_turn_end(render, tokenizer_with("</s>")) == (frozenset({100}), ())


def test_a_text_that_ends_a_turn_is_a_stop_string(tmp_path):
    text = "{% for m in messages %}{{ m.content }}\nThe{% endfor %}"
    folder = write_chat_folder(tmp_path / "model", text)
    with LLM(folder) as llm:
        assert llm.chat_format.stop == ("\nThe",)
        answer = llm.chat(QUESTION, max_tokens=300)
        assert "\nThe" not in answer.text


# microsoft/bitnet-b1.58-2B-4T


IDS = {"<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|eot_id|>": 128009}


def bitnet_2b(folder, *, ids=IDS, **config):
    sizes = {"architecture": "bitnet", "hidden_size": 2560, "layers": 30, "vocab_size": 128256}
    model = SimpleNamespace(
        folder=folder,
        name="2b",
        config=SimpleNamespace(**(sizes | config)),
        bos_token_id=128000,
        eos_token_ids=(128001,),
    )
    return model, SimpleNamespace(
        special_tokens=ids,
        token_to_id=ids.get,
        id_to_token={i: token for token, i in ids.items()}.get,
    )


def test_the_form_of_2b_4t_is_known_without_its_template(tmp_path):
    form = chat.find_chat_format(*bitnet_2b(tmp_path))
    assert form.render([QUESTION[0]], add_generation_prompt=True) == (
        "<|begin_of_text|>User: Once upon a time<|eot_id|>Assistant: "
    )
    assert form.render(CONVERSATION, add_generation_prompt=False) == (
        "<|begin_of_text|>System: Be brief.<|eot_id|>User: Tell me about the fox.<|eot_id|>"
        "Assistant: The fox lived in a wood.<|eot_id|>User: And the bear?<|eot_id|>"
    )
    assert form.end_ids == {128009}
    assert form.stop == ()


def test_its_own_template_wins(tmp_path):
    template_of(tmp_path, "mine", name="chat_template.jinja")
    form = chat.find_chat_format(*bitnet_2b(tmp_path))
    assert form.render(QUESTION, add_generation_prompt=True) == "mine"


@pytest.mark.parametrize(
    "other",
    [
        {"architecture": "llama"},
        {"layers": 24},
        {"hidden_size": 4096},
        {"vocab_size": 32000},
        {"ids": IDS | {"<|eot_id|>": 5}},
        {"ids": {}},
    ],
)
def test_what_only_resembles_2b_4t_gets_no_form(tmp_path, other):
    with pytest.raises(ModelLoadError, match="base model"):
        chat.find_chat_format(*bitnet_2b(tmp_path, **other))


# Models and messages that cannot chat


def test_a_base_model_never_gets_a_template():
    with LLM() as base:
        for work in (lambda: base.chat(QUESTION), base.conversation, lambda: base.chat_format):
            with pytest.raises(ModelLoadError, match=r"base model.*tritium run.*LLM\.generate"):
                work()


BAD_MESSAGES = [
    ([], "0 messages"),
    ("hello", "messages are str"),
    (QUESTION[0], "messages are dict"),
    (None, "messages are NoneType"),
    (["hello"], "message 0 is str"),
    ([{"role": "user"}], "content of message 0 is null"),
    ([*QUESTION, {"content": "a"}], "role of message 1 is null"),
    ([{"role": "user", "content": 5}], "content of message 0 is 5"),
    ([{"role": "", "content": "a"}], "role of message 0"),
    ([{"role": "user", "content": "a", "x": {1}}], "message 0 cannot be written as JSON"),
    ([{"role": "judge", "content": "a"}], "line 3: no role judge"),
    ([{"role": "user", "content": "a\ud83d"}], "not Unicode"),
    ([{"role": "user", "content": "word " * 1000}], "the context holds 512"),
]


@pytest.mark.parametrize(("messages", "message"), BAD_MESSAGES)
def test_messages_that_are_none_say_why(llm, messages, message):
    before = llm.engine.memory_usage().kv_cache
    with pytest.raises(BatchProcessingError, match=message):
        llm.chat(messages)
    assert llm.engine.memory_usage().kv_cache == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{% for %}", "line 1"),
        (5, "got 5, expected text"),
        ([5], "list of objects"),
        ([{"name": "a", "template": "x"}, {"name": "a", "template": "y"}], "different names"),
        ("a" * 300_000, "300000 bytes"),
    ],
)
def test_a_template_that_is_none_is_refused_by_its_file(tmp_path, content, message):
    folder = write_chat_folder(tmp_path / "model", content)
    with LLM(folder) as llm, pytest.raises(ModelLoadError, match=rf"tokenizer_config.*{message}"):
        llm.chat(QUESTION)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff", "not UTF-8 at byte 0"), (b"a" * 300_000, "300000 bytes")]
)
def test_a_template_file_that_is_none_is_refused_by_its_name(tmp_path, content, message):
    folder = write_chat_folder(tmp_path / "model")
    (folder / "chat_template.jinja").write_bytes(content)
    with LLM(folder) as llm, pytest.raises(ModelLoadError, match=rf"jinja.*{message}"):
        llm.chat(QUESTION)


# Conversations


def say(conversation, text: str):
    return join(conversation.send(text))


def test_each_turn_gets_the_answer_that_its_messages_get_alone(folder):
    with LLM(folder) as llm, llm.conversation(system="Be brief.", max_tokens=30) as talk:
        for text in ("Tell me about the fox.", "And then?", "The end."):
            answer = say(talk, text)
            before = talk.messages[:-1]
            assert talk.messages[-1] == {"role": "assistant", "content": answer.text}
            assert llm.chat(before, max_tokens=30).token_ids == answer.token_ids
        assert [m["role"] for m in talk.messages] == ["system", *["user", "assistant"] * 3]


def test_only_what_is_new_is_fed(exact):
    with exact.conversation(max_tokens=16) as talk:
        first = say(talk, "Once upon a time")
        assert first.timings.held_tokens == 0
        second = say(talk, "And then?")
        history = exact.tokenizer.encode(
            exact.chat_format.render(talk.messages[:2], add_generation_prompt=False), add_bos=False
        )
        # All but the last token of the answer, which was never fed, unless the text of the answer
        # has other tokens than those that made it.
        assert second.timings.held_tokens >= first.prompt_tokens
        assert second.timings.held_tokens <= len(history)
        assert second.prompt_tokens > second.timings.held_tokens


def test_an_answer_stays_in_the_sequence_where_its_tokens_are_those_of_its_text(exact):
    for seed in range(50):
        options = SamplingOptions(temperature=0.7, seed=seed)
        with exact.conversation(max_tokens=12, sampling=options) as talk:
            first = say(talk, "Once upon a time")
            second = say(talk, "And then?")
            text_ids = exact.tokenizer.encode(first.text, add_bos=False)
            if first.finish_reason == "length" and text_ids == first.token_ids:
                fed = first.prompt_tokens + len(first.token_ids) - 1
                assert second.timings.held_tokens == fed
                return
    pytest.fail("no answer of 50 is the way its text is written")


def test_a_conversation_holds_one_sequence_until_it_is_closed(exact):
    with exact.conversation(max_tokens=4) as talk:
        say(talk, "a")
        with pytest.raises(BatchProcessingError, match="limit is 1"):
            exact.generate("a", max_tokens=1)
    assert exact.generate("a", max_tokens=1).token_ids
    assert say(talk, "b").token_ids  # it begins again
    talk.close()
    talk.close()


def test_an_answer_that_is_left_counts_as_far_as_it_came(exact):
    with exact.conversation(max_tokens=60) as talk:
        chunks = talk.send("Once upon a time")
        text = next(chunks).text + next(chunks).text
        with pytest.raises(BatchProcessingError, match="not finished"):
            next(talk.send("b"))
        with pytest.raises(BatchProcessingError, match="not finished"):
            talk.clear()
        chunks.close()
        assert talk.messages[-1] == {"role": "assistant", "content": text}
        answer = say(talk, "And then?")
        before = talk.messages[:-1]
    assert exact.chat(before, max_tokens=60).token_ids == answer.token_ids


def test_a_turn_that_cannot_be_leaves_no_trace(exact):
    with exact.conversation(max_tokens=8) as talk:
        say(talk, "Hello.")
        before = talk.messages
        for text, message in (("word " * 1000, "context holds"), ("a\ud83d", "not Unicode")):
            with pytest.raises(BatchProcessingError, match=message):
                talk.send(text)
        talk.send("never begun")
        assert talk.messages == before
        say(talk, "Hello again.")
        assert len(talk.messages) == 4


def test_clearing_keeps_the_system_message(exact):
    with exact.conversation(system="Be brief.", max_tokens=8) as talk:
        first = say(talk, "Hello.")
        say(talk, "More.")
        talk.clear()
        assert talk.messages == [{"role": "system", "content": "Be brief."}]
        again = say(talk, "Hello.")
        assert again.token_ids == first.token_ids
        assert 0 < again.timings.held_tokens < again.prompt_tokens


def test_a_closed_llm_ends_its_conversations(folder):
    llm = LLM(folder)
    talk = llm.conversation()
    llm.close()
    with pytest.raises(BatchProcessingError, match="closed"):
        say(talk, "Hello.")


# The command


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tritium", "chat", *arguments]


def environment(**variables: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")} | variables


def run_chat(*arguments: str, stdin: str | bytes):
    done = subprocess.run(
        command(*arguments),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=120,
        env=environment(),
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def test_from_a_pipe_each_line_is_a_turn(exact_folder, exact):
    with exact.conversation(system="Be brief.", max_tokens=12) as talk:
        expected = [say(talk, text).text for text in ("Hello.", "And then?")]
        talk.clear()
        expected.append(say(talk, "Hello.").text)
    done = run_chat(
        "-m", str(exact_folder), "-n", "12", "--system", "Be brief.",
        stdin="Hello.\n\nAnd then?\n/clear\n/what\nHello.\r\n/exit\nnever read\n",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out == "".join(text + "\n" for text in expected)
    assert done.err.splitlines() == [
        "tritium: forgotten",
        "tritium: /what is no command; /help lists them",
    ]


def test_help_lists_the_commands(exact_folder):
    done = run_chat("-m", str(exact_folder), stdin="/help")
    assert done.code == 0
    for word in ("/clear", "/exit", "/help", "Ctrl-C", "Ctrl-D"):
        assert word in done.err


def test_a_base_model_is_refused_in_one_line():
    done = run_chat(stdin="Hello.\n")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"tritium: error: .*base model.*\n", done.err)


@pytest.mark.parametrize(
    ("stdin", "message"),
    [(b"Hello.\nab\xff\n", "byte 2 of line 2 is not UTF-8"), ("word " * 1000, "context holds")],
)
def test_from_a_pipe_an_error_ends_the_chat(exact_folder, stdin, message):
    done = run_chat("-m", str(exact_folder), "-n", "4", stdin=stdin)
    assert done.code == 1
    assert message in done.err.splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_an_interrupt_stops_the_answer_and_keeps_the_conversation(tmp_path):
    # No token ends a turn here, and nearly every answer goes on to the end of the context.
    folder = write_chat_folder(
        tmp_path / "model", "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    edit(folder / "generation_config.json", lambda c: c.update(eos_token_id=2047))
    edit(folder / "config.json", lambda c: c.update(eos_token_id=2047))
    with subprocess.Popen(
        command("-m", str(folder), "-n", "450", "--temp", "1", "--seed", "3"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(TRITIUM_KERNELS="scalar"),
    ) as process:
        process.stdin.write(b"Once upon a time\n")
        process.stdin.flush()
        assert os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        line = process.stderr.readline()
        assert line == b"tritium: stopped\n"
        process.stdin.write(b"/clear\n/exit\n")
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b"tritium: forgotten\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_at_a_terminal_there_is_a_prompt_and_the_end_of_input_leaves(exact_folder):
    import fcntl
    import termios

    ours, theirs = os.openpty()
    with subprocess.Popen(
        command("-m", str(exact_folder), "-n", "8"),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(TERM="dumb"),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(theirs)
        try:
            read_until(ours, b"> ")
            os.write(ours, b"Hello.\n")
            read_until(ours, b"Hello.", b"\n> ")
            press(CTRL_C, ours, lambda: shown(ours, b"\n> "))
            press(CTRL_D, ours, lambda: ended(process))
            assert process.returncode == 0
        finally:
            process.kill()
        notes = process.stderr.read().decode()
    os.close(ours)
    assert "/help lists the commands" in notes
    assert "Ctrl-D leaves" in notes


CTRL_C, CTRL_D = b"\x03", b"\x04"


def press(key: bytes, terminal: int, seen: Callable[[], bool]) -> None:
    """Presses a key until it is seen. One that comes just before readline listens is lost."""
    for _ in range(60):
        os.write(terminal, key)
        if seen():
            return
    pytest.fail(f"{key!r} was not seen")


def shown(terminal: int, text: bytes) -> bool:
    seen = b""
    while text not in seen and select.select([terminal], [], [], 1)[0]:
        seen += os.read(terminal, 4096)
    return text in seen


def ended(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    return process.returncode is not None


def read_until(file: int, *texts: bytes) -> bytes:
    """What a terminal shows until the texts have come, in this order."""
    seen, start = b"", 0
    for text in texts:
        while (place := seen.find(text, start)) < 0:
            seen += os.read(file, 4096)
        start = place + len(text)
    return seen


def test_the_turn_tokens_of_these_tests_are_special(llm):
    assert {START, END} <= set(llm.tokenizer.special_tokens)
    assert tritium.load().folder != llm.model.folder
