"""What benchmarks/compare.py says of two revisions, on programs that print what they are told."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare.py"
sys.path.insert(0, str(SCRIPT.parent))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no wait4 on Windows")

PROGRAM = """
import json, pathlib, sys
pathlib.Path("../order").open("a").write(pathlib.Path.cwd().name + " ")
rounds = pathlib.Path("rounds.json")
now, *later = json.loads(rounds.read_text())
rounds.write_text(json.dumps(later))
held = bytearray(now.pop("held_mb", 0) * 10**6)
if now.pop("fails", False):
    sys.exit(3)
print(json.dumps(now))
"""


@pytest.fixture
def compare(tmp_path):
    """compare(base, new): exit status and text for what each round prints."""

    def run(base, new, rounds=None):
        for folder, prints in (("base", base), ("new", new)):
            (tmp_path / folder).mkdir(exist_ok=True)
            if prints:
                (tmp_path / folder / "fake.py").write_text(PROGRAM)
                (tmp_path / folder / "rounds.json").write_text(json.dumps(prints))
        program = ["--program", f"fake={shlex.quote(sys.executable)} fake.py"]
        options = [*program, "--rounds", str(rounds or len(base))]
        # In a small process: the system counts memory from that of whoever starts a program.
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(tmp_path / "base"), str(tmp_path / "new"), *options],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def times(*values):
    """A Google Benchmark report a round."""
    return [
        {"benchmarks": [{"name": "infer/8", "real_time": value, "time_unit": "us"}]}
        for value in values
    ]


def line_of(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line


def test_equal_revisions_pass_with_the_ratio_of_each_measure_and_its_spread(compare):
    status, text = compare(times(10, 10, 10), times(10, 9, 10.4))
    assert status == 0
    line = line_of(text, "fake infer/8")
    assert line.split() == ["fake", "infer/8", "10.00", "us", "10.00", "us", "1.000", "0.900-1.040"]
    assert "0 of 2 measures worse" in text


def test_a_slower_revision_fails_and_the_measure_is_marked(compare):
    status, text = compare(times(10, 10, 10, 10), times(10.6, 10.7, 10.6, 10.6))
    assert status == 1
    assert line_of(text, "fake infer/8").endswith("WORSE")
    assert not line_of(text, "fake peak memory").endswith("WORSE")
    assert "1 of 2 measures worse" in text


def test_a_revision_that_is_five_percent_slower_passes(compare):
    assert compare(times(100, 100), times(104.9, 105))[0] == 0


@pytest.mark.parametrize(("slow_rounds", "status"), [(2, 0), (3, 1), (4, 1)])
def test_three_quarters_of_the_rounds_decide(compare, slow_rounds, status):
    new = [20] * slow_rounds + [10] * (4 - slow_rounds)
    assert compare(times(10, 10, 10, 10), times(*new))[0] == status


def test_rounds_are_compared_with_their_own_partner(compare):
    # Both became slower together: that was the machine.
    assert compare(times(10, 20, 30), times(10, 20, 30))[0] == 0


def test_more_tokens_a_second_are_better(compare):
    fast, slow = {"decode_tokens_per_s": 20.0, "threads": 2}, {"decode_tokens_per_s": 10.0}
    assert compare([fast] * 2, [slow] * 2)[0] == 1
    status, text = compare([slow] * 2, [fast] * 2)
    assert status == 0
    assert " 0.500 " in line_of(text, "fake decode_tokens_per_s")


def test_more_memory_fails(compare):
    holds = [{"held_mb": 100}] * 2
    status, text = compare(holds, [{"held_mb": 140}] * 2)
    assert status == 1
    assert line_of(text, "fake peak memory").endswith("WORSE")
    assert compare([{"held_mb": 140}] * 2, holds)[0] == 0


def test_revisions_take_turns_and_so_does_the_first(compare, tmp_path):
    compare(times(1, 1, 1), times(1, 1, 1))
    assert (tmp_path / "order").read_text().split() == ["base", "new", "new", "base", "base", "new"]


def test_a_program_that_fails_is_named(compare):
    status, text = compare(times(1), [{"fails": True}])
    assert status == 2
    assert "fake.py" in text
    assert "new ended with 3" in text


def test_a_benchmark_that_failed_is_named(compare):
    report = {"benchmarks": [{"name": "infer/8", "error_occurred": True}]}
    status, text = compare(times(1), [report])
    assert status == 2
    assert "infer/8 failed" in text


def test_a_measure_that_only_one_has_is_said_and_not_compared(compare):
    status, text = compare([{}], times(1))
    assert status == 0
    assert "fake infer/8: only in new, not compared" in text
    assert "0 of 1 measures worse" in text


def test_a_program_that_only_one_has_is_not_compared(tmp_path, capsys):
    import compare as script

    for name in ("base", "new"):
        (tmp_path / name).mkdir()
    program = tmp_path / "new" / "fake"
    program.write_text("#!/bin/sh\necho {}\n")
    program.chmod(0o755)
    arguments = [str(tmp_path / "base"), str(tmp_path / "new"), "--program", "fake=fake"]
    assert script.main([*arguments, "--rounds", "1"]) == 0
    assert "fake peak memory: only in new" in capsys.readouterr().out


def test_the_usual_programs_are_benchmarks_that_exist():
    import compare as script

    folder = Path(__file__).parents[2] / "benchmarks"
    programs = [Path(c.split()[0]) for c in script.PROGRAMS.values() if c.startswith("build/")]
    assert programs
    for program in programs:
        assert (folder / f"{program.name}.cpp").is_file()
