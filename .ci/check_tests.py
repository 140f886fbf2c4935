"""Did every C++ suite, and every kernel set that this CPU supports, really run?

Reads the CPU's flags from /proc/cpuinfo, not from Tritium's own detection.
Usage: check_tests.py <CTest's JUnit file> <output of `tritium doctor --json`>

Of tests that ran on an emulated ARM processor, the sets that it has must have passed and the
others been skipped:
       check_tests.py --emulated <CTest's JUnit file> <kernel set>...
"""

from __future__ import annotations

import json
import platform
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Flags of /proc/cpuinfo that each kernel set needs.
AVX2 = {"avx2", "fma", "f16c"}
AVX512_VNNI = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}
KERNEL_SETS = {
    "x86_64": {
        "scalar": set(),
        "avx2": AVX2,
        "avx512_vnni_256": AVX2 | {"avx512f", "avx512vl", "avx512_vnni"},
        "avx_vnni": AVX2 | {"avx_vnni"},
        "avx512_vnni": AVX512_VNNI,
        "avx512_vbmi": AVX512_VNNI | {"avx512vbmi"},
    },
    "aarch64": {
        "scalar": set(),
        "neon": {"asimd"},
        "neon_dotprod": {"asimd", "asimddp"},
        "neon_i8mm": {"asimd", "asimddp", "i8mm"},
    },
}


def cpu_flags() -> set[str]:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return set(match[1].split()) if match else set()


def expected_kernel_sets() -> list[str]:
    flags = cpu_flags()
    known = KERNEL_SETS.get(platform.machine(), {"scalar": set()})
    return [name for name, needed in known.items() if needed <= flags]


def expected_suites() -> list[str]:
    folders = (ROOT / "tests/cpp").iterdir()
    return sorted(folder.name for folder in folders if any(folder.glob("*.cpp")))


def tests_by_suite(junit: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Names of the tests that passed, by suite ("<suite>: <test>"), and of those that did not."""
    passed: dict[str, list[str]] = defaultdict(list)
    others = []
    for case in ET.parse(junit).iter("testcase"):
        name = case.get("name", "")
        suite, _, test = name.partition(": ")
        if case.get("status") == "run" and case.find("skipped") is None:
            passed[suite].append(test)
        else:
            others.append(name)
    return passed, others


def of_kernel_set(tests: list[str], kernel_set: str) -> list[str]:
    return [test for test in tests if re.search(rf"\b{kernel_set}\b", test)]


def emulated_problems(junit: Path, present: list[str]) -> list[str]:
    found = []
    passed, others = tests_by_suite(junit)
    for kernel_set in KERNEL_SETS["aarch64"]:
        ran, missed = (of_kernel_set(tests, kernel_set) for tests in (passed["kernels"], others))
        print(f"kernel set {kernel_set}: {len(ran)} C++ tests passed, {len(missed)} did not run")
        wanted, unwanted = (ran, missed) if kernel_set in present else (missed, ran)
        if not wanted or unwanted:
            state = "present" if kernel_set in present else "absent"
            found.append(f"kernel set {kernel_set} is {state} on this processor")
        others = [test for test in others if test not in missed]
    print(f"all suites: {sum(len(tests) for tests in passed.values())} C++ tests passed")
    return found + [f"{name} did not pass or run" for name in others]


def problems(junit: Path, doctor: Path) -> list[str]:
    found = []
    passed, others = tests_by_suite(junit)
    for suite in expected_suites():
        print(f"{suite}: {len(passed[suite])} C++ tests passed")
        if not passed[suite]:
            found.append(f"tests/cpp/{suite} did not run")
    for name in others:
        print(f"did not pass or run: {name}")

    report = json.loads(doctor.read_text(encoding="utf-8"))
    supported = {s["name"] for s in report["kernel_sets"] if s["supported"]}
    checks = {check["name"]: check["ok"] for check in report["checks"]}
    for kernel_set in expected_kernel_sets():
        tests = of_kernel_set(passed["kernels"], kernel_set)
        print(f"kernel set {kernel_set}: {len(tests)} C++ tests passed")
        if not tests:
            found.append(
                f"no C++ test of the kernel set {kernel_set} ran, but this CPU supports it"
            )
        if kernel_set not in supported:
            found.append(
                f"doctor does not see the kernel set {kernel_set}, but this CPU supports it"
            )
        elif not checks.get(f"kernels {kernel_set}"):
            found.append(f"doctor did not pass the kernel set {kernel_set}")
    if not report["ok"]:
        found.append("doctor found something wrong")
    return found


def main() -> int:
    if sys.argv[1] == "--emulated":
        found = emulated_problems(Path(sys.argv[2]), sys.argv[3:])
    else:
        found = problems(Path(sys.argv[1]), Path(sys.argv[2]))
    for problem in found:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
