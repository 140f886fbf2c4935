"""Fixtures for all Python tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A background run of a shell inherits an ignored SIGINT, and so would the programs under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[2]
