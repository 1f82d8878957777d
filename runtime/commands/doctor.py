"""``python -m runtime doctor``: the findings about this machine as text or JSON."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from runtime.commands.findings import Finding, device_findings, works
from runtime.files.strict_json import to_text
from runtime.host import telemetry
from runtime.host.support import MATRIX, table

LABEL = 17  # columns
STATE = 9
WIDTH = 79
DEVICE_GROUPS = (("machine", "This machine"), ("run", "Run a bundle"), ("measure", "Measure"))


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "what this machine can run and measure, and the remedy for each gap"
    parser = commands.add_parser("doctor", help=about)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace, check: Callable[[], list[Finding]] = device_findings) -> int:
    """Prints the findings; exit code 1 if no bundle runs here."""
    findings = check()
    if args.json:
        print(to_text(to_json(findings), indent=1))
    else:
        print("\n".join(lines(findings, DEVICE_GROUPS)))
        print(f"\n{verdict('runs bundles', works(findings, 'run'))}")
    return 0 if works(findings, "run") else 1


def lines(
    findings: Sequence[Finding], groups: Sequence[tuple[str, str]], matrix: bool = True
) -> list[str]:
    """The findings of ``groups`` (group, heading), 79 columns wide (commands may be longer)."""
    out: list[str] = []
    for group, heading in groups:
        out += [heading, *(line for f in findings if f.group == group for line in _wrapped(f)), ""]
    if matrix:
        out.append("Support matrix (NVIDIA rows were not run by this project)")
        out += [f"  {row}" for row in table()]
    return out[:-1] if out and not out[-1] else out


def _wrapped(finding: Finding) -> list[str]:
    margin = " " * (2 + STATE + LABEL)
    head = f"  {finding.state:{STATE}}{finding.name:{LABEL - 1}} "
    text = textwrap.TextWrapper(WIDTH, head, margin, break_long_words=False, break_on_hyphens=False)
    out = text.wrap(finding.detail) or [head]
    text.initial_indent = f"{margin}-> "
    text.subsequent_indent = f"{margin}   "
    return out + text.wrap(finding.remedy or "")


def verdict(what: str, possible: bool) -> str:
    """The last line."""
    cannot = f"This machine cannot yet: {what}. See 'missing' above."
    return f"This machine {what}." if possible else cannot


def to_json(findings: Sequence[Finding]) -> dict[str, object]:
    """The public form: "schema", "kind", "can", "host", "findings", "support"."""
    groups = {finding.group for finding in findings}
    kinds = ("run", "measure", "build", "apps")
    return {
        "schema": 1,
        "kind": "clip2edge-doctor",
        "can": {group: works(findings, group) for group in kinds if group in groups},
        "host": telemetry.host().to_json(),
        "findings": [asdict(finding) for finding in findings],
        "support": [asdict(row) for row in MATRIX],
    }
