"""How much memory does this process hold, how much did it hold at most, how much is left?"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

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


def available_memory_bytes(root: Path = Path("/")) -> int | None:
    """Memory that this process can still take without swapping; None where it is not known.

    On Linux, the least of what the system has and of what each of its control groups (v1 or v2)
    and their parents leave. Pages of files that were not used lately count as free. `root` is "/"
    outside tests.
    """
    system = re.search(r"^MemAvailable:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.M)
    known = [1024 * int(system[1])] if system else []
    known.extend(_left_in_groups(root))
    return max(0, min(known)) if known else None


def _left_in_groups(root: Path) -> Iterator[int]:
    mounts = root / "sys/fs/cgroup"
    groups = _read(root / "proc/self/cgroup")
    for controllers, group in re.findall(r"^\d+:([^:]*):(.*)$", groups, re.M):
        if controllers == "":
            folders, names = [mounts, mounts / "unified"], ("memory.max", "memory.current")
            reclaimable = "inactive_file"
        elif "memory" in controllers.split(","):
            folders = [mounts / "memory"]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            reclaimable = "total_inactive_file"
        else:
            continue
        inner = PurePosixPath(group.lstrip("/"))
        for path in (folder / part for folder in folders for part in (inner, *inner.parents)):
            limit, used = (_read(path / name).strip() for name in names)
            if limit.isdecimal() and used.isdecimal():  # "max" is no limit
                free = re.search(rf"^{reclaimable} (\d+)$", _read(path / "memory.stat"), re.M)
                yield int(limit) - int(used) + (int(free[1]) if free else 0)


def _read(file: Path) -> str:
    """Its text, empty where it cannot be read."""
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
