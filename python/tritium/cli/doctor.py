"""`tritium doctor`: does this installation compute what it should?"""

from __future__ import annotations

import argparse
import json

from ..doctor import Report, examine
from ..model import DEMO
from .arguments import add_device_options, add_model_option, add_switch

SUMMARY = "check that this installation computes right"
DESCRIPTION = """\
Check each kernel set that this CPU supports bit for bit against the scalar one, then run a model
and compare with the golden answers in its folder, if there are any. The exit code is 1 if anything
differs. The perplexity of a bundled text is printed too: compare it with that of the reference.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_option(parser)
    add_device_options(parser)
    add_switch(parser, "--json", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    report = examine(arguments.model, arguments.device, fallback=arguments.fallback)
    print(json.dumps(report.as_dict(), indent=2) if arguments.json else as_text(report))
    return 0 if report.ok else 1


def as_text(report: Report) -> str:
    """A report as lines for people; the last is the verdict."""
    failed = sum(not check.ok for check in report.checks)
    rows = [
        ("version", report.version),
        ("devices", "; ".join(map(_describe_device, report.devices))),
        ("CPU features", ", ".join(report.cpu_features) or "none that a kernel set needs"),
        ("kernel sets", ", ".join(map(_describe_set, report.kernel_sets))),
        ("model", report.model or "could not be run"),
        ("chat", report.chat or "no template"),
    ]
    # The demo model knows only its own stories: what it makes of another text means nothing.
    if (found := report.perplexity) is not None and report.model != DEMO:
        rows.append(
            (
                "perplexity",
                f"{found.token_perplexity:.4f} per token, {found.byte_perplexity:.4f} per byte "
                f"(bundled text, {found.tokens} tokens)",
            )
        )
    return "\n".join(
        [
            *(f"{name:<14}{value}" for name, value in rows),
            "",
            *(f"{'ok  ' if c.ok else 'FAIL'}  {c.name}: {c.detail}" for c in report.checks),
            "",
            "all is well" if report.ok else f"{failed} of {len(report.checks)} checks failed",
        ]
    )


def _describe_device(entry: dict[str, object]) -> str:
    name, detail = entry["name"], entry["detail"]
    if entry["available"]:
        return f"{name} ({detail})" if detail else str(name)
    return f"{name} is {detail}"


def _describe_set(entry: dict[str, object]) -> str:
    if entry["selected"]:
        return f"{entry['name']} (selected)"
    return str(entry["name"]) if entry["supported"] else f"{entry['name']} (not on this CPU)"
