"""Live comparison with PyTorch and transformers. Needs `pip install tritium[test,oracles]`."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

# transformers compiles its quantisers, which takes a minute and a C++ compiler; read on import.
os.environ["TORCHDYNAMO_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[2]


ROWS: dict[str, dict[str, str]] = defaultdict(dict)


@pytest.fixture(scope="session")
def report() -> dict[str, dict[str, str]]:
    """Model -> column -> result. Printed as a table after the tests, whatever their outcome."""
    return ROWS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("agreement with transformers, every model that was tried")
    columns = list(dict.fromkeys(column for row in ROWS.values() for column in row))
    table = [["model", *columns]]
    table += [[model, *(row.get(c, "-") for c in columns)] for model, row in ROWS.items()]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(padded).rstrip())
