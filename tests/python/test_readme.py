"""What the README and the pages about use say works when it is typed in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chat_folders import write_chat_folder

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
NAMES = (
    "chat.md",
    "benchmarks.md",
    "networks.md",
    "model_files.md",
    "engine.md",
    "batching.md",
    "mlx.md",
)
PAGES = [README, *(ROOT / "docs" / name for name in NAMES)]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text("utf-8")
    return [body for language, body in BLOCK.findall(text) if language in languages]


PYTHON = [
    body
    for page in PAGES
    for body in blocks(page, "python")
    if "import torch" not in body  # tests/oracles runs these
]
COMMANDS = [
    line.removeprefix("$ ")
    for page in PAGES
    for block in blocks(page, "console", "sh")
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


@pytest.fixture
def folder(tmp_path):
    """Where examples run: with the model that those about chat name."""
    write_chat_folder(tmp_path / "my-chat-model")
    return tmp_path


def test_each_page_has_examples_in_both_languages():
    for page in PAGES:
        assert blocks(page, "python")
        assert blocks(page, "console", "cpp")


def test_the_readme_begins_with_the_two_commands():
    sh = blocks(README, "console", "sh")[0]
    assert re.search(r"^(\$ )?make demo\b", sh, re.MULTILINE)
    assert re.search(r"^(\$ )?make test\b", sh, re.MULTILINE)


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_the_python_examples_run(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.skipif(os.name == "nt", reason="the examples are for a POSIX shell")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command, environment, folder):
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_lead_to_files(page):
    prose = BLOCK.sub("", page.read_text("utf-8"))
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", prose)
    assert all((page.parent / target).exists() for target in targets), targets
