"""What a process costs before a model is loaded: the most memory that was resident (VmHWM) in fresh
processes that each import or build one thing more. The limit is the one that a test holds
(tests/python/test_memory_base.py). Needs Linux.

    python benchmarks/base_memory.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

LIMIT_MB = 50
ROUNDS = 5

STEPS = {
    "Python": "",
    "and numpy": "import numpy",
    "and tritium": "import tritium",
    "and an engine": "import tritium; engine = tritium.InferenceEngine()",
}
PEAK = 'print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))'


def peak_mb(script: str) -> float:
    """Median over fresh processes, in 10^6 bytes."""
    command = [sys.executable, "-c", f"{script}\n{PEAK}"]
    peaks = [
        int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(ROUNDS)
    ]
    return statistics.median(peaks) * 1024e-6


def main() -> int:
    peak = 0.0
    for name, script in STEPS.items():
        peak = peak_mb(script)
        print(f"{name:<14}{peak:>6.1f} MB")
    print(f"{'limit':<14}{LIMIT_MB:>6.1f} MB")
    return int(peak >= LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
