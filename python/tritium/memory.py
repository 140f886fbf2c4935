"""How much memory does this process hold, and how much did it hold at most?"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak_rss() -> None:
    """Let the peak begin again with what is resident now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak_rss_bytes() -> int:
    """The most memory that was resident, anonymous and file-backed; 0 where it is not known.

    Since `reset_peak_rss` on Linux, since the start of the process elsewhere.
    """
    status = read_status()
    if "VmHWM" in status:
        return status["VmHWM"]
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def read_status() -> dict[str, int]:
    """Sizes in bytes of /proc/self/status (VmHWM, VmRSS, RssAnon, RssFile, …); empty elsewhere."""
    try:
        text = _STATUS.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: 1024 * int(kb) for name, kb in re.findall(r"^(\w+):\s*(\d+) kB$", text, re.M)}
