"""Chat templates: transformers' conventions, errors with their line, and limits that hold."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from tritium import BatchProcessingError, ModelLoadError, chat_template
from tritium.chat_template import MAX_TEMPLATE_BYTES, ChatTemplate

MESSAGES = [{"role": "user", "content": "Grüße 重み\n"}]


def render(text: str, **variables) -> str:
    template = ChatTemplate(text, "file")
    try:
        return template.render({"messages": MESSAGES, **variables})
    finally:
        template.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ messages[0].content | trim }}", "Grüße 重み"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Grüße 重み\\n"}]'),
        ("{{ {'b': '<', 'a': 1} | tojson(indent=1) }}", '{\n "b": "<",\n "a": 1\n}'),
        ("  {% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("a{% generation %}b{{ 1 }}{% endgeneration %}c", "ab1c"),
        ("{{ bos_token }}{{ absent }}.", "<s>."),
        ("{{ '%05.1f' | format(2.25) }}", "002.2"),
        ("{{ messages[0].get('name', 'none') }}", "none"),
    ],
)
def test_templates_follow_the_conventions_of_transformers(text, expected):
    assert render(text, bos_token="<s>") == expected


def test_the_date_can_be_written():
    assert render("{{ strftime_now('%Y') }}").isdigit()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a\n{% for %}", ModelLoadError, "line 2"),
        ("a\n{{ b", ModelLoadError, "line 2"),
        ("{% nosuch %}", ModelLoadError, "line 1.*nosuch"),
        ("{{ x | nosuch }}", ModelLoadError, "nosuch"),
        ("{{ " + "(" * 3000 + ")" * 3000 + " }}", ModelLoadError, "too deeply"),
        (
            "a\n\n{{ raise_exception('roles must alternate') }}",
            BatchProcessingError,
            "line 3: roles",
        ),
        ("a\n{{ absent.field }}", BatchProcessingError, "line 2.*absent"),
        ("{{ 1 + 'a' }}", BatchProcessingError, "line 1"),
    ],
)
def test_an_error_names_the_file_and_the_line(text, error, message):
    with pytest.raises(error, match=rf"\[chat template\] file.*{message}"):
        render(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{% import 'os' as os %}",
        "{{ messages.__init__ }}",
    ],
)
def test_the_sandbox_gives_no_way_to_python(text):
    try:
        shown = render(text)
    except (ModelLoadError, BatchProcessingError):
        shown = ""
    assert shown == ""


HOSTILE = {
    "a long loop": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a wide power": "{{ 9 ** (9 ** 9) }}",
    "a wide power that nobody asks for": "{% if false %}{{ 9 ** (9 ** 9) }}{% endif %}",
    "doubling text": "{% set n = namespace(a='aaaa') %}{% for i in range(99) %}"
    "{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubling lists": "{% set n = namespace(a=[1]) %}{% for i in range(99) %}"
    "{% set n.a = n.a + n.a %}{% endfor %}",
    "a product": "{{ 'a' * 10 ** 10 }}",
    "a wide field": "{{ '%9999999999d' % 1 }}",
    "a centred text": "{{ 'a' | center(10 ** 10) }}",
    "exponential recursion": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "endless output": "{% for i in range(99999) %}{{ 'abcdefghij' * 99 }}{% endfor %}",
    "a text of digits": "{{ (10 ** 99999) ** 99 }}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_ends_in_a_typed_error_soon_and_small(text):
    template = ChatTemplate(text, "file")
    with pytest.raises((ModelLoadError, BatchProcessingError), match="file") as caught:
        template.render({"messages": MESSAGES})
    assert len(str(caught.value)) < 1000
    if template._worker is not None and sys.platform.startswith("linux"):
        status = Path(f"/proc/{template._worker._process.pid}/status").read_text("ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 64 * 1024
    template.close()


def test_a_template_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.3)
    template = ChatTemplate(HOSTILE["a long loop"], "file")
    for _ in range(2):  # the next rendering has a process again
        with pytest.raises(BatchProcessingError, match=r"takes longer than 0\.3 seconds"):
            template.render({"messages": MESSAGES})
        assert template._worker is None


def test_a_template_that_is_too_long_is_refused_with_both_numbers():
    with pytest.raises(
        ModelLoadError, match=rf"{MAX_TEMPLATE_BYTES + 1} bytes.*{MAX_TEMPLATE_BYTES}"
    ):
        ChatTemplate("a" * (MAX_TEMPLATE_BYTES + 1), "file")


def test_one_process_serves_all_renderings_and_goes_with_the_template():
    template = ChatTemplate("{{ x }}", "file")
    assert template.render({"x": 1}) == "1"
    process = template._worker._process
    assert [template.render({"x": i}) for i in range(20)] == [str(i) for i in range(20)]
    with pytest.raises(BatchProcessingError):
        ChatTemplate("{{ x.y.z }}", "file").render({"x": 1})
    assert template._worker._process is process
    process.kill()
    process.wait()
    with pytest.raises(BatchProcessingError, match="ends its process"):
        template.render({"x": 1})
    assert template.render({"x": 2}) == "2"
    process = template._worker._process
    template.close()
    assert process.returncode is not None
    assert template.render({"x": 3}) == "3"


def test_threads_take_turns():
    template = ChatTemplate("{{ x }}", "file")
    results: dict[int, str] = {}

    def work(first: int) -> None:
        for i in range(first, first + 20):
            results[i] = template.render({"x": i})

    threads = [threading.Thread(target=work, args=(20 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: str(i) for i in range(80)}
    template.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_renders_with_a_process_of_its_own():
    template = ChatTemplate("{{ x }}", "file")
    assert template.render({"x": 1}) == "1"
    child = os.fork()
    if child == 0:
        os._exit(0 if template.render({"x": 2}) == "2" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert template.render({"x": 3}) == "3"
    template.close()
