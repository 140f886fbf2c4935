"""What the README says works when it is typed in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXT = README.read_text("utf-8")


def blocks(*languages: str) -> list[str]:
    return [body for language, body in BLOCK.findall(TEXT) if language in languages]


PYTHON = blocks("python")
COMMANDS = [
    line.removeprefix("$ ")
    for block in blocks("console", "sh")
    for line in block.splitlines()
    if re.match(r"(\$ )?(.* \| )?tritium ", line)
]


@pytest.fixture
def environment():
    """Where a shell finds the `tritium` of this interpreter, without the user's settings."""
    scripts = str(Path(sys.executable).parent)
    path = scripts + os.pathsep + os.environ["PATH"]
    if shutil.which("tritium", path=path) is None:
        pytest.skip("the command tritium is not installed beside this Python")
    ours = {k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")}
    return ours | {"PATH": path}


def test_the_readme_has_examples_in_both_languages():
    assert PYTHON
    assert COMMANDS


def test_the_readme_begins_with_the_two_commands():
    sh = blocks("console", "sh")[0]
    assert re.search(r"^(\$ )?make demo\b", sh, re.MULTILINE)
    assert re.search(r"^(\$ )?make test\b", sh, re.MULTILINE)


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_the_python_examples_run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.skipif(os.name == "nt", reason="the examples are for a POSIX shell")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command, environment, tmp_path):
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT))
def test_the_links_lead_to_files(target):
    assert (README.parent / target).exists()
