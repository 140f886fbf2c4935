"""The command `tritium`, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tritium import LLM, __version__, _core
from tritium.cli import main

PROMPT = "Once upon a time"
STATISTICS = re.compile(
    r"^tritium: (\d+) prompt tokens \(prefill [\d.]+ tokens/s\), "
    r"(\d+) generated tokens \(decode [\d.]+ tokens/s\), first token after [\d.]+ ms$"
)


def clean_environment(**variables: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")}
    return {**ours, **variables}


def tritium(*arguments: str, stdin: str | bytes = b"", **variables: str):
    """Run the command; its stdout and stderr as text."""
    done = subprocess.run(
        [sys.executable, "-m", "tritium", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=120,
        env=clean_environment(**variables),
    )
    done.stdout = done.stdout.decode("utf-8")
    done.stderr = done.stderr.decode("utf-8")
    return done


def assert_one_error_line(done, message: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "bundled" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tritium: error: ")
    assert re.search(message, lines[0]), lines[0]


@pytest.fixture(scope="module")
def answer():
    with LLM() as llm:
        return llm.generate(PROMPT, max_tokens=24)


# run


def test_run_prints_the_text_and_a_last_line_about_speed(answer):
    done = tritium("run", "-p", PROMPT, "-n", "24")
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer.text + "\n"
    first, *_, last = done.stderr.splitlines()
    assert "bundled" in first
    found = STATISTICS.match(last)
    assert found, last
    assert found.groups() == (str(answer.prompt_tokens), str(len(answer.token_ids)))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["run", PROMPT, "-n", "24"], {}),
        (["run", PROMPT, "--max-tokens", "24", "--threads", "1", "--ctx-size", "128"], {}),
        (["run", "-n", "24"], {"stdin": PROMPT}),
        (["run", "-n", "24"], {"stdin": PROMPT + "\n"}),
        (["run", "-n", "24"], {"stdin": PROMPT + "\r\n"}),
        (["run"], {"TRITIUM_PROMPT": PROMPT, "TRITIUM_MAX_TOKENS": "24"}),
        (["run", PROMPT, "-n", "24"], {"TRITIUM_PROMPT": "another", "TRITIUM_MAX_TOKENS": "x"}),
        (
            ["run", "-p", PROMPT, "-n", "24"],
            {"stdin": "another", "TRITIUM_TEMP": "0", "TRITIUM_SEED": ""},
        ),
        (["run", PROMPT, "-n", "24", "--device", "cpu"], {"TRITIUM_DEVICE": "abacus"}),
        (["run", PROMPT, "-n", "24", "--temp", "2", "--top-k", "1", "-s", "5"], {}),
        (["run", PROMPT, "-n", "24"], {"TRITIUM_KERNELS": "scalar"}),
    ],
)
def test_run_gives_the_same_text_by_argument_stdin_and_environment(answer, arguments, options):
    done = tritium(*arguments, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer.text + "\n"


def test_run_takes_the_type_of_keys_and_values():
    done = tritium("run", PROMPT, "-n", "24", "--kv-dtype", "int8")
    assert done.returncode == 0, done.stderr
    with LLM(kv_dtype="int8") as llm:
        assert done.stdout == llm.generate(PROMPT, max_tokens=24).text + "\n"
    done = tritium("run", PROMPT, "-n", "1", "--kv-dtype", "f32")
    assert done.returncode == 1
    assert "unknown kv_dtype 'f32'; known are f16, int8" in done.stderr


def test_run_takes_the_sampling_options():
    arguments = ("run", PROMPT, "-n", "20", "--temp", "3", "--top-k", "50", "--top-p", "0.95")
    arguments += ("--min-p", "0.001", "--repeat-penalty", "1.2")
    one, again = (tritium(*arguments, "--seed", "1").stdout for _ in range(2))
    other = tritium(*arguments, TRITIUM_SEED="2").stdout
    assert one == again != other


def test_run_uses_the_folder_that_it_is_given(answer):
    with LLM() as llm:
        folder = llm.model.folder
    for options in ({"TRITIUM_MODEL": str(folder)}, {}):
        flags = () if options else ("-m", str(folder))
        done = tritium("run", PROMPT, "-n", "24", *flags, **options)
        assert done.stdout == answer.text + "\n"
        assert "bundled" not in done.stderr


def test_run_streams_while_it_computes():
    command = [sys.executable, "-m", "tritium", "run", PROMPT, "-n", "100000"]
    command += ["--temp", "1", "--seed", "1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(TRITIUM_KERNELS="scalar"),
    ) as process:
        pieces = []
        while piece := os.read(process.stdout.fileno(), 4096):
            pieces.append(piece)
        assert process.wait() == 0
    assert len(pieces) > 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_an_interrupt_ends_with_code_130_and_a_clean_line():
    command = [sys.executable, "-m", "tritium", "run", PROMPT, "-n", "100000"]
    command += ["--temp", "1", "--seed", "1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(TRITIUM_KERNELS="scalar"),
    ) as process:
        assert os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.decode().splitlines()[-1] == "tritium: interrupted"
    assert "Traceback" not in stderr.decode()


@pytest.mark.skipif(os.name == "nt", reason="pipes end differently on Windows")
def test_a_reader_that_goes_away_is_no_error():
    command = [sys.executable, "-m", "tritium", "run", PROMPT, "-n", "100000"]
    command += ["--temp", "1", "--seed", "1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(TRITIUM_KERNELS="scalar"),
    ) as process:
        assert os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        stderr = process.stderr.read().decode()
        assert process.wait(timeout=60) == 0
    assert all(line.startswith("tritium: ") for line in stderr.splitlines()), stderr
    assert "error" not in stderr


def test_a_terminal_that_knows_only_ascii_still_gets_an_answer():
    done = tritium("run", "café", "-n", "4", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")
def test_a_full_disk_is_one_error_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tritium", "run", PROMPT, "-n", "3"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            env=clean_environment(),
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [done.stderr.splitlines()[-1]]
    assert "No space left" in done.stderr


# Errors

ERRORS = [
    (["run", "-m", "/no/such/folder", PROMPT], {}, "/no/such/folder"),
    (["run", PROMPT, "-t", "0"], {}, "0"),
    (["run", PROMPT, "-n", "0"], {}, "max_tokens is 0"),
    (["run", PROMPT, "-c", "0"], {}, "context_size is 0"),
    (["run", PROMPT, "-c", "2"], {}, "holds 2"),
    (["run", PROMPT, "--temp", "-1"], {}, "temperature is -1"),
    (["run", PROMPT, "--top-p", "7"], {}, "top_p is 7"),
    (["run", PROMPT, "--seed", "-1"], {}, "seed is -1"),
    (["run", PROMPT, "--device", "abacus"], {}, "abacus"),
    (["run", PROMPT], {"TRITIUM_KERNELS": "abacus"}, "abacus"),
    (["run", PROMPT], {"TRITIUM_THREADS": "0"}, "0"),
    (["run"], {"stdin": b"ab\xff"}, "byte 2 of 3 is not UTF-8"),
    (["show", "-m", "/no/such/folder"], {}, "/no/such/folder"),
    (["show", "-c", "1000000000"], {}, "1000000000"),
    (["show"], {"TRITIUM_KERNELS": "abacus"}, "abacus"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), ERRORS)
def test_an_error_is_one_line_and_code_1(arguments, options, message):
    assert_one_error_line(tritium(*arguments, **options), message)


USAGE = [
    ([], {}, "COMMAND"),
    (["fly"], {}, "fly"),
    (["run"], {}, "no prompt"),
    (["run", "a", "-p", "b"], {}, "twice"),
    (["run", PROMPT, "-n", "many"], {}, "many is not an integer"),
    (["run", PROMPT, "--temp", "hot"], {}, "hot is not a number"),
    (["run", PROMPT], {"TRITIUM_TOP_K": "few"}, "TRITIUM_TOP_K=few is not an integer"),
    (["run", PROMPT, "--no-such-flag"], {}, "no-such-flag"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), USAGE)
def test_wrong_usage_is_code_2(arguments, options, message):
    done = tritium(*arguments, **options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# show, help, version


def test_version_prints_the_version(capsys):
    done = tritium("--version")
    assert (done.returncode, done.stdout) == (0, f"tritium {__version__}\n")


@pytest.mark.parametrize("verb", [[], ["run"], ["show"], ["doctor"]])
def test_help_tells_of_the_environment_variables(verb):
    done = tritium(*verb, "--help")
    assert done.returncode == 0
    assert "TRITIUM_MAX_TOKENS" in done.stdout
    assert "TRITIUM_KERNELS" in done.stdout


def test_show_prints_a_table():
    done = tritium("show")
    assert done.returncode == 0, done.stderr
    for name in ("architecture", "parameters", "scale rule", "activation", "memory", "kernel set"):
        assert re.search(rf"^{name} +\S", done.stdout, re.MULTILINE), name
    assert "relu2" in done.stdout
    assert "multiply" in done.stdout
    assert "steps (" not in done.stdout


def test_show_prints_the_plan_when_asked():
    with LLM(max_sequences=1) as llm:
        steps = llm.plan.steps
    done = tritium("show", "--plan")
    assert f"steps ({len(steps)})" in done.stdout
    for step in steps:
        assert step.strip() in done.stdout


def test_show_prints_json():
    done = tritium("show", "--json", "--plan", "-c", "100", "-t", "1")
    facts = json.loads(done.stdout)
    assert facts["architecture"] == "bitnet"
    assert facts["activation"] == "relu2"
    assert facts["scale_rule"] == "multiply"
    assert facts["weight_form"] == "packed"
    assert 0 < facts["parameters"]["ternary"] < facts["parameters"]["total"]
    assert facts["head_dim"] * facts["heads"] >= facts["hidden_size"] > 0
    memory = facts["memory"]
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")
    assert facts["threads"] == 1
    assert facts["eos_token_ids"]
    assert facts["plan"]["steps"]
    larger = json.loads(tritium("show", "--json", "-c", "200").stdout)
    assert larger["memory"]["kv_cache"] > memory["kv_cache"]
    smaller = json.loads(tritium("show", "--json", "-c", "200", "--kv-dtype", "int8").stdout)
    assert smaller["memory"]["kv_cache"] < 0.6 * larger["memory"]["kv_cache"]
    assert "plan" not in larger


def test_switches_come_from_the_environment_too():
    assert "plan" in json.loads(tritium("show", TRITIUM_JSON="1", TRITIUM_PLAN="1").stdout)
    assert tritium("show", TRITIUM_JSON="0").stdout.startswith("model")


def test_the_kernel_set_can_be_chosen():
    for kernel_set in _core.kernel_sets():
        if not kernel_set.supported:
            continue
        facts = json.loads(tritium("show", "--json", TRITIUM_KERNELS=kernel_set.name).stdout)
        assert facts["kernel_set"] == kernel_set.name


def test_the_command_can_be_called_from_python(capsys):
    assert main(["run", PROMPT, "-n", "3"]) == 0
    assert capsys.readouterr().out
    assert main(["run", PROMPT, "-n", "0"]) == 1
    assert "max_tokens is 0" in capsys.readouterr().err
